#include "kernels/bsr_int8/small_batch.h"

#include <algorithm>
#include <cmath>
#include <type_traits>

#include "formats/ceil_div.h"
#include "kernels/bsr_int8/lost_rows.h"
#include "kernels/bsr_int8/panel_kernels.h"
#include "kernels/bsr_int8/quantise.h"
#include "kernels/bsr_int8/small_form.h"
#include "kernels/csr/panels.h"
#include "kernels/csr/scratch.h"

namespace jouleprune::kernels::bsr_int8 {
namespace {

using csr::Scratch;

#if defined(__x86_64__)
void widen_row(const BFloat16* x, int64_t count, float* to) { avx512_vnni_quads.widen_bfloat16(x, count, to); }
void widen_row(const Half* x, int64_t count, float* to) { avx512_vnni_quads.widen_half(x, count, to); }
void narrow_row(const float* x, int64_t count, BFloat16* to) { avx512_vnni_quads.narrow_bfloat16(x, count, to); }
void narrow_row(const float* x, int64_t count, Half* to) { avx512_vnni_quads.narrow_half(x, count, to); }

float quantise_row(const float* x, int64_t cols, float given_scale, uint8_t* to) {
  const RowScale scale = row_scale(avx512_vnni_quads.largest(x, cols), given_scale);
  avx512_vnni_quads.round(x, cols, scale.inverse, to);
  return scale.scale;
}

template <class In, class Out>
float bytes_of_row(const LinearParams<In, Out>& p, int64_t j, uint8_t* to) {
  const In* x = p.input + j * p.input_stride;
  if constexpr (std::is_same_v<In, float>) {
    return quantise_row(x, p.in_features, p.input_scale, to);
  } else if constexpr (std::is_same_v<In, uint8_t>) {
    std::copy_n(x, p.in_features, to);
    return p.input_scales[j];
  } else {
    Scratch<float> wide(p.in_features);
    widen_row(x, p.in_features, wide.data());
    return quantise_row(wide.data(), p.in_features, p.input_scale, to);
  }
}

/// Rows [row, row + rows) of batch row j.
template <class In, class Out>
void finish_row(const LinearParams<In, Out>& p, int64_t j, int64_t row, int64_t rows, const int32_t* sums, float input_scale) {
  const Weight& w = p.weight;
  const float* bias = w.bias == nullptr ? nullptr : w.bias + row;
  Out* y = p.output + j * w.quads.rows + row;
  if constexpr (std::is_same_v<Out, float>) {
    finish_small(sums, rows, input_scale, w.scales + row, bias, w.relu, y);
    return;
  }
  Scratch<float> wide(rows);
  finish_small(sums, rows, input_scale, w.scales + row, bias, w.relu, wide.data());
  if constexpr (std::is_same_v<Out, uint8_t>) {
    const uint8_t lost = std::isnan(quantise_row(wide.data(), rows, p.output_scale, y)) ? 1 : 0;
    mark_lost(p.output_scales + j, &lost, 1);
  } else if constexpr (!std::is_same_v<Out, float>) {
    narrow_row(wide.data(), rows, y);
  }
}
#endif

}  // namespace

bool small_batch_serves(int64_t n, Isa isa) { return n <= kSmallBatch && isa == Isa::kAvx512 && has_vnni(); }

template <class In, class Out>
void linear_small(const LinearParams<In, Out>& p, const ParallelFor& parallel) {
#if defined(__x86_64__)
  const auto form = small_form(p.weight, p.forms);
  const int64_t x_stride = round_up(std::max<int64_t>(p.in_features, 1), kInputBytes), rows = p.weight.quads.rows;
  Scratch<uint8_t> x(p.n * x_stride);
  float scales[kSmallBatch] = {};
  for (int64_t j = 0; j < p.n; ++j) {
    uint8_t* to = x.data() + j * x_stride;
    std::fill(to + p.in_features, to + x_stride, uint8_t{128});  // zeros
    scales[j] = bytes_of_row(p, j, to);
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
template void linear_small(const LinearParams<uint8_t, float>&, const ParallelFor&);
template void linear_small(const LinearParams<float, uint8_t>&, const ParallelFor&);
template void linear_small(const LinearParams<uint8_t, uint8_t>&, const ParallelFor&);

}  // namespace jouleprune::kernels::bsr_int8
