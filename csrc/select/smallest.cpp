#include "select/smallest.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <mutex>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "select/cut.h"
#include "select/sampled_cut.h"

namespace jouleprune::select {
namespace {
using kernels::ParallelFor;

constexpr int kDigitBits = 11;  // 2048 counters of four lanes fill an L1 and no more
constexpr size_t kDigits = size_t{1} << kDigitBits;
constexpr size_t kLanes = 4;           // equal neighbours, which weights have, would wait for each other in one

using Histogram = std::array<int64_t, kDigits>;

/// Keys whose upper bits are already known.
template <class Score>
struct Prefix {
  Key<Score> bits = 0, mask = 0;
};

/// Adds the digits at `shift` of the entries that are left and match the prefix.
template <class Score>
void count_digits(const Part<Score>& part, const Chunk& chunk, Prefix<Score> prefix, int shift, Histogram& counts) {
  std::array<std::array<uint32_t, kDigits>, kLanes> lanes{};
  for (int64_t i = chunk.begin; i < chunk.end; ++i) {
    const Key<Score> key = magnitude(part.scores[i]);
    const bool counts_here = (key & prefix.mask) == prefix.bits && (part.left == nullptr || part.left[i]);
    lanes[static_cast<size_t>(i) % kLanes][(key >> shift) & (kDigits - 1)] += counts_here;
  }
  for (const auto& lane : lanes) {
    for (size_t digit = 0; digit < kDigits; ++digit) counts[digit] += lane[digit];
  }
}

template <class Score>
Histogram histogram(std::span<const Part<Score>> parts, const std::vector<Chunk>& chunks, Prefix<Score> prefix,
                    int shift, const ParallelFor& parallel) {
  Histogram counts{};
  std::mutex lock;
  parallel(0, static_cast<int64_t>(chunks.size()), kChunksPerTask, [&](int64_t begin, int64_t end) {
    Histogram mine{};
    for (int64_t i = begin; i < end; ++i) {
      const Chunk& chunk = chunks[static_cast<size_t>(i)];
      count_digits(parts[chunk.part], chunk, prefix, shift, mine);
    }
    const std::lock_guard guard(lock);  // sums of integers: the order of the threads does not show
    for (size_t digit = 0; digit < kDigits; ++digit) counts[digit] += mine[digit];
  });
  return counts;
}

/// Entries that are left.
template <class Score>
int64_t count_left(std::span<const Part<Score>> parts, const std::vector<Chunk>& chunks, const ParallelFor& parallel) {
  std::atomic<int64_t> left = 0;
  parallel(0, static_cast<int64_t>(chunks.size()), kChunksPerTask, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const Chunk& chunk = chunks[static_cast<size_t>(i)];
      const bool* there = parts[chunk.part].left;
      int32_t here = 0;
      for (int64_t at = chunk.begin; there != nullptr && at < chunk.end; ++at) here += there[at];
      left += there == nullptr ? chunk.end - chunk.begin : here;
    }
  });
  return left;
}

void check_amount(int64_t amount, int64_t left) {
  if (amount > left) {
    throw std::invalid_argument("amount: expected at most the entries that are left, " + std::to_string(left) +
                                ", got " + std::to_string(amount));
  }
}

/// The key of the entry of rank `amount` (1 = the smallest), digit by digit from the top.
template <class Score>
Cut<Score> cut_by_digits(std::span<const Part<Score>> parts, const std::vector<Chunk>& chunks, int64_t amount,
                    const ParallelFor& parallel) {
  Prefix<Score> prefix;
  int64_t rank = amount, ties = 0;
  for (int shift = (kMagnitudeBits<Score> - 1) / kDigitBits * kDigitBits; shift >= 0; shift -= kDigitBits) {
    const Histogram counts = histogram(parts, chunks, prefix, shift, parallel);
    size_t digit = 0;
    while (digit + 1 < kDigits && counts[digit] < rank) rank -= counts[digit++];
    ties = counts[digit];
    prefix.bits = static_cast<Key<Score>>(prefix.bits | (static_cast<uint64_t>(digit) << shift));
    prefix.mask = static_cast<Key<Score>>(prefix.mask | (static_cast<uint64_t>(kDigits - 1) << shift));
  }
  return {prefix.bits, ties - rank};
}

