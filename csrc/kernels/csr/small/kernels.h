// The inner loops of products with few batch rows, one table per element type and instruction set.
#pragma once
#include <cstdint>

#include "kernels/activation.h"
#include "kernels/csr/small/views.h"
#include "kernels/isa.h"
#include "kernels/scalar_types.h"

namespace jouleprune::kernels::csr::small {

/// Most batch rows in one call.
inline constexpr int64_t kMaxBatch = 8;

/// Activations and results of a call.
template <class T>
struct Batch {
  const Accumulate<T>* input;  ///< laid out as the kernel wants it
  int64_t n;                   ///< 1 to kMaxBatch
  int64_t pitch;               ///< distance in `input`: between columns, or (jagged) between batch rows
  const T* bias;               ///< [rows] or null
  Activation activation;
  int64_t rows;
  T* output;  ///< [n, rows]
};

/// Null where an instruction set has no such kernel.
template <class T>
struct SmallKernels {
  /// Rows [begin, end). Activations: input[col * pitch + j] with a pitch of 1, 4 or 8, the least that is >= n.
  void (*rows16)(const RowsView<T, uint16_t>& weight, int64_t begin, int64_t end, const Batch<T>& batch);
  void (*rows32)(const RowsView<T, int32_t>& weight, int64_t begin, int64_t end, const Batch<T>& batch);
  /// Strips [begin, end). Activations: input[col * n + j], columns padded with anything to the form's.
  void (*bitmap)(const BitmapView<T>& weight, int64_t begin, int64_t end, const Batch<T>& batch);
  /// Strips [begin, end). Activations: input[j * pitch + col], padded with anything to a multiple of kJaggedColumns.
  void (*jagged)(const JaggedView<T>& weight, int64_t begin, int64_t end, const Batch<T>& batch);
};

/// The table of a supported instruction set; Isa::kReference has none (std::logic_error).
template <class T>
const SmallKernels<T>& small_kernels(Isa isa);

struct SmallTables {
  SmallKernels<float> float32;
  SmallKernels<double> float64;
  SmallKernels<BFloat16> bfloat16;
  SmallKernels<Half> float16;
};
extern const SmallTables portable_tables;
#if defined(__x86_64__)
extern const SmallTables avx2_tables, avx512_tables;
#endif

}  // namespace jouleprune::kernels::csr::small
