#include "ops/contents.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace jouleprune::ops {
namespace {

constexpr int64_t kWhole = 2048, kFew = 32;

int64_t count_of(const at::Tensor& tensor) { return tensor.numel() <= kWhole ? tensor.numel() : kFew; }

/// Calls visit(place in the sample, bytes of the tensor, their number) until it returns false; returns what it returned last.
template <class Visit>
bool visit_sample(const at::Tensor& tensor, const Visit& visit) {
  const int64_t size = tensor.numel(), count = count_of(tensor);
  const auto element = static_cast<size_t>(tensor.element_size());
  const char* const data = static_cast<const char*>(tensor.const_data_ptr());
  if (count == size) {
    return size == 0 || visit(0, data, static_cast<size_t>(size) * element);
  }
  for (int64_t i = 0; i < count; ++i) {
    const int64_t spread = size * i / count + i * 7 % (size / count);  // over the whole, at odd places within each part
    const int64_t at = i + 1 == count ? size - 1 : spread;
    if (!visit(static_cast<size_t>(i) * element, data + static_cast<size_t>(at) * element, element)) {
      return false;
    }
  }
  return true;
}

/// One to one in `state` and in `word`: no change of a single word is lost.
uint64_t mixed(uint64_t state, uint64_t word) {
  state = (state ^ word) * 0x9e3779b97f4a7c15u;
  return state ^ state >> 32;
}

uint64_t word_at(const char* data, size_t bytes = sizeof(uint64_t)) {
  uint64_t word = 0;
  std::memcpy(&word, data, bytes);
  return word;
}

}  // namespace

Sample::Sample(const at::Tensor& tensor) : bytes_(static_cast<size_t>(count_of(tensor)) * tensor.element_size()) {
  visit_sample(tensor, [&](size_t at, const char* element, size_t size) {
    std::memcpy(bytes_.data() + at, element, size);
    return true;
  });
}

bool Sample::matches(const at::Tensor& tensor) const {
  return visit_sample(tensor, [&](size_t at, const char* element, size_t size) {
    return std::memcmp(bytes_.data() + at, element, size) == 0;
  });
}

uint64_t content_hash(const at::Tensor& tensor) {
  constexpr size_t kWord = sizeof(uint64_t);
  std::array<uint64_t, 8> lanes = {1, 2, 3, 4, 5, 6, 7, 8};  // a step of one takes six cycles: eight of them overlap
  const auto bytes = static_cast<size_t>(tensor.numel()) * tensor.element_size();
  const char* data = static_cast<const char*>(tensor.const_data_ptr());
  const char* const end = data + bytes;
  for (; static_cast<size_t>(end - data) >= sizeof(lanes); data += sizeof(lanes)) {
    for (size_t lane = 0; lane < lanes.size(); ++lane) {
      lanes[lane] = mixed(lanes[lane], word_at(data + lane * kWord));
    }
  }
  uint64_t hash = bytes;
  for (const uint64_t lane : lanes) {
    hash = mixed(hash, lane);
  }
  for (size_t left = static_cast<size_t>(end - data); left > 0;) {
    const size_t size = std::min(kWord, left);
    hash = mixed(hash, word_at(end - left, size));
    left -= size;
  }
  return hash;
}

}  // namespace jouleprune::ops
