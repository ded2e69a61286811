// The blocks of a weight as the words that kernels multiply by (panel_kernels.h).
#pragma once
#include <cstdint>
#include <cstring>
#include <vector>

#include "kernels/bsr_int8/bsr_int8_kernels.h"
#include "kernels/bsr_int8/quantise.h"

namespace jouleprune::kernels::bsr_int8 {

/// What the sums of the rows begin with: sums of unsigned activations hold 128 times each weight too much.
inline std::vector<int32_t> starts_of_sums(const Weight& weight, bool unsigned_activations) {
  std::vector<int32_t> start(static_cast<size_t>(weight.quads.rows), 0);
  for (int64_t r = 0; unsigned_activations && r < weight.quads.rows; ++r) {
    int64_t sum = 0;
    for (int64_t i = weight.quads.row_offsets[r] * kQuad; i < weight.quads.row_offsets[r + 1] * kQuad; ++i) {
      sum += weight.blocks[i];
    }
    start[static_cast<size_t>(r)] = start_of_sum(sum);
  }
  return start;
}

inline uint32_t pair_word(int8_t low, int8_t high) {
  return (static_cast<uint32_t>(static_cast<int32_t>(low)) & 0xffffu) | static_cast<uint32_t>(static_cast<int32_t>(high)) << 16;
}

/// Appends `words` words of each of `count` blocks, in `order` (positions among the blocks) or as they are (null).
inline void append_words(const int8_t* blocks, int64_t count, const int32_t* order, int64_t words, std::vector<uint32_t>& to) {
  to.reserve(to.size() + static_cast<size_t>(count * words));
  for (int64_t k = 0; k < count; ++k) {
    const int8_t* block = blocks + (order == nullptr ? k : order[k]) * kQuad;
    if (words == 1) {
      uint32_t word = 0;
      std::memcpy(&word, block, sizeof(word));
      to.push_back(word);
    } else {
      to.push_back(pair_word(block[0], block[1]));
      to.push_back(pair_word(block[2], block[3]));
    }
  }
}

}  // namespace jouleprune::kernels::bsr_int8
