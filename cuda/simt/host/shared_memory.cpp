#include "simt/host/shared_memory.h"

#include <cstring>

namespace jouleprune::simt::host {
namespace {

constexpr unsigned char kPoison = 0xff;  // a NaN in every float type

std::string named(const char* what, uint32_t at, int thread, int other) {
  return std::string(what) + " at shared byte " + std::to_string(at) + ": thread " + std::to_string(thread) +
         (other >= 0 ? " and thread " + std::to_string(other) : " and others");
}

}  // namespace

SharedMemory::SharedMemory(size_t bytes) : bytes_(bytes, kPoison), shadow_((bytes + kGranule - 1) / kGranule) {}

std::string SharedMemory::outside(uint32_t at, size_t bytes) const {
  if (at + bytes > bytes_.size()) {
    return "shared bytes " + std::to_string(at) + " to " + std::to_string(at + bytes) + " of " +
           std::to_string(bytes_.size());
  }
  if (at % bytes != 0) {
    return "shared byte " + std::to_string(at) + " is not aligned to " + std::to_string(bytes);
  }
  return {};
}

bool SharedMemory::ordered(const Touch& before, const Moment& now) {
  return before.thread == kNobody || before.thread == now.thread || before.block_epoch < now.block_epoch ||
         (before.warp == now.warp && before.warp_epoch < now.warp_epoch);
}

// Remembers one thread, or that there were several since the last barrier.
void SharedMemory::touch(Touch& t, const Moment& now) {
  const bool fresh =
      t.thread == kNobody || t.block_epoch < now.block_epoch || (t.warp == now.warp && t.warp_epoch < now.warp_epoch);
  t.thread = fresh || t.thread == now.thread ? now.thread : kMany;
  t.warp = fresh || t.warp == now.warp ? now.warp : kMany;
  t.block_epoch = now.block_epoch;
  t.warp_epoch = fresh || t.warp_epoch < now.warp_epoch ? now.warp_epoch : t.warp_epoch;
}

std::string SharedMemory::check_write(Shadow& s, uint32_t at, const Moment& now, const char* what) const {
  if (s.pending) {
    return named("write over a copy under way", at, now.thread, s.writer.thread);
  }
  if (!ordered(s.writer, now)) {
    return named(what, at, now.thread, s.writer.thread);
  }
  if (!ordered(s.readers, now)) {
    return named("race of a read and a write", at, now.thread, s.readers.thread);
  }
  return {};
}

std::string SharedMemory::read(uint32_t at, void* out, size_t bytes, const Moment& now) {
  std::memset(out, kPoison, bytes);
  if (auto wrong = outside(at, bytes); !wrong.empty()) {
    return wrong;
  }
  std::memcpy(out, bytes_.data() + at, bytes);
  std::string wrong;
  for (size_t i = at / kGranule; i < (at + bytes + kGranule - 1) / kGranule; ++i) {
    auto& s = shadow_[i];
    if (s.pending) {
      wrong = named("read of a copy under way", at, now.thread, s.writer.thread);
    } else if (!s.written) {
      wrong = "read of shared byte " + std::to_string(at) + " that nothing wrote";
    } else if (!ordered(s.writer, now)) {
      wrong = named("race of a write and a read", at, now.thread, s.writer.thread);
    }
    touch(s.readers, now);
  }
  return wrong;
}

std::string SharedMemory::write(uint32_t at, const void* from, size_t bytes, const Moment& now) {
  if (auto wrong = outside(at, bytes); !wrong.empty()) {
    return wrong;
  }
  std::string wrong;
  for (size_t i = at / kGranule; i < (at + bytes + kGranule - 1) / kGranule; ++i) {
    auto& s = shadow_[i];
    if (auto found = check_write(s, at, now, "race of two writes"); !found.empty()) {
      wrong = found;
    }
    touch(s.writer, now);
    s.written = true;
    s.atomic = false;
  }
  std::memcpy(bytes_.data() + at, from, bytes);
  return wrong;
}

std::string SharedMemory::add(uint32_t at, uint32_t value, uint32_t& before, const Moment& now) {
  before = 0;
  if (auto wrong = outside(at, sizeof(value)); !wrong.empty()) {
    return wrong;
  }
  std::string wrong;
  for (size_t i = at / kGranule; i < (at + sizeof(value)) / kGranule; ++i) {
    auto& s = shadow_[i];
    if (!s.written) {
      wrong = "addition to shared byte " + std::to_string(at) + " that nothing wrote";
    } else if (!s.atomic || s.writer.block_epoch < now.block_epoch) {
      if (auto found = check_write(s, at, now, "race of a write and an addition"); !found.empty()) {
        wrong = found;
      }
    }
    touch(s.writer, now);
    s.atomic = true;
  }
  std::memcpy(&before, bytes_.data() + at, sizeof(before));
  const uint32_t sum = before + value;
  std::memcpy(bytes_.data() + at, &sum, sizeof(sum));
  return wrong;
}

std::string SharedMemory::expect(uint32_t at, size_t bytes, const Moment& now) {
  if (auto wrong = outside(at, bytes); !wrong.empty()) {
    return wrong;
  }
  std::string wrong;
  for (size_t i = at / kGranule; i < (at + bytes) / kGranule; ++i) {
    auto& s = shadow_[i];
    if (auto found = check_write(s, at, now, "race of a write and a copy"); !found.empty()) {
      wrong = found;
    }
    s.pending = true;
    touch(s.writer, now);
  }
  std::memset(bytes_.data() + at, kPoison, bytes);
  return wrong;
}

void SharedMemory::land(uint32_t at, const void* from, size_t bytes, const Moment& now) {
  if (!outside(at, bytes).empty()) {
    return;  // reported when the copy was begun
  }
  for (size_t i = at / kGranule; i < (at + bytes) / kGranule; ++i) {
    auto& s = shadow_[i];
    s.pending = false;
    s.written = true;
    s.atomic = false;
    s.writer = {now.thread, now.warp, now.block_epoch, now.warp_epoch};
  }
  std::memcpy(bytes_.data() + at, from, bytes);
}

}  // namespace jouleprune::simt::host
