// Panels of int16 pairs, multiplied by pmaddwd (two products and their sum in 32 bits, exact): every processor of the
// architecture has it. Written once, compiled by pairs_{portable,avx2,avx512}.cpp. Internal linkage throughout.
#pragma once
#include "kernels/bsr_int8/pair_words.h"

namespace jouleprune::kernels::bsr_int8 {
namespace {

void quantise_panel(const PanelInput& in, int64_t width, void* panel, float* scales) {
  auto* words = static_cast<int32_t*>(panel);
  for (int64_t j = 0; j < width; j += kWords) {
    const float* rows[kWords];
    float inverse[kWords];
    for (int i = 0; i < kWords; ++i) {
      const int64_t row = j + i < in.count ? j + i : 0;  // lanes beyond the batch repeat its first row
      rows[i] = in.x + row * in.stride;
      const RowScale scale = row_scale(largest_magnitude(rows[i], in.cols), in.given_scale);
      scales[j + i] = scale.scale;
      inverse[i] = scale.inverse;
    }
    int64_t c = 0;
    for (; c + 2 * kWords <= in.cols; c += 2 * kWords) {
      Vector<float> block[kWords];
      for (int i = 0; i < kWords; ++i) {
        const Vector<float> by = splat(inverse[i]);
        block[i] = reinterpret_cast<Vector<float>>(
            pairs_of(quantise_vector(rows[i] + c, by), quantise_vector(rows[i] + c + kWords, by)));
      }
      transpose<float>(block);
      for (int i = 0; i < kWords; ++i) {
        store(words + (c / 2 + i) * width + j, as_words(block[i]));
      }
    }
    for (; c < in.cols; c += 4) {
      for (int i = 0; i < kWords; ++i) {
        int32_t q[4];
        for (int s = 0; s < 4; ++s) {
          q[s] = c + s < in.cols ? quantise(rows[i][c + s], inverse[i]) : 0;
        }
        words[c / 2 * width + j + i] = pair(q[0], q[1]);
        words[(c / 2 + 1) * width + j + i] = pair(q[2], q[3]);
      }
    }
  }
}

template <int kVectors>
void multiply_rows(const PanelWeight& weight, int64_t begin, int64_t end, const int32_t* panel, int32_t* sums) {
  constexpr int64_t kWidth = kVectors * kWords;
  const auto* values = reinterpret_cast<const int32_t*>(weight.values);
  int64_t next[kUnitRows];
  for (int64_t r = begin; r < end; ++r) {
    next[r - begin] = weight.row_offsets[r];
  }
  for (int64_t block = 0; block == 0 || block < weight.cols; block += weight.column_block) {
    const bool last_block = block + weight.column_block >= weight.cols;
    for (int64_t r = begin; r < end; ++r) {
      int32_t* to = sums + (r - begin) * kWidth;
      Words sum[kVectors];
      for (int q = 0; q < kVectors; ++q) {
        sum[q] = block == 0 ? splat(weight.start[r]) : load(to + q * kWords);
      }
      int64_t k = next[r - begin], last = weight.row_offsets[r + 1];
      if (!last_block) {
        last = first_beyond(weight.columns, k, last, block + weight.column_block);
      }
      next[r - begin] = last;
      for (; k < last; ++k) {
        const int32_t* x = panel + weight.columns[k] * 2 * kWidth;
        const Words first = splat(values[2 * k]), second = splat(values[2 * k + 1]);
        for (int q = 0; q < kVectors; ++q) {
          sum[q] += multiply_pairs(load(x + q * kWords), first) + multiply_pairs(load(x + kWidth + q * kWords), second);
        }
      }
      for (int q = 0; q < kVectors; ++q) {
        store(to + q * kWords, sum[q]);
      }
    }
  }
}

void multiply_panel(const PanelWeight& weight, int64_t begin, int64_t end, const void* panel, int64_t width, int32_t* sums) {
  const auto* words = static_cast<const int32_t*>(panel);
  switch (width / kWords) {
    case 1: return multiply_rows<1>(weight, begin, end, words, sums);
    case 2: return multiply_rows<2>(weight, begin, end, words, sums);
    case 3: return multiply_rows<3>(weight, begin, end, words, sums);
    default: return multiply_rows<4>(weight, begin, end, words, sums);
  }
}

/// quantise(x[i], inverse) + 128
void round_to_bytes(const float* x, int64_t count, float inverse, uint8_t* to) {
  const Vector<float> by = splat(inverse);
  int64_t i = 0;
  for (; i + kWords <= count; i += kWords) {
    store_bytes(to + i, quantise_vector(x + i, by));
  }
  for (; i < count; ++i) {
    to[i] = static_cast<uint8_t>(quantise(x[i], inverse) + 128);
  }
}

/// Words of kWords rows at a time, turned in registers; what is left byte by byte, and missing inputs as 0.
void spread_panel(const PanelBytes& in, int64_t width, void* panel) {
  auto* words = static_cast<int32_t*>(panel);
  for (int64_t j = 0; j < width; j += kWords) {
    const uint8_t* rows[kWords];
    for (int i = 0; i < kWords; ++i) {
      rows[i] = in.x + (j + i < in.count ? j + i : 0) * in.stride;  // lanes beyond the batch repeat its first row
    }
    int64_t c = 0;
    for (; c + 4 * kWords <= in.cols; c += 4 * kWords) {
      Vector<float> block[kWords];
      for (int i = 0; i < kWords; ++i) {
        __builtin_memcpy(&block[i], rows[i] + c, sizeof(block[i]));
      }
      transpose<float>(block);
      for (int i = 0; i < kWords; ++i) {
        Words first, second;
        pairs_of_bytes(as_words(block[i]), first, second);
        store(words + (c / 2 + 2 * i) * width + j, first);
        store(words + (c / 2 + 2 * i + 1) * width + j, second);
      }
    }
    for (; c < in.cols; c += 4) {
      for (int i = 0; i < kWords; ++i) {
        int32_t q[4];
        for (int s = 0; s < 4; ++s) {
          q[s] = c + s < in.cols ? rows[i][c + s] - 128 : 0;
        }
        words[c / 2 * width + j + i] = pair(q[0], q[1]);
        words[(c / 2 + 1) * width + j + i] = pair(q[2], q[3]);
      }
    }
  }
}

void store_panel_bytes(const int32_t* sums, int64_t rows, int64_t width, const PanelOutput& out, const PanelByteOutput& bytes) {
  finish_panel(sums, rows, width, out, PutBytes{bytes});
}

constexpr PanelKernels make_pairs_table() {
  return {kWords,         2,            quantise_panel,    multiply_panel,      store_panel,     largest_magnitude,
          round_to_bytes, spread_panel, store_panel_bytes, widen_all<BFloat16>, widen_all<Half>, narrow_all<BFloat16>,
          narrow_all<Half>};
}

}  // namespace
}  // namespace jouleprune::kernels::bsr_int8
