#include <immintrin.h>

#include "kernels/bsr_int8/small_kernels.h"

namespace jouleprune::kernels::bsr_int8 {
namespace {

constexpr int kLanes = 16;

/// Modulo 2^32, as the vectors add: only the end result is known to fit.
[[gnu::always_inline]] inline int32_t wrapped_sum(int32_t a, int32_t b) {
  return static_cast<int32_t>(static_cast<uint32_t>(a) + static_cast<uint32_t>(b));
}

/// Batch rows beyond the count repeat the first; their sums are not written.
template <int kRows>
struct Inputs {
  const uint8_t* x[kRows];

  explicit Inputs(const SmallCall& call) {
    for (int j = 0; j < kRows; ++j) {
      x[j] = call.x + (j < call.count ? j * call.x_stride : 0);
    }
  }
};

[[gnu::always_inline]] inline void prefetch(const void* p) { _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T0); }

/// Sums in flight for each batch row, so that together they hide the latency of the multiply-add.
template <int kRows>
constexpr int kChains = kRows == 1 ? 4 : kRows <= 4 ? 2 : 1;

/// In assembly to keep the compiler from reading memory in the expansion itself, which Zen 4 does at half the rate.
[[gnu::always_inline]] inline __m512i expand(__mmask16 keep, const uint32_t* from) {
  const __m512i packed = _mm512_loadu_si512(from);
  __m512i expanded;
  asm("vpexpandd %1, %0%{%2%}%{z%}" : "=v"(expanded) : "v"(packed), "Yk"(keep));
  return expanded;
}

/// Four masks at a time: the places of their values come from one word of 64 bits, so that no expansion waits for another.
template <int kRows>
void multiply_bitmap(const SmallCall& call, int64_t begin, int64_t end, int32_t* sums, int64_t stride) {
  const SmallWeight& weight = call.weight;
  const Inputs<kRows> in(call);
  const int64_t masks = (weight.quads + kBitmapQuads - 1) / kBitmapQuads;
  constexpr int n = kChains<kRows>;
  for (int64_t r = begin; r < end; ++r) {
    const uint16_t* mask = weight.columns + r * masks;
    const uint32_t* value = weight.values + weight.begins[r];
    __m512i sum[kRows][n] = {};
    const auto step = [&](int64_t k, int chain, uint64_t keep, const uint32_t* from) __attribute__((always_inline)) {
      const __m512i w = expand(static_cast<__mmask16>(keep), from);
      for (int j = 0; j < kRows; ++j) {
        sum[j][chain] = _mm512_dpbusd_epi32(sum[j][chain], _mm512_loadu_si512(in.x[j] + k * 64), w);
      }
    };
    int64_t k = 0;
    for (; k + 4 <= masks; k += 4) {
      uint64_t keep = 0;
      __builtin_memcpy(&keep, mask + k, sizeof(keep));
      prefetch(value + 1024);
      prefetch(value + 1040);
      prefetch(mask + k + 512);
      step(k, 0, keep, value);
      step(k + 1, 1 % n, keep >> 16, value + __builtin_popcountll(keep & 0xffff));
      step(k + 2, 2 % n, keep >> 32, value + __builtin_popcountll(keep & 0xffffffff));
      step(k + 3, 3 % n, keep >> 48, value + __builtin_popcountll(keep & 0xffffffffffff));
      value += __builtin_popcountll(keep);
    }
    for (; k < masks; ++k) {
      step(k, 0, mask[k], value);
      value += __builtin_popcount(mask[k]);
    }
    for (int j = 0; j < kRows && j < call.count; ++j) {
      __m512i total = sum[j][0];
      for (int chain = 1; chain < n; ++chain) {
        total = _mm512_add_epi32(total, sum[j][chain]);
      }
      sums[j * stride + r - begin] = wrapped_sum(_mm512_reduce_add_epi32(total), weight.start[r]);
    }
  }
}

template <int kRows>
void multiply_sell(const SmallCall& call, int64_t group_begin, int64_t group_end, int32_t* sums, int64_t stride) {
  const SmallWeight& weight = call.weight;
  const Inputs<kRows> in(call);
  constexpr int n = kChains<kRows>;
  static_assert(kSellUnroll % n == 0);
  const uint16_t* blocks = weight.columns;
  for (int64_t group = group_begin; group < group_end; ++group) {
    __m512i sum[kRows][n] = {};
    const int64_t last = weight.begins[group + 1];
    for (int64_t step = weight.begins[group]; step < last; step += n) {
#pragma GCC unroll 4
      for (int chain = 0; chain < n; ++chain) {
        const int64_t at = step + chain;
        const uint8_t* lanes = weight.lanes + at * kLanes;
        const uint32_t* values = weight.values + at * kLanes;
        prefetch(lanes + 1024);
        prefetch(values + 1024);
        const __m512i index = _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(lanes)));
        const __m512i w = _mm512_loadu_si512(values);
        for (int j = 0; j < kRows; ++j) {
          const uint8_t* x = in.x[j] + blocks[at] * (kSellQuads * 4);
          const __m512i picked = _mm512_permutex2var_epi32(_mm512_loadu_si512(x), index, _mm512_loadu_si512(x + 64));
          sum[j][chain] = _mm512_dpbusd_epi32(sum[j][chain], picked, w);
        }
      }
    }
    const __m512i start = _mm512_loadu_si512(weight.start + group * kRowGroup);
    for (int j = 0; j < kRows && j < call.count; ++j) {
      __m512i total = _mm512_add_epi32(start, sum[j][0]);
      for (int chain = 1; chain < n; ++chain) {
        total = _mm512_add_epi32(total, sum[j][chain]);
      }
      _mm512_storeu_si512(sums + j * stride + (group - group_begin) * kRowGroup, total);
    }
  }
}

