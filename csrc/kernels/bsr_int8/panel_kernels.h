// The inner loops of int8 products over panels, one table per instruction set. A panel is a block of quantised activations with
// the batch rows along the vector: for each quad of inputs, `words` 32-bit words of each of `width` batch rows.
//
//   one word  (vpdpbusd): the four inputs as unsigned bytes, 128 added; sums start at -128 times the row's sum of weights
//   two words (pmaddwd):  the four inputs as two pairs of int16: [quad][pair][batch row]. Multiplying bytes without VNNI
//                         (pmaddubsw) would saturate.
#pragma once
#include <cstdint>

#include "kernels/isa.h"
#include "kernels/scalar_types.h"

namespace jouleprune::kernels::bsr_int8 {

/// Widest panel in vectors; widths are 1 to kMaxVectors times `lanes`.
inline constexpr int64_t kMaxVectors = 4;

/// A weight in the words of a table's panels, borrowed.
struct PanelWeight {
  const int32_t* row_offsets = nullptr;  ///< [rows + 1]
  const int32_t* columns = nullptr;      ///< [nnz]
  const uint32_t* values = nullptr;      ///< [nnz * words]
  const int32_t* start = nullptr;        ///< [rows] what the sums begin with
  int64_t cols = 0;                      ///< quads of inputs
  int64_t column_block = 0;              ///< quads that all rows of a call meet before the next ones; at least 1
};

/// Most rows of one call of `multiply`.
inline constexpr int64_t kUnitRows = 32;

/// Batch rows of floats to be quantised into one panel.
struct PanelInput {
  const float* x = nullptr;
  int64_t stride = 0, count = 0, cols = 0;
  float given_scale = 0;
};

/// Batch rows of bytes, 128 added, to be spread over one panel.
struct PanelBytes {
  const uint8_t* x = nullptr;
  int64_t stride = 0, count = 0, cols = 0;
};

/// Where finished sums go: y[j * stride + r] = relu?(sums[r * width + j] * (scales[r] * input_scales[j]) + bias[r])
struct PanelOutput {
  float* y = nullptr;
  int64_t stride = 0, count = 0;
  const float *input_scales = nullptr, *scales = nullptr, *bias = nullptr;  ///< bias: or null
  bool relu = false;
};

/// Where they go as bytes, 128 added, in steps of 1 / inverse.
struct PanelByteOutput {
  uint8_t* y = nullptr;
  int64_t stride = 0;
  float inverse = 0;
  uint8_t* lost = nullptr;  ///< [count] set to 1 for a batch row that would hold a NaN
};

struct PanelKernels {
  int64_t lanes;  ///< batch rows in a vector
  int64_t words;  ///< see above

  /// Writes the panel, `width` >= count, and each row's scale.
  void (*quantise)(const PanelInput& input, int64_t width, void* panel, float* scales);
  /// sums[(r - begin) * width + j] of rows [begin, end), at most kUnitRows
  void (*multiply)(const PanelWeight& weight, int64_t begin, int64_t end, const void* panel, int64_t width, int32_t* sums);
  void (*store)(const int32_t* sums, int64_t rows, int64_t width, const PanelOutput& output);

  /// The largest magnitude as in row_scale().
  uint32_t (*largest)(const float* x, int64_t count);
  /// quantise(x[i], inverse) + 128
  void (*round)(const float* x, int64_t count, float inverse, uint8_t* to);
  /// Writes the panel, `width` >= count.
  void (*spread)(const PanelBytes& input, int64_t width, void* panel);
  /// As store, of which y and stride are not looked at.
  void (*store_bytes)(const int32_t* sums, int64_t rows, int64_t width, const PanelOutput& output, const PanelByteOutput& bytes);

  void (*widen_bfloat16)(const BFloat16* x, int64_t count, float* to);
  void (*widen_half)(const Half* x, int64_t count, float* to);
  void (*narrow_bfloat16)(const float* x, int64_t count, BFloat16* to);
  void (*narrow_half)(const float* x, int64_t count, Half* to);
};

/// Whether the processor multiplies bytes (AVX-512 VNNI).
bool has_vnni();

/// The table of a supported instruction set; Isa::kReference has none (std::logic_error). kAvx512 has words == 1 where the
/// processor has VNNI.
const PanelKernels& panel_kernels(Isa isa);

// Those that exist in this build.
extern const PanelKernels portable_pairs;
#if defined(__x86_64__)
extern const PanelKernels avx2_pairs, avx512_pairs, avx512_vnni_quads;
#endif

}  // namespace jouleprune::kernels::bsr_int8
