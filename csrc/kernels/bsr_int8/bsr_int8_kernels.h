// Products with an int8 weight in layout bsr with blocks of 1 x 4 (four neighbouring inputs of an output, "quads"), on the CPU.
// Activations come and go in floating point; they are quantised on the way, with one scale per batch row (of a convolution: per
// image) or one given scale:
//
//   q[j, c]  = round_to_nearest_even(clamp(input[j, c] / scale_j, -127, 127))
//   output[j, r] = relu?(float(sum over the kept quads of q[j, c] w[r, c]) * (scales[r] * scale_j) + bias[r])
//
// The sums are whole numbers and the float operations come in this one order, each rounded: every instruction set, with
// generated code or without, gives the same bits, for any number of threads.
// Activations may also come as the bytes that quantise() makes of them, q[j, c] + 128, with their scales: layers that read the same
// input round it once. And they may leave as bytes, for a layer that reads them with a given scale: rounded as they are stored, to
// the bytes that quantise() would make of the floats.
// Arguments are trusted (structure within range, in_features <= kMaxInFeatures); the callers check them.
// In and Out: the same of float, BFloat16, Half; or In, Out, or both are uint8_t and the other one float.
#pragma once
#include <cstdint>

#include "formats/csr.h"
#include "kernels/csr/csr_kernels.h"
#include "kernels/isa.h"
#include "kernels/packed_forms.h"
#include "kernels/parallel.h"
#include "kernels/scalar_types.h"

namespace jouleprune::kernels::bsr_int8 {

struct TileKernels;

inline constexpr int64_t kQuad = 4;
/// 127 x 128 x this many products still fit an int32.
inline constexpr int64_t kMaxInFeatures = 1 << 17;

inline int64_t quads_of(int64_t in_features) { return (in_features + kQuad - 1) / kQuad; }

/// A weight, borrowed.
struct Weight {
  formats::CsrView quads;           ///< one entry per kept block; its columns are those of the weight divided by 4
  const int8_t* blocks = nullptr;   ///< [nnz, 4]; what a block holds beyond the last input meets zeros
  const float* scales = nullptr;    ///< [rows] weight = blocks * scale of the row
  const float* bias = nullptr;      ///< [rows] or null
  bool relu = false;                ///< clamp at 0; NaN stays NaN
};

/// Float activations as bytes: bytes[j, c] = q[j, c] + 128 as above, and what their step was. A row whose scale is NaN is lost (a NaN
/// in it, or an infinity that has no scale): whoever reads its bytes gives NaN for it.
struct QuantiseParams {
  const float* input = nullptr;  ///< [rows, cols]
  int64_t rows = 0, cols = 0;    ///< a row is what shares a scale: a batch row, or all of an image
  int64_t input_stride = 0;      ///< elements from one row of the input to the next
  float given_scale = 0;         ///< 0: a scale per row
  uint8_t* bytes = nullptr;      ///< [rows, cols], contiguous
  float* scales = nullptr;       ///< [rows]
};

void quantise(const QuantiseParams& params, const ParallelFor& parallel, Isa isa);

/// A row with a NaN gives NaN in all its outputs. With its own scale per row so does an infinity, which has none; with a given
/// scale an infinity saturates like any value beyond 127 scales.
template <class In, class Out = In>
struct LinearParams {
  Weight weight;
  int64_t in_features = 0;
  int64_t n = 0;                 ///< batch rows
  const In* input = nullptr;     ///< [n, in_features]
  int64_t input_stride = 0;      ///< elements from one batch row of the input to the next
  float input_scale = 0;         ///< 0: the largest magnitude of each row is 127 of its steps
  Out* output = nullptr;         ///< [n, rows], contiguous
  PackedForms* forms = nullptr;  ///< of this weight; null: what kernels derive from it lives for this call
  // For comparing kernels:
  bool with_code = true;      ///< false: no generated code, even where the system allows it
  bool small_kernels = true;  ///< false: panels for a small batch, too
  // Of bytes:
  const float* input_scales = nullptr;  ///< [n] of an input of bytes, instead of input_scale
  float output_scale = 0;               ///< > 0: the step of an output of bytes
  float* output_scales = nullptr;       ///< [n] written: output_scale, or NaN for a row that would hold a NaN
  // For comparing kernels, too:
  bool tiles = true;                          ///< false: no matrix tiles, even where the processor has them
  const TileKernels* tile_kernels = nullptr;  ///< not null: these, even where they do not pay; where there is VNNI alone
};

template <class In, class Out>
void linear(const LinearParams<In, Out>& params, const ParallelFor& parallel, Isa isa);

/// A convolution: the same sums, over the taps and the channels of a group. A quad is four neighbouring channels at one tap:
/// column (ky * kernel_w + kx) * quads_of(in_channels / groups) + channel / 4 of the weight. Pixels beyond the image are 0.
/// An image with a NaN gives NaN in all its outputs; with its own scale so does one with an infinity, as rows of a linear layer.
template <class In, class Out = In>
struct ConvParams {
  Weight weight;                      ///< [out_channels, taps x quads_of(in_channels / groups)]
  csr::ConvShape shape;
  const In* input = nullptr;          ///< [batch, in_channels, height, width], or with input_channels_last [batch, height, width,
                                      ///< in_channels]; contiguous
  bool input_channels_last = false;
  float input_scale = 0;              ///< 0: the largest magnitude of each image is 127 of its steps
  Out* output = nullptr;              ///< [batch, out_channels, out_height, out_width], or with output_channels_last [batch,
                                      ///< out_height, out_width, out_channels]; contiguous
  bool output_channels_last = false;
  PackedForms* forms = nullptr;       ///< as in LinearParams
  // For comparing kernels:
  bool with_code = true;              ///< as in LinearParams
  int64_t section_bytes = 0;          ///< of quantised activations worked on at a time; 0: as many as caches suggest
  // Of bytes, as in LinearParams:
  const float* input_scales = nullptr;  ///< [batch]
  float output_scale = 0;
  float* output_scales = nullptr;       ///< [batch]
};

/// Columns of a convolution's weight in quads.
inline int64_t quad_columns(const csr::ConvShape& s) { return s.taps() * quads_of(s.in_channels / s.groups); }

template <class In, class Out>
void conv2d(const ConvParams<In, Out>& params, const ParallelFor& parallel, Isa isa);

}  // namespace jouleprune::kernels::bsr_int8
