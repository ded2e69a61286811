#include "kernels/bsr_int8/reference.h"

#include <algorithm>
#include <vector>

#include "kernels/bsr_int8/quantise.h"

namespace jouleprune::kernels::bsr_int8::reference {

template <class T>
void linear(const LinearParams<T>& p) {
  const auto& [quads, blocks, scales, bias, relu] = p.weight;
  std::vector<int32_t> x(static_cast<size_t>(quads.cols * kQuad));  // the last quad may reach beyond the inputs: zeros
  for (int64_t j = 0; j < p.n; ++j) {
    const T* input = p.input + j * p.input_stride;
    uint32_t largest = 0;
    for (int64_t c = 0; c < p.in_features; ++c) {
      largest = std::max(largest, magnitude_bits(widen(input[c])));
    }
    const RowScale row = row_scale(largest, p.input_scale);
    for (int64_t c = 0; c < p.in_features; ++c) {
      x[static_cast<size_t>(c)] = quantise(widen(input[c]), row.inverse);
    }
    for (int64_t r = 0; r < quads.rows; ++r) {
      int64_t sum = 0;
      for (int64_t k = quads.row_offsets[r]; k < quads.row_offsets[r + 1]; ++k) {
        for (int64_t i = 0; i < kQuad; ++i) {
          sum += blocks[k * kQuad + i] * x[static_cast<size_t>(quads.col_indices[k] * kQuad + i)];
        }
      }
      const float scale = scales[r] * row.scale;
      const float product = static_cast<float>(sum) * scale;
      const float y = product + (bias == nullptr ? 0.0f : bias[r]);
      p.output[j * quads.rows + r] = narrow<T>(relu && y < 0 ? 0.0f : y);
    }
  }
}

template void linear(const LinearParams<float>&);
template void linear(const LinearParams<BFloat16>&);
template void linear(const LinearParams<Half>&);

}  // namespace jouleprune::kernels::bsr_int8::reference
