// Products with a weight in layout bsr, on the CPU: linear, forward and backward. Every entry of a kept block multiplies, those
// that are zero included (0 x inf is NaN there, as in a dense product); removed blocks and padding never do. Sums of 16-bit types
// are kept in float32 and rounded once. Each result is summed in an order that depends on the shapes alone: bit-equal for any
// number of threads. Arguments are trusted; the callers check them. T: float, double, BFloat16, Half.
#pragma once
#include <cstdint>

#include "formats/bsr.h"
#include "kernels/activation.h"
#include "kernels/isa.h"
#include "kernels/packed_forms.h"
#include "kernels/parallel.h"
#include "kernels/scalar_types.h"

namespace jouleprune::kernels::bsr {

/// output[j, i] = activation(bias[i] + sum over c of w[i, c] input[j, c])
template <class T>
struct LinearParams {
  formats::BsrView bsr;          ///< weight [rows, cols]
  const T* blocks = nullptr;     ///< [bsr.blocks, r, c]
  const T* bias = nullptr;       ///< [rows] or null
  Activation activation = Activation::kNone;
  int64_t n = 0;                 ///< batch rows
  const T* input = nullptr;      ///< [n, cols]
  int64_t input_stride = 0;      ///< elements from one batch row of the input to the next
  T* output = nullptr;           ///< [n, rows], contiguous
  PackedForms* forms = nullptr;  ///< of this weight; null: what kernels derive from it lives for this call
  bool generated_code = true;    ///< false: the kernels that serve where no code may be generated
  bool pairs = true;             ///< false: bfloat16 is widened even where the processor multiplies pairs of it
};

template <class T>
void linear(const LinearParams<T>& params, const ParallelFor& parallel, Isa isa);

/// grad_input[j, c] = sum over i of w[i, c] grad_output[j, i]. `params.input` is the gradient of the output [n, rows], and
/// `params.output` the gradient of the input [n, cols]; bias and activation are not looked at.
template <class T>
void linear_backward_input(const LinearParams<T>& params, const ParallelFor& parallel, Isa isa);

/// grad_blocks[k, i, j] = sum over the batch of grad_output[., row(k, i)] input[., col(k, j)]; 0 for padding.
template <class T>
struct LinearBlocksParams {
  formats::BsrView bsr;
  int64_t n = 0;
  const T* grad_output = nullptr;  ///< [n, rows]
  int64_t grad_output_stride = 0;  ///< elements from one batch row to the next
  const T* input = nullptr;        ///< [n, cols]
  int64_t input_stride = 0;
  T* grad_blocks = nullptr;        ///< [bsr.blocks, r, c]
};
template <class T>
void linear_backward_blocks(const LinearBlocksParams<T>& params, const ParallelFor& parallel, Isa isa);

}  // namespace jouleprune::kernels::bsr
