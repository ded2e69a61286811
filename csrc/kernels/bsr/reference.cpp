#include "kernels/bsr/reference.h"

#include <algorithm>
#include <vector>

#include "formats/bsr_pack.h"

#include "kernels/reference_activation.h"

namespace jouleprune::kernels::bsr::reference {
namespace {

template <class T>
T round_to(double x) {
  return narrow<T>(static_cast<Accumulate<T>>(x));
}

}  // namespace

template <class T>
void linear(const LinearParams<T>& p) {
  for (int64_t j = 0; j < p.n; ++j) {
    std::vector<double> sums(static_cast<size_t>(p.bsr.rows), 0.0);
    formats::for_each_entry(p.bsr, [&](int64_t entry, int64_t row, int64_t col) {
      sums[row] += static_cast<double>(widen(p.blocks[entry])) * widen(p.input[j * p.input_stride + col]);
    });
    for (int64_t row = 0; row < p.bsr.rows; ++row) {
      const double sum = sums[row] + (p.bias == nullptr ? 0 : widen(p.bias[row]));
      p.output[j * p.bsr.rows + row] = round_to<T>(reference_activation(sum, p.activation));
    }
  }
}

template <class T>
void linear_backward_input(const LinearParams<T>& p) {
  for (int64_t j = 0; j < p.n; ++j) {
    std::vector<double> sums(static_cast<size_t>(p.bsr.cols), 0.0);
    formats::for_each_entry(p.bsr, [&](int64_t entry, int64_t row, int64_t col) {
      sums[col] += static_cast<double>(widen(p.blocks[entry])) * widen(p.input[j * p.input_stride + row]);
    });
    std::transform(sums.begin(), sums.end(), p.output + j * p.bsr.cols, round_to<T>);
  }
}

template <class T>
void linear_backward_blocks(const LinearBlocksParams<T>& p) {
  std::fill_n(p.grad_blocks, p.bsr.blocks * p.bsr.r * p.bsr.c, round_to<T>(0));
  formats::for_each_entry(p.bsr, [&](int64_t entry, int64_t row, int64_t col) {
    double sum = 0;
    for (int64_t j = 0; j < p.n; ++j) {
      sum += static_cast<double>(widen(p.grad_output[j * p.grad_output_stride + row])) * widen(p.input[j * p.input_stride + col]);
    }
    p.grad_blocks[entry] = round_to<T>(sum);
  });
}

#define JOULEPRUNE_INSTANTIATE(T)                        \
  template void linear(const LinearParams<T>&);          \
  template void linear_backward_input(const LinearParams<T>&); \
  template void linear_backward_blocks(const LinearBlocksParams<T>&);
JOULEPRUNE_INSTANTIATE(float)
JOULEPRUNE_INSTANTIATE(double)
JOULEPRUNE_INSTANTIATE(BFloat16)
JOULEPRUNE_INSTANTIATE(Half)
#undef JOULEPRUNE_INSTANTIATE

}  // namespace jouleprune::kernels::bsr::reference
