// Products with a weight in layout csr, on the CPU: linear and conv2d, forward and backward. Sums of 16-bit types are kept in
// float32 and rounded once. Each result is summed in an order that depends on shapes and structure alone: bit-equal for any
// threads. Kernels of different kinds (with patterns, without, generated code) sum in different orders: equal within rounding.
// Denormal numbers are read and written as 0, in weights, activations and results; see kernels/denormals.h.
// A removed weight does not multiply, with one exception: where bfloat16 is multiplied in pairs (linear_code.h), the neighbour of a
// kept weight (columns 2c, 2c + 1) multiplies as a zero, which infinity and NaN turn into NaN, as in a dense product.
// Arguments are trusted (structure within range, pointers of the stated sizes); the callers check them.
// T: float, double, BFloat16, Half.
#pragma once
#include <cstdint>

#include "formats/csr.h"
#include "kernels/activation.h"
#include "kernels/isa.h"
#include "kernels/packed_forms.h"
#include "kernels/parallel.h"
#include "kernels/scalar_types.h"

namespace jouleprune::kernels::csr {

/// What is added to a result, element by element, and the activation of the sum. The result is rounded to its type before, as it is
/// where torch adds; kernels do it where they have just stored, while the lines are near.
template <class T>
struct Residual {
  const T* values = nullptr;  ///< laid out as the output, or null: nothing is added and `activation` is not looked at
  Activation activation = Activation::kNone;
};

/// output[j, r] = activation(bias[r] + sum over c of w[r, c] input[j, c]), then the residual
template <class T>
struct LinearParams {
  formats::CsrView csr;          ///< weight [rows, cols]
  const T* values = nullptr;     ///< [nnz]
  const T* bias = nullptr;       ///< [rows] or null
  Activation activation = Activation::kNone;
  int64_t n = 0;                 ///< batch rows
  const T* input = nullptr;      ///< [n, cols]
  int64_t input_stride = 0;      ///< elements from one batch row of the input to the next
  T* output = nullptr;           ///< [n, rows], contiguous
  PackedForms* forms = nullptr;  ///< of this weight; null: what kernels derive from it lives for this call
  bool generated_code = true;    ///< false: the kernels that serve where no code may be generated
  Residual<T> residual{};        ///< linear only
};

/// Sizes of a convolution with weight [out_channels, in_channels / groups x kernel_h x kernel_w].
struct ConvShape {
  int64_t batch = 0, in_channels = 0, height = 0, width = 0, out_channels = 0;
  int64_t kernel_h = 1, kernel_w = 1, stride_h = 1, stride_w = 1, padding_h = 0, padding_w = 0, dilation_h = 1, dilation_w = 1;
  int64_t groups = 1;

  int64_t out_height() const { return (height + 2 * padding_h - dilation_h * (kernel_h - 1) - 1) / stride_h + 1; }
  int64_t out_width() const { return (width + 2 * padding_w - dilation_w * (kernel_w - 1) - 1) / stride_w + 1; }
  int64_t taps() const { return kernel_h * kernel_w; }
  int64_t cols() const { return in_channels / groups * taps(); }    ///< of the weight seen as a matrix
  int64_t pixels() const { return batch * out_height() * out_width(); }  ///< of all outputs
};

template <class T>
struct ConvParams {
  formats::CsrView csr;       ///< weight [out_channels, cols()]
  const T* values = nullptr;  ///< [nnz]
  const T* bias = nullptr;    ///< [out_channels] or null
  Activation activation = Activation::kNone;
  ConvShape shape;
  const T* input = nullptr;   ///< [batch, in_channels, height, width], contiguous
  T* output = nullptr;        ///< [batch, out_channels, out_height, out_width], contiguous, or, with channels_last, [batch,
                              ///< out_height, out_width, out_channels]
  bool channels_last = false;
  PackedForms* forms = nullptr;  ///< as in LinearParams
  bool input_channels_last = false;  ///< conv2d only: the input is [batch, height, width, in_channels]
  bool generated_code = true;        ///< as in LinearParams
  Residual<T> residual{};            ///< conv2d only
};

template <class T>
void linear(const LinearParams<T>& params, const ParallelFor& parallel, Isa isa);

/// grad_input[j, c] = sum over r of w[r, c] grad_output[j, r]. `params.input` is the gradient of the output [n, rows], and
/// `params.output` the gradient of the input [n, cols]; bias and activation are not looked at.
template <class T>
void linear_backward_input(const LinearParams<T>& params, const ParallelFor& parallel, Isa isa);

/// grad_values[k] = sum over j of grad_output[j, row(k)] input[j, col(k)]
template <class T>
struct LinearValuesParams {
  formats::CsrView csr;
  int64_t n = 0;
  const T* grad_output = nullptr;  ///< [n, rows]
  int64_t grad_output_stride = 0;  ///< elements from one batch row to the next
  const T* input = nullptr;        ///< [n, cols]
  int64_t input_stride = 0;
  T* grad_values = nullptr;        ///< [nnz]
};
template <class T>
void linear_backward_values(const LinearValuesParams<T>& params, const ParallelFor& parallel, Isa isa);

/// Whether a dense product, of which the kept entries are read, costs less than linear_backward_values. `bfloat16`: of that type,
/// whose dense products run at twice the rate.
bool dense_values_gradient(const formats::CsrView& csr, bool bfloat16);

template <class T>
void conv2d(const ConvParams<T>& params, const ParallelFor& parallel, Isa isa);

/// `params.input` is the gradient of the output [batch, out_channels, out_height, out_width], `params.output` the gradient of the
/// input [batch, in_channels, height, width], both contiguous; bias, activation, channels_last are not looked at.
template <class T>
void conv2d_backward_input(const ConvParams<T>& params, const ParallelFor& parallel, Isa isa);

template <class T>
struct ConvValuesParams {
  formats::CsrView csr;
  ConvShape shape;
  const T* grad_output = nullptr;  ///< [batch, out_channels, out_height, out_width], contiguous
  const T* input = nullptr;        ///< [batch, in_channels, height, width], contiguous
  T* grad_values = nullptr;        ///< [nnz]
};
template <class T>
void conv2d_backward_values(const ConvValuesParams<T>& params, const ParallelFor& parallel, Isa isa);

}  // namespace jouleprune::kernels::csr
