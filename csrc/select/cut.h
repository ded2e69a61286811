// What the ways to find the last entry that goes share: stretches of parts, keys, and the cut itself.
#pragma once
#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "select/smallest.h"

namespace jouleprune::select {

inline constexpr int64_t kChunk = 1 << 16;    // counts of a chunk fit 32 bits
inline constexpr int64_t kChunksPerTask = 4;  // some 100 us

/// A stretch of one part.
struct Chunk {
  size_t part = 0;
  int64_t begin = 0, end = 0;
};

template <class Score>
using Key = decltype(magnitude(Score{}));

/// Where the removed end: all keys below `key` go, and of those that equal it all but the first `ties_kept`.
template <class Score>
struct Cut {
  Key<Score> key = 0;
  int64_t ties_kept = 0;
};

template <class Score>
std::vector<Chunk> chunks_of(std::span<const Part<Score>> parts) {
  std::vector<Chunk> chunks;
  for (size_t part = 0; part < parts.size(); ++part) {
    for (int64_t begin = 0; begin < parts[part].size; begin += kChunk) {
      chunks.push_back({part, begin, std::min(begin + kChunk, parts[part].size)});
    }
  }
  return chunks;
}

}  // namespace jouleprune::select
