#include "kernels/bsr_int8/small_batch.h"

#include <algorithm>
#include <type_traits>

#include "kernels/bsr_int8/panel_kernels.h"
#include "kernels/bsr_int8/small_form.h"
#include "kernels/csr/panels.h"
#include "kernels/csr/scratch.h"

namespace jouleprune::kernels::bsr_int8 {
namespace {

using csr::Scratch;

#if defined(__x86_64__)
int64_t round_up(int64_t size, int64_t to) { return (size + to - 1) / to * to; }

void widen_row(const BFloat16* x, int64_t count, float* to) { avx512_vnni_quads.widen_bfloat16(x, count, to); }
void widen_row(const Half* x, int64_t count, float* to) { avx512_vnni_quads.widen_half(x, count, to); }
void narrow_row(const float* x, int64_t count, BFloat16* to) { avx512_vnni_quads.narrow_bfloat16(x, count, to); }
void narrow_row(const float* x, int64_t count, Half* to) { avx512_vnni_quads.narrow_half(x, count, to); }

template <class T>
float quantise_row(const LinearParams<T>& p, int64_t j, uint8_t* to) {
  const T* x = p.input + j * p.input_stride;
  if constexpr (std::is_same_v<T, float>) {
    return quantise_small(x, p.in_features, p.input_scale, to);
  } else {
    Scratch<float> wide(p.in_features);
    widen_row(x, p.in_features, wide.data());
    return quantise_small(wide.data(), p.in_features, p.input_scale, to);
  }
}

/// Rows [row, row + rows) of batch row j.
template <class T>
void finish_row(const LinearParams<T>& p, int64_t j, int64_t row, int64_t rows, const int32_t* sums, float input_scale) {
  const Weight& w = p.weight;
  const float* bias = w.bias == nullptr ? nullptr : w.bias + row;
  T* y = p.output + j * w.quads.rows + row;
  if constexpr (std::is_same_v<T, float>) {
    finish_small(sums, rows, input_scale, w.scales + row, bias, w.relu, y);
  } else {
    Scratch<float> wide(rows);
    finish_small(sums, rows, input_scale, w.scales + row, bias, w.relu, wide.data());
    narrow_row(wide.data(), rows, y);
  }
}
#endif

}  // namespace

bool small_batch_serves(int64_t n, Isa isa) { return n <= kSmallBatch && isa == Isa::kAvx512 && has_vnni(); }

template <class T>
void linear_small(const LinearParams<T>& p, const ParallelFor& parallel) {
#if defined(__x86_64__)
  const auto form = small_form(p.weight, p.forms);
  const int64_t x_stride = round_up(std::max<int64_t>(p.in_features, 1), kInputBytes), rows = p.weight.quads.rows;
  Scratch<uint8_t> x(p.n * x_stride);
  float scales[kSmallBatch] = {};
  for (int64_t j = 0; j < p.n; ++j) {
    uint8_t* to = x.data() + j * x_stride;
    std::fill(to + p.in_features, to + x_stride, uint8_t{128});  // zeros
    scales[j] = quantise_row(p, j, to);
  }
  const SmallCall call{form->view(), x.data(), x_stride, p.n};
  const int64_t groups = (rows + kRowGroup - 1) / kRowGroup;
  parallel(0, groups, csr::grain_of(p.weight.quads.nnz * kQuad / std::max<int64_t>(groups, 1)), [&](int64_t begin, int64_t end) {
    const int64_t first = begin * kRowGroup, here = std::min(rows, end * kRowGroup) - first, stride = round_up(here, kRowGroup);
    Scratch<int32_t> sums(p.n * stride);
    multiply_small(call, begin, end, sums.data(), stride);
    for (int64_t j = 0; j < p.n; ++j) {
      finish_row(p, j, first, here, sums.data() + j * stride, scales[j]);
    }
  });
#else
  (void)p, (void)parallel;  // small_batch_serves is false
#endif
}

template void linear_small(const LinearParams<float>&, const ParallelFor&);
template void linear_small(const LinearParams<BFloat16>&, const ParallelFor&);
template void linear_small(const LinearParams<Half>&, const ParallelFor&);

}  // namespace jouleprune::kernels::bsr_int8
