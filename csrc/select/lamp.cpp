#include "select/lamp.h"

#include <array>
#include <bit>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

#include "select/magnitude.h"

namespace jouleprune::select {
namespace {
constexpr int kRadixBits = 11;  // counters of a pass and the lines that it writes to stay in the first two caches
constexpr size_t kRadix = size_t{1} << kRadixBits;

template <class Weight>
using KeyOf = decltype(magnitude(Weight{}));
template <class Weight>
inline constexpr size_t kRadixPasses = (static_cast<size_t>(kMagnitudeBits<Weight>) + kRadixBits - 1) / kRadixBits;

template <class Weight>
size_t radix_digit(KeyOf<Weight> key, size_t pass) {
  return static_cast<size_t>(key >> (pass * kRadixBits)) & (kRadix - 1);
}

template <class Weight, class Index>
struct RankedWeight {
  KeyOf<Weight> key;
  Index index;
};

/// Where the items of each digit start, for every pass.
template <class Weight>
std::vector<std::array<size_t, kRadix>> radix_starts(std::span<const Weight> weights) {
  std::vector<std::array<size_t, kRadix>> counts(kRadixPasses<Weight>);
  for (const Weight weight : weights) {
    const KeyOf<Weight> key = magnitude(weight);
    for (size_t pass = 0; pass < kRadixPasses<Weight>; ++pass) ++counts[pass][radix_digit<Weight>(key, pass)];
  }
  for (auto& pass : counts) {
    size_t sum = 0;
    for (size_t& count : pass) sum += std::exchange(count, sum);
  }
  return counts;
}

/// A factor that keeps squares and their sums in range; scores do not depend on it.
double square_scale(double largest) { return largest > 0 && (largest < 1e-140 || largest > 1e140) ? 1 / largest : 1; }

/// Stable, by the least significant digit first.
template <class Weight, class Index>
void lamp_by_rank(std::span<const Weight> weights, std::span<float> scores) {
  const size_t n = weights.size();
  auto next = radix_starts<Weight>(weights);
  auto items = std::make_unique_for_overwrite<RankedWeight<Weight, Index>[]>(n), other = std::make_unique_for_overwrite<RankedWeight<Weight, Index>[]>(n);
  for (size_t i = 0; i < n; ++i) {
    const KeyOf<Weight> key = magnitude(weights[i]);
    items[next[0][radix_digit<Weight>(key, 0)]++] = {key, static_cast<Index>(i)};
  }
  for (size_t pass = 1; pass < kRadixPasses<Weight>; ++pass) {
    for (size_t i = 0; i < n; ++i) other[next[pass][radix_digit<Weight>(items[i].key, pass)]++] = items[i];
    std::swap(items, other);
  }
  const double scale = n == 0 ? 1 : square_scale(static_cast<double>(std::bit_cast<Weight>(items[n - 1].key)));
  double sum = 0;
  for (size_t rank = n; rank-- > 0;) {
    const double weight = static_cast<double>(std::bit_cast<Weight>(items[rank].key)) * scale, square = weight * weight;
    sum += square;
    scores[items[rank].index] = sum > 0 ? static_cast<float>(square / sum) : 0.0f;
  }
}
}  // namespace

template <class Weight>
void lamp(std::span<const Weight> weights, std::span<float> scores) {
  if (weights.size() <= std::numeric_limits<uint32_t>::max()) {
    lamp_by_rank<Weight, uint32_t>(weights, scores);
  } else {
    lamp_by_rank<Weight, uint64_t>(weights, scores);
  }
}

template void lamp(std::span<const float>, std::span<float>);
template void lamp(std::span<const double>, std::span<float>);

}  // namespace jouleprune::select
