// Float activations as bytes, for all that read them.
#include <algorithm>
#include <vector>

#include "kernels/bsr_int8/bsr_int8_kernels.h"
#include "kernels/bsr_int8/panel_kernels.h"
#include "kernels/bsr_int8/quantise.h"
#include "kernels/bsr_int8/reference.h"
#include "kernels/csr/panels.h"

namespace jouleprune::kernels::bsr_int8 {
namespace {

constexpr int64_t kPart = 1 << 16;  // elements of a long row that are worked on at a time

void quantise_whole_rows(const QuantiseParams& p, const PanelKernels& kernels, const ParallelFor& parallel) {
  parallel(0, p.rows, csr::grain_of(p.cols), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const float* x = p.input + row * p.input_stride;
      const RowScale scale = row_scale(kernels.largest(x, p.cols), p.given_scale);
      kernels.round(x, p.cols, scale.inverse, p.bytes + row * p.cols);
      p.scales[row] = scale.scale;
    }
  });
}

/// Few and long, as images are: all magnitudes first.
void quantise_in_parts(const QuantiseParams& p, const PanelKernels& kernels, const ParallelFor& parallel) {
  const int64_t parts = (p.cols + kPart - 1) / kPart;
  std::vector<uint32_t> largest(static_cast<size_t>(p.rows * parts));
  const auto for_each_part = [&](const auto& body) {
    parallel(0, p.rows * parts, csr::grain_of(kPart), [&](int64_t begin, int64_t end) {
      for (int64_t unit = begin; unit < end; ++unit) {
        const int64_t row = unit / parts, first = unit % parts * kPart;
        body(unit, row, first, std::min(kPart, p.cols - first));
      }
    });
  };
  for_each_part([&](int64_t unit, int64_t row, int64_t first, int64_t count) {
    largest[static_cast<size_t>(unit)] = kernels.largest(p.input + row * p.input_stride + first, count);
  });
  std::vector<float> inverses;
  for (int64_t row = 0; row < p.rows; ++row) {
    const auto of_row = largest.begin() + row * parts;
    const RowScale scale = row_scale(*std::max_element(of_row, of_row + parts), p.given_scale);
    p.scales[row] = scale.scale;
    inverses.push_back(scale.inverse);
  }
  for_each_part([&](int64_t, int64_t row, int64_t first, int64_t count) {
    kernels.round(p.input + row * p.input_stride + first, count, inverses[static_cast<size_t>(row)], p.bytes + row * p.cols + first);
  });
}

}  // namespace

void quantise(const QuantiseParams& p, const ParallelFor& parallel, Isa isa) {
  if (isa == Isa::kReference) {
    return reference::quantise(p);
  }
  (p.cols > kPart ? quantise_in_parts : quantise_whole_rows)(p, panel_kernels(isa), parallel);
}

}  // namespace jouleprune::kernels::bsr_int8