[[gnu::always_inline]] inline __m128i word_at(const uint8_t* x, int64_t quad) {
  return _mm_loadu_si32(x + quad * 4);
}

template <int kRows>
void multiply_csr(const SmallCall& call, int64_t begin, int64_t end, int32_t* sums, int64_t stride) {
  const SmallWeight& weight = call.weight;
  const Inputs<kRows> in(call);
  constexpr int n = kChains<kRows>;
  for (int64_t r = begin; r < end; ++r) {
    const int64_t last = weight.begins[r + 1];
    __m128i sum[kRows][n] = {};
    const auto step = [&](int64_t k, int chain) __attribute__((always_inline)) {
      const __m128i w = _mm_loadu_si32(weight.values + k);
      for (int j = 0; j < kRows; ++j) {
        sum[j][chain] = _mm_dpbusd_epi32(sum[j][chain], word_at(in.x[j], weight.columns[k]), w);
      }
    };
    int64_t k = weight.begins[r];
    for (; k + n <= last; k += n) {
      prefetch(weight.values + k + 1024);
      prefetch(weight.columns + k + 1024);
#pragma GCC unroll 4
      for (int chain = 0; chain < n; ++chain) {
        step(k + chain, chain);
      }
    }
    for (; k < last; ++k) {
      step(k, 0);
    }
    for (int j = 0; j < kRows && j < call.count; ++j) {
      int32_t total = weight.start[r];
      for (int chain = 0; chain < n; ++chain) {
        total = wrapped_sum(total, _mm_cvtsi128_si32(sum[j][chain]));
      }
      sums[j * stride + r - begin] = total;
    }
  }
}

template <int kRows>
void multiply_rows(const SmallCall& call, int64_t group_begin, int64_t group_end, int32_t* sums, int64_t stride) {
  const int64_t begin = group_begin * kRowGroup;
  const int64_t end = group_end * kRowGroup < call.weight.rows ? group_end * kRowGroup : call.weight.rows;
  switch (call.weight.order) {
    case SmallOrder::kBitmap: return multiply_bitmap<kRows>(call, begin, end, sums, stride);
    case SmallOrder::kSell: return multiply_sell<kRows>(call, group_begin, group_end, sums, stride);
    case SmallOrder::kCsr: return multiply_csr<kRows>(call, begin, end, sums, stride);
  }
}

}  // namespace

void multiply_small(const SmallCall& call, int64_t group_begin, int64_t group_end, int32_t* sums, int64_t stride) {
  if (call.count == 1) return multiply_rows<1>(call, group_begin, group_end, sums, stride);
  if (call.count == 2) return multiply_rows<2>(call, group_begin, group_end, sums, stride);
  if (call.count <= 4) return multiply_rows<4>(call, group_begin, group_end, sums, stride);
  multiply_rows<8>(call, group_begin, group_end, sums, stride);
}

void finish_small(const int32_t* sums, int64_t rows, float input_scale, const float* scales, const float* bias, bool relu,
                  float* y) {
  const __m512 by = _mm512_set1_ps(input_scale);
  for (int64_t r = 0; r < rows; r += kLanes) {
    const auto present = static_cast<__mmask16>(rows - r >= kLanes ? 0xffff : (1 << (rows - r)) - 1);
    const __m512 scale = _mm512_mul_ps(_mm512_maskz_loadu_ps(present, scales + r), by);
    const __m512 product = _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_loadu_si512(sums + r)), scale);
    const __m512 sum = _mm512_add_ps(product, bias == nullptr ? _mm512_setzero_ps() : _mm512_maskz_loadu_ps(present, bias + r));
    _mm512_mask_storeu_ps(y + r, present, relu ? _mm512_max_ps(_mm512_setzero_ps(), sum) : sum);
  }
}

}  // namespace jouleprune::kernels::bsr_int8
