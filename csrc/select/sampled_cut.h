// The cut in one pass over the scores: a sample tells between which two keys it lies, most likely; what lies between them is
// collected and searched. Where the sample misled, or too much lies there (many equal scores), there is no answer, and
// digits find the cut. Source of the idea: Floyd and Rivest, Expected time bounds for selection, CACM 1975.
#pragma once
#include <array>
#include <atomic>
#include <bit>
#include <cmath>
#include <limits>
#include <mutex>
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>

#include "select/cut.h"
#include "select/fetch_ahead.h"
#include "select/key_groups.h"

namespace jouleprune::select {

inline constexpr int64_t kLeastSampled = 1 << 22;  // fewer entries are through in milliseconds
inline constexpr int64_t kSampled = 512;           // of so many entries one is drawn, so that the draws cost less than the pass,
inline constexpr int64_t kMostSampled = 1 << 21;   // and no more than this: ranks are off by less than 0.2 % of all entries
inline constexpr double kDeviations = 5;           // one selection in a million is left to digits
inline constexpr int64_t kMostBetween = 40;        // of so many entries at most one is collected: 100 MB of 10^9 floats
inline constexpr int64_t kStretch = 32;            // stretches with nothing between are counted without a branch

template <class Score>
struct Bracket {
  Key<Score> low = 0, high = 0;  ///< both may be the cut
};

/// splitmix64 of a counter: places that no period of a weight can meet.
inline uint64_t place_of(uint64_t i) {
  i += 0x9e3779b97f4a7c15u;
  i = (i ^ (i >> 30)) * 0xbf58476d1ce4e5b9u;
  i = (i ^ (i >> 27)) * 0x94d049bb133111ebu;
  return i ^ (i >> 31);
}

/// `amount` of `left` entries go. The same for any number of threads.
template <class Score>
Bracket<Score> sampled_bracket(std::span<const Part<Score>> parts, const std::vector<Chunk>& chunks, int64_t amount, int64_t left) {
  std::vector<Key<Score>> sample;
  const int64_t each = std::clamp<int64_t>(kMostSampled / static_cast<int64_t>(chunks.size()), 1, kChunk / kSampled);
  for (size_t c = 0; c < chunks.size(); ++c) {
    const Chunk& chunk = chunks[c];
    const Part<Score>& part = parts[chunk.part];
    for (int64_t i = 0; i < each * (chunk.end - chunk.begin) / kChunk; ++i) {
      const uint64_t at = place_of(c * static_cast<uint64_t>(each) + static_cast<uint64_t>(i)) % static_cast<uint64_t>(chunk.end - chunk.begin);
      const int64_t place = chunk.begin + static_cast<int64_t>(at);
      if (part.left == nullptr || part.left[place]) sample.push_back(magnitude(part.scores[place]));
    }
  }
  const double size = static_cast<double>(sample.size()), share = static_cast<double>(amount) / static_cast<double>(left);
  const double middle = share * size, margin = kDeviations * std::sqrt(size * share * (1 - share)) + kDeviations;
  Bracket<Score> found{0, std::numeric_limits<Key<Score>>::max()};
  const auto at_rank = [&](double rank) {
    const auto nth = sample.begin() + static_cast<std::ptrdiff_t>(rank);
    std::nth_element(sample.begin(), nth, sample.end());
    return *nth;
  };
  if (middle - margin >= 0) found.low = at_rank(middle - margin);
  if (middle + margin < size) found.high = at_rank(middle + margin);
  return found;
}

/// What one pass finds of a bracket.
template <class Score>
struct Between {
  int64_t below = 0;
  std::vector<Key<Score>> keys;
  bool too_many = false;
};

/// (keys below `low`, keys up to `high`) of `count` scores; inlined with a constant count it is a few vector compares.
template <class Score>
inline std::pair<int32_t, int32_t> count_stretch(const Score* scores, int64_t count, Bracket<Score> bracket) {
  int32_t below = 0, up_to = 0;
  for (int64_t i = 0; i < count; ++i) {
    const Key<Score> key = magnitude(scores[i]);
    below += key < bracket.low;
    up_to += key <= bracket.high;
  }
  return {below, up_to};
}

/// As look_between, of floats that are all left: counts and finds 16 at a time. Returns the entries it has looked at.
inline int64_t look_between_groups(const float* scores, int64_t count, Bracket<float> bracket, Between<float>& found) {
  const uint32_t high = std::min(bracket.high, 0x7fffffffu), less = bracket.low - 1;  // of 0: below all keys, as compares are signed
  int64_t i = 0;
  for (; i + kGroup <= count; i += kGroup) {
    fetch_ahead(scores + i);
    const uint32_t not_below = group_above(scores + i, less);
    found.below += kGroup - std::popcount(not_below);
    for (uint32_t between = not_below & ~group_above(scores + i, high); between != 0; between &= between - 1) {
      found.keys.push_back(magnitude(scores[i + std::countr_zero(between)]));
    }
  }
  return i;
}

template <class Score>
void look_between(const Part<Score>& part, const Chunk& chunk, Bracket<Score> bracket, Between<Score>& found) {
  const auto is_left = [&](int64_t i) { return part.left == nullptr || part.left[i]; };
  int64_t first = chunk.begin;
  if constexpr (std::is_same_v<Score, float>) {
    if (part.left == nullptr) first += look_between_groups(part.scores + first, chunk.end - first, bracket, found);
  }
  for (int64_t begin = first; begin < chunk.end; begin += kStretch) {
    const int64_t end = std::min(begin + kStretch, chunk.end);
    for (size_t line = 0; line < kStretch * sizeof(Score); line += 64) fetch_ahead(part.scores + begin + line / sizeof(Score));
    int32_t below = 0, up_to = 0;
    if (part.left == nullptr) {
      const Score* scores = part.scores + begin;
      std::tie(below, up_to) = end - begin == kStretch ? count_stretch(scores, kStretch, bracket)
                                                       : count_stretch(scores, end - begin, bracket);
    } else {
      for (int64_t i = begin; i < end; ++i) {
        const Key<Score> key = magnitude(part.scores[i]);
        below += (key < bracket.low) & part.left[i];
        up_to += (key <= bracket.high) & part.left[i];
      }
    }
    found.below += below;
    if (up_to == below) continue;
    for (int64_t i = begin; i < end; ++i) {
      const Key<Score> key = magnitude(part.scores[i]);
      if (key >= bracket.low && key <= bracket.high && is_left(i)) found.keys.push_back(key);
    }
  }
}

/// Nothing where digits have to find it. `left`: entries of which `amount`, at least 1, go.
template <class Score>
std::optional<Cut<Score>> sampled_cut(std::span<const Part<Score>> parts, const std::vector<Chunk>& chunks, int64_t amount, int64_t left,
                                      const kernels::ParallelFor& parallel) {
  int64_t entries = 0;
  for (const Part<Score>& part : parts) entries += part.size;
  if (entries < kLeastSampled) return std::nullopt;
  const auto bracket = sampled_bracket(parts, chunks, amount, left);
  Between<Score> all;
  std::mutex lock;
  std::atomic<int64_t> collected = 0;
  const int64_t most = entries / kMostBetween;
  parallel(0, static_cast<int64_t>(chunks.size()), kChunksPerTask, [&](int64_t begin, int64_t end) {
    Between<Score> mine;
    for (int64_t i = begin; i < end && collected.load(std::memory_order_relaxed) <= most; ++i) {
      const size_t before = mine.keys.size();
      look_between(parts[chunks[static_cast<size_t>(i)].part], chunks[static_cast<size_t>(i)], bracket, mine);
      collected += static_cast<int64_t>(mine.keys.size() - before);
    }
    const std::lock_guard guard(lock);  // sums, and keys whose order does not show
    all.below += mine.below;
    all.keys.insert(all.keys.end(), mine.keys.begin(), mine.keys.end());
  });
  const int64_t rank = amount - all.below;
  if (collected > most || rank < 1 || rank > static_cast<int64_t>(all.keys.size())) return std::nullopt;
  const auto nth = all.keys.begin() + (rank - 1);
  std::nth_element(all.keys.begin(), nth, all.keys.end());
  const Key<Score> key = *nth;
  int64_t less = 0, ties = 0;
  for (const Key<Score> each : all.keys) {
    less += each < key;
    ties += each == key;
  }
  return Cut<Score>{key, ties - (rank - less)};
}

}  // namespace jouleprune::select
