// A raster of int16 pairs of bytes, for conv_pairs_body.h. Internal linkage throughout.
#pragma once
#include "kernels/bsr_int8/conv_kernels.h"
#include "kernels/bsr_int8/pair_words.h"

namespace jouleprune::kernels::bsr_int8 {
namespace {

[[gnu::always_inline]] inline void put_zeros(const PixelRun& run, int32_t* to) {
  for (int64_t i = 0; i < run.zeros; ++i) {
    to[run.to + run.count + i] = 0;
  }
}

[[gnu::always_inline]] inline void put_bytes(const ByteSource& s, const uint8_t* x, int64_t channels, int32_t* to, int64_t plane) {
  int32_t q[4];
  for (int64_t c = 0; c < 4; ++c) {
    q[c] = c < channels ? x[c * s.channel_stride] - 128 : 0;
  }
  to[0] = pair(q[0], q[1]);
  to[plane] = pair(q[2], q[3]);
}

[[gnu::always_inline]] inline Words load_bytes(const uint8_t* x) {
  typedef uint8_t Bytes __attribute__((vector_size(kWords)));
  Bytes bytes;
  __builtin_memcpy(&bytes, x, sizeof(bytes));
  return __builtin_convertvector(bytes, Words) - 128;
}

void fill_byte_planes(const ByteSource& s, const PixelRun* runs, int64_t run_count, int32_t* to, int64_t plane) {
  for (const PixelRun* run = runs; run != runs + run_count; ++run) {
    const uint8_t* x = s.x + run->from;
    int64_t i = 0;
    for (; s.pixel_stride == 1 && i + kWords <= run->count; i += kWords) {
      Words q[4];
      for (int64_t c = 0; c < 4; ++c) {
        q[c] = c < s.channels ? load_bytes(x + c * s.channel_stride + i) : Words{};
      }
      store(to + run->to + i, (q[0] & 0xffff) | (q[1] << 16));
      store(to + plane + run->to + i, (q[2] & 0xffff) | (q[3] << 16));
    }
    for (; i < run->count; ++i) {
      put_bytes(s, x + i * s.pixel_stride, s.channels, to + run->to + i, plane);
    }
    put_zeros(*run, to);
    put_zeros(*run, to + plane);
  }
}

/// kWords pixels of 4 x kWords channels at a time, turned in registers; what is left pixel by pixel.
void fill_byte_pixels(const ByteSource& s, const PixelRun* runs, int64_t run_count, int32_t* to, int64_t plane) {
  const int64_t planes = (s.channels + 3) / 4 * 2;
  for (const PixelRun* run = runs; run != runs + run_count; ++run) {
    const uint8_t* x = s.x + run->from;
    int32_t* at = to + run->to;
    for (int64_t i = 0; i < run->count; i += kWords) {
      const bool whole = i + kWords <= run->count;
      int64_t c = 0;
      for (; whole && c + 4 * kWords <= s.channels; c += 4 * kWords) {
        Vector<float> block[kWords];
        for (int p = 0; p < kWords; ++p) {
          __builtin_memcpy(&block[p], x + (i + p) * s.pixel_stride + c, sizeof(block[p]));
        }
        transpose<float>(block);
        for (int p = 0; p < kWords; ++p) {
          Words first, second;
          pairs_of_bytes(as_words(block[p]), first, second);
          store(at + (c / 2 + 2 * p) * plane + i, first);
          store(at + (c / 2 + 2 * p + 1) * plane + i, second);
        }
      }
      const int64_t end = whole ? i + kWords : run->count;
      for (; c < s.channels; c += 4) {
        for (int64_t p = i; p < end; ++p) {
          put_bytes(s, x + p * s.pixel_stride + c, s.channels - c, at + c / 2 * plane + p, plane);
        }
      }
    }
    for (int64_t p = 0; p < planes; ++p) {
      put_zeros(*run, to + p * plane);
    }
  }
}

}  // namespace
}  // namespace jouleprune::kernels::bsr_int8
