#include "csr/launch.h"
#include "csr/linear_csr.h"

namespace jouleprune::cuda::csr {

bool goes_by_tokens(int64_t n) { return n >= kManyTokens; }
int32_t tile_splits(int64_t rows, int64_t cols, int64_t n, int multiprocessors) {
  return splits_for(rows, cols, n, multiprocessors);
}
int64_t tile_partial_sums(int64_t rows, int64_t n, int32_t splits) { return partial_sums(rows, n, splits); }

}  // namespace jouleprune::cuda::csr
