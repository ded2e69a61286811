// The inner loops of layout bsr with output rows along the vector: a "strip" is 64 bytes of sums (16 rows of float, 8 of double), a
// "panel" a few batch rows of the input with the batch along the fast axis: panel[col * width + j]. Per kept column of a strip one
// load of weights and one multiply-add per batch row, whose activation is broadcast from the panel; the sums of a whole tile (strip
// x panel) stay in registers and are stored without a transpose, for rows are the fast axis of the output, too.
#pragma once
#include <cstdint>

#include "kernels/activation.h"
#include "kernels/isa.h"
#include "kernels/scalar_types.h"

namespace jouleprune::kernels::bsr {

/// Output rows of a strip.
template <class T>
inline constexpr int64_t kStripRows = 64 / static_cast<int64_t>(sizeof(Accumulate<T>));

/// A weight in strips, borrowed.
template <class T>
struct Strips {
  int64_t rows = 0;                  ///< of the weight; the last strip may reach beyond
  const int32_t* offsets = nullptr;  ///< [strips + 1]: entries of each strip
  const int32_t* columns = nullptr;  ///< [entries], ascending in a strip; in pairs: columns 2c and 2c + 1
  const T* values = nullptr;         ///< [entries, kStripRows]; in pairs [entries, kStripRows, 2]
  const Accumulate<T>* start = nullptr;  ///< [strips * kStripRows]: what sums begin with
  Activation activation = Activation::kNone;
};

/// Most elements of a panel that `pack` writes beyond it.
inline constexpr int64_t kPanelSlack = 16;

template <class T>
struct StripKernels {
  using A = Accumulate<T>;
  int64_t width;  ///< batch rows of a full panel
  /// The least width that `multiply` serves and that holds `count` batch rows, 1 to `width`.
  int64_t (*width_for)(int64_t count);
  /// panel[c * width + j] = x[j * stride + c] for c < cols and j < count, 0 for count <= j < width. In pairs: an element is the
  /// neighbours x[j, 2c] and x[j, 2c + 1] as 4 bytes, 0 past the end; still `cols` columns of x.
  void (*pack)(const T* x, int64_t stride, int64_t count, int64_t cols, int64_t width, A* panel);
  /// output[j * strips.rows + i] for the rows i of strip `strip` and j < count: activation(start[i] + sum of w[i, c] panel[c, j]).
  void (*multiply)(const Strips<T>& strips, int64_t strip, const A* panel, int64_t width, int64_t count, T* output);
  /// sums[k * kStripRows + i] += sum over j < count of grad_output[j * stride + i] panel[columns[k] * width + j] for k < entries and
  /// i < rows, which is at most kStripRows: the gradient of a strip's weights.
  void (*gradient)(const T* grad_output, int64_t stride, int64_t rows, const A* panel, int64_t width, int64_t count,
                   const int32_t* columns, int64_t entries, A* sums);
};

/// The table of a supported instruction set; Isa::kReference has none (std::logic_error).
template <class T>
const StripKernels<T>& strip_kernels(Isa isa);

/// Products of bfloat16 pairs, without `gradient`, two multiply-adds per lane and cycle; requires csr::bfloat16_pairs_supported().
const StripKernels<BFloat16>& pair_strip_kernels();

struct StripTables {
  StripKernels<float> float32;
  StripKernels<double> float64;
  StripKernels<BFloat16> bfloat16;
  StripKernels<Half> float16;
};
extern const StripTables portable_strips;
#if defined(__x86_64__)
extern const StripTables avx2_strips, avx512_strips;
extern const StripKernels<BFloat16> avx512_bf16_strips;
#endif

}  // namespace jouleprune::kernels::bsr
