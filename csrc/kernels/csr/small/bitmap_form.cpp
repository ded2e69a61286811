#include <algorithm>
#include <vector>

#include "kernels/csr/small/forms.h"
#include "kernels/scalar_types.h"

namespace jouleprune::kernels::csr::small {
namespace {

constexpr int64_t kRows = kBitmapRows, kStep = kBitmapColumnStep;

}  // namespace

template <class T>
BitmapForm<T>::BitmapForm(const formats::CsrView& csr, const T* from)
    : strips((csr.rows + kRows - 1) / kRows), columns((csr.cols + kStep - 1) / kStep * kStep),
      masks(strips * columns), values(csr.nnz), starts(strips + 1) {
  std::fill_n(masks.data(), strips * columns, 0u);
  std::vector<int32_t> next(static_cast<size_t>(columns));  // for each column of a strip, where its next value goes
  for (int64_t s = 0; s < strips; ++s) {
    const int64_t first = s * kRows, last = std::min(csr.rows, first + kRows);
    uint32_t* mask = masks.data() + s * columns;
    for (int64_t r = first; r < last; ++r) {
      for (int64_t k = csr.row_offsets[r]; k < csr.row_offsets[r + 1]; ++k) {
        mask[csr.col_indices[k]] |= 1u << (r - first);
      }
    }
    starts[s] = csr.row_offsets[first];
    int32_t at = csr.row_offsets[first];
    for (int64_t c = 0; c < columns; ++c) {
      next[static_cast<size_t>(c)] = at;
      at += __builtin_popcount(mask[c]);
    }
    for (int64_t r = first; r < last; ++r) {
      for (int64_t k = csr.row_offsets[r]; k < csr.row_offsets[r + 1]; ++k) {
        values[next[static_cast<size_t>(csr.col_indices[k])]++] = from[k];
      }
    }
  }
  starts[strips] = csr.nnz;
}

template struct BitmapForm<float>;
template struct BitmapForm<BFloat16>;
template struct BitmapForm<Half>;

}  // namespace jouleprune::kernels::csr::small
