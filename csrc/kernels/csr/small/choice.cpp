#include "kernels/csr/small/choice.h"

#include <algorithm>

#include "kernels/csr/small/views.h"

namespace jouleprune::kernels::csr::small {
namespace {

// Times in ns, measured on one core of an AMD Zen 4 at 3.7 GHz on 1024 x 1024 with 1 to 8 batch rows and 30 to 99 % zeros, all in
// the caches. Only ratios matter: other processors differ mostly by a common factor.
constexpr double kMemory = 1 / 20.0;  // per byte, from memory: 20 GB/s

double as_double(int64_t x) { return static_cast<double>(x); }
int64_t tiles(int64_t size, int64_t tile) { return (size + tile - 1) / tile; }

/// From memory the stream alone takes at least `bytes` x kMemory, and computing hides behind it in part.
double bound(const SmallProblem& p, double computing, double bytes) {
  return p.fits_cache ? computing : std::max(computing, bytes * kMemory) + 0.2 * std::min(computing, bytes * kMemory);
}

/// A column of a strip costs the same whatever it keeps. AVX-512: 1.2, and 0.6 for each batch row: 1.8 / 2.5 / 3.7 / 6.0 at
/// 1 / 2 / 4 / 8 rows. AVX2: 2.2 for one row, 2.95 for two, and no more than two at a time.
double bitmap_time(const SmallProblem& p) {
  const double columns = as_double(tiles(p.rows, kBitmapRows)) * as_double(p.cols), n = as_double(p.n);
  const double column = p.isa == Isa::kAvx512 ? 1.2 + 0.6 * n : 2.95 * as_double(p.n / 2) + 2.2 * as_double(p.n % 2);
  return bound(p, columns * column, columns * 4 + as_double(p.nnz * p.value_bytes));
}

/// Per batch row 0.085 a kept weight, and 6.5 a block for the mispredicted ends of its loops; two rows at a time save a fifth.
double jagged_time(const SmallProblem& p) {
  const double blocks = as_double(tiles(p.rows, kJaggedRows) * tiles(p.cols, kJaggedColumns));
  const double row = 0.085 * as_double(p.nnz) + 6.5 * blocks;
  return bound(p, row * (0.2 + 0.8 * as_double(p.n)), as_double(p.nnz * (p.value_bytes + 1)) + blocks * 45);
}

/// 0.35 a kept weight, 0.41 with five batch rows or more, and 3 to 6 a row.
double rows_time(const SmallProblem& p) {
  const double index_bytes = p.cols > 65536 ? 4 : 2;
  const double weight = p.n <= 4 ? 0.35 : 0.41, row = 3 + 0.4 * as_double(p.n);
  return bound(p, weight * as_double(p.nnz) + row * as_double(p.rows),
               as_double(p.nnz) * (as_double(p.value_bytes) + index_bytes));
}

}  // namespace

SmallKernel choose(const SmallProblem& p) {
  const bool expands = p.isa == Isa::kAvx512 || p.isa == Isa::kAvx2;
  if (!expands || p.value_bytes > 4) {
    return SmallKernel::kRows;
  }
  const double rows = rows_time(p), bitmap = bitmap_time(p);
  if (p.isa == Isa::kAvx512) {
    if (const double jagged = jagged_time(p); jagged < rows && jagged < bitmap) {
      return SmallKernel::kJagged;
    }
  }
  return bitmap < rows ? SmallKernel::kBitmap : SmallKernel::kRows;
}

}  // namespace jouleprune::kernels::csr::small
