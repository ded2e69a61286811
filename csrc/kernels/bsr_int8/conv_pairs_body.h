// Convolution over int16 pairs, multiplied by pmaddwd: every processor of the architecture has it. Written once, compiled by
// conv_pairs_{portable,avx2,avx512}.cpp. Internal linkage throughout.
#pragma once
#include "kernels/bsr_int8/conv_byte_pairs.h"
#include "kernels/bsr_int8/conv_pair_stores.h"

namespace jouleprune::kernels::bsr_int8 {
namespace {

/// One pixel of a quad, channels that are missing as 0.
[[gnu::always_inline]] inline void put_pixel(const PixelSource& s, const float* x, int64_t channels, float inverse, int32_t* to,
                                             int64_t plane) {
  int32_t q[4];
  for (int64_t c = 0; c < 4; ++c) {
    q[c] = c < channels ? quantise(x[c * s.channel_stride], inverse) : 0;
  }
  to[0] = pair(q[0], q[1]);
  to[plane] = pair(q[2], q[3]);
}

[[gnu::always_inline]] inline bool has_nan(const float* x, int64_t count, int64_t stride) {
  if (stride == 1) {
    return largest_magnitude(x, count) > kInfinityBits;
  }
  bool found = false;
  for (int64_t i = 0; i < count; ++i) {
    found |= x[i * stride] != x[i * stride];
  }
  return found;
}

void fill_planes(const PixelSource& s, const PixelRun* runs, int64_t run_count, int32_t* to, int64_t plane) {
  for (const PixelRun* run = runs; run != runs + run_count; ++run) {
    const float* x = s.x + run->from;
    const float inverse = s.inverse[run->image];
    for (int64_t c = 0; s.given && c < s.channels; ++c) {
      if (has_nan(x + c * s.channel_stride, run->count, s.pixel_stride)) {
        s.lost[run->image] = 1;
      }
    }
    int64_t i = 0;
    for (const auto by = splat(inverse); s.pixel_stride == 1 && i + kWords <= run->count; i += kWords) {
      Words q[4];
      for (int64_t c = 0; c < 4; ++c) {
        q[c] = c < s.channels ? quantise_vector(x + c * s.channel_stride + i, by) : Words{};
      }
      store(to + run->to + i, (q[0] & 0xffff) | (q[1] << 16));
      store(to + plane + run->to + i, (q[2] & 0xffff) | (q[3] << 16));
    }
    for (; i < run->count; ++i) {
      put_pixel(s, x + i * s.pixel_stride, s.channels, inverse, to + run->to + i, plane);
    }
    put_zeros(*run, to);
    put_zeros(*run, to + plane);
  }
}

/// kWords pixels of 2 x kWords channels at a time, turned in registers; what is left pixel by pixel.
void fill_pixel_run(const PixelSource& s, const PixelRun& run, const float* x, float inverse, int32_t* to, int64_t plane) {
  const auto by = splat(inverse);
  int64_t i = 0;
  for (; i < run.count; i += kWords) {
    const bool whole = i + kWords <= run.count;
    int64_t c = 0;
    for (; whole && c + 2 * kWords <= s.channels; c += 2 * kWords) {
      Vector<float> block[kWords];
      for (int p = 0; p < kWords; ++p) {
        const float* from = x + (i + p) * s.pixel_stride + c;
        block[p] = reinterpret_cast<Vector<float>>(pairs_of(quantise_vector(from, by), quantise_vector(from + kWords, by)));
      }
      transpose<float>(block);
      for (int p = 0; p < kWords; ++p) {
        store(to + (c / 2 + p) * plane + i, as_words(block[p]));
      }
    }
    const int64_t end = whole ? i + kWords : run.count;
    for (; c < s.channels; c += 4) {
      for (int64_t p = i; p < end; ++p) {
        put_pixel(s, x + p * s.pixel_stride + c, s.channels - c, inverse, to + c / 2 * plane + p, plane);
      }
    }
  }
}

void fill_pixels(const PixelSource& s, const PixelRun* runs, int64_t run_count, int32_t* to, int64_t plane) {
  const int64_t planes = (s.channels + 3) / 4 * 2;
  for (const PixelRun* run = runs; run != runs + run_count; ++run) {
    const float* x = s.x + run->from;
    for (int64_t i = 0; s.given && i < run->count; ++i) {
      if (has_nan(x + i * s.pixel_stride, s.channels, 1)) {
        s.lost[run->image] = 1;
      }
    }
    fill_pixel_run(s, *run, x, s.inverse[run->image], to + run->to, plane);
    for (int64_t p = 0; p < planes; ++p) {
      put_zeros(*run, to + p * plane);
    }
  }
}

template <int kVectors>
void multiply_rows(const RasterWeight& weight, int64_t begin, int64_t end, const int32_t* x, int32_t* tile, int64_t width) {
  const auto* values = reinterpret_cast<const int32_t*>(weight.values);
  for (int64_t r = begin; r < end; ++r, tile += width) {
    Words sum[kVectors];
    for (int v = 0; v < kVectors; ++v) {
      sum[v] = splat(weight.start[r]);
    }
    for (int64_t k = weight.row_offsets[r]; k < weight.row_offsets[r + 1]; ++k) {
      const int32_t *first = x + weight.columns[k], *second = first + weight.word_stride;
      const Words low = splat(values[2 * k]), high = splat(values[2 * k + 1]);
      for (int v = 0; v < kVectors; ++v) {
        sum[v] += multiply_pairs(load(first + v * kWords), low) + multiply_pairs(load(second + v * kWords), high);
      }
    }
    for (int v = 0; v < kVectors; ++v) {
      store(tile + v * kWords, sum[v]);
    }
  }
}

void multiply(const RasterWeight& weight, int64_t begin, int64_t end, const int32_t* x, int64_t vectors, int32_t* tile,
              int64_t width) {
  for (; vectors >= 4; vectors -= 4, x += 4 * kWords, tile += 4 * kWords) {
    multiply_rows<4>(weight, begin, end, x, tile, width);
  }
  switch (vectors) {
    case 3: return multiply_rows<3>(weight, begin, end, x, tile, width);
    case 2: return multiply_rows<2>(weight, begin, end, x, tile, width);
    case 1: return multiply_rows<1>(weight, begin, end, x, tile, width);
    default: return;
  }
}

constexpr ConvKernels make_conv_pairs_table() {
  return {kWords,       2,            largest_magnitude, fill_planes,      fill_pixels,       multiply,
          store_planes, store_pixels, fill_byte_planes,  fill_byte_pixels, store_byte_planes, store_byte_pixels};
}

}  // namespace
}  // namespace jouleprune::kernels::bsr_int8