/// For each chunk, how many ties lie before it. Empty when none is kept: then nobody asks.
template <class Score>
std::vector<int64_t> ties_before(std::span<const Part<Score>> parts, const std::vector<Chunk>& chunks,
                                 Cut<Score> cut, const ParallelFor& parallel) {
  if (cut.ties_kept == 0) return {};
  std::vector<int64_t> before(chunks.size());
  parallel(0, static_cast<int64_t>(chunks.size()), kChunksPerTask, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const Chunk& chunk = chunks[static_cast<size_t>(i)];
      const Part<Score>& part = parts[chunk.part];
      int64_t ties = 0;
      for (int64_t at = chunk.begin; at < chunk.end; ++at) {
        ties += magnitude(part.scores[at]) == cut.key && (part.left == nullptr || part.left[at]);
      }
      before[static_cast<size_t>(i)] = ties;
    }
  });
  int64_t sum = 0;
  for (int64_t& ties : before) sum += std::exchange(ties, sum);
  return before;
}

template <class Score>
void write_kept(const Part<Score>& part, const Chunk& chunk, Cut<Score> cut, int64_t ties_before) {
  int64_t ties_left = std::max<int64_t>(cut.ties_kept - ties_before, 0);
  if (ties_left == 0 && part.left == nullptr) {  // most chunks: a loop that compilers make vectors of
    const Score* scores = part.scores;
    bool* kept = part.kept;
    for (int64_t i = chunk.begin; i < chunk.end; ++i) kept[i] = magnitude(scores[i]) > cut.key;
    return;
  }
  for (int64_t i = chunk.begin; i < chunk.end; ++i) {
    const Key<Score> key = magnitude(part.scores[i]);
    const bool left = part.left == nullptr || part.left[i];
    const bool tied = left && key == cut.key && ties_left > 0;
    ties_left -= tied;
    part.kept[i] = (left && key > cut.key) || tied;
  }
}

template <class Score>
void keep_all(const Part<Score>& part, const Chunk& chunk) {
  if (part.left == nullptr) {
    std::fill(part.kept + chunk.begin, part.kept + chunk.end, true);
  } else {
    std::copy(part.left + chunk.begin, part.left + chunk.end, part.kept + chunk.begin);
  }
}
}  // namespace

template <class Score>
void remove_smallest(std::span<const Part<Score>> parts, int64_t amount, const ParallelFor& parallel) {
  if (amount < 0) throw std::invalid_argument("amount: expected at least 0, got " + std::to_string(amount));
  const std::vector<Chunk> chunks = chunks_of(parts);
  Cut<Score> cut;
  std::vector<int64_t> before;
  if (amount > 0) {
    const int64_t left = count_left(parts, chunks, parallel);
    check_amount(amount, left);
    const auto sampled = sampled_cut(parts, chunks, amount, left, parallel);
    cut = sampled.has_value() ? *sampled : cut_by_digits(parts, chunks, amount, parallel);
    before = ties_before(parts, chunks, cut, parallel);
  }
  parallel(0, static_cast<int64_t>(chunks.size()), kChunksPerTask, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const Chunk& chunk = chunks[static_cast<size_t>(i)];
      const Part<Score>& part = parts[chunk.part];
      if (part.kept == nullptr) continue;
      if (amount == 0) {
        keep_all(part, chunk);
      } else {
        write_kept(part, chunk, cut, before.empty() ? 0 : before[static_cast<size_t>(i)]);
      }
    }
  });
}

template void remove_smallest(std::span<const Part<Bits16>>, int64_t, const ParallelFor&);
template void remove_smallest(std::span<const Part<float>>, int64_t, const ParallelFor&);
template void remove_smallest(std::span<const Part<double>>, int64_t, const ParallelFor&);
template void remove_smallest(std::span<const Part<int64_t>>, int64_t, const ParallelFor&);

}  // namespace jouleprune::select
