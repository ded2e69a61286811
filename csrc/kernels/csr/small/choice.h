// Which kernel multiplies a weight with few batch rows.
#pragma once
#include <cstdint>

#include "kernels/isa.h"

namespace jouleprune::kernels::csr::small {

enum class SmallKernel {
  kRows,    ///< csr with 16-bit indices (32-bit beyond 65,536 columns), row by row
  kBitmap,  ///< rows in lanes, a mask per column
  kJagged,  ///< rows in lanes, activations picked from registers
};

struct SmallProblem {
  int64_t rows, cols, nnz;
  int64_t n;            ///< batch rows, 1 to kMaxBatch
  int64_t value_bytes;  ///< of an element
  Isa isa;
  bool fits_cache;      ///< whether the weight is likely to be found in the last-level cache
};

/// A function of the problem alone.
SmallKernel choose(const SmallProblem& problem);

}  // namespace jouleprune::kernels::csr::small
