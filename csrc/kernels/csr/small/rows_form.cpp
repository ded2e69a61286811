#include <algorithm>

#include "kernels/csr/small/forms.h"

namespace jouleprune::kernels::csr::small {

template <class Index>
RowsForm<Index>::RowsForm(const formats::CsrView& csr) : columns(csr.nnz), row_offsets(csr.rows + 1) {
  std::transform(csr.col_indices, csr.col_indices + csr.nnz, columns.data(),
                 [](int32_t column) { return static_cast<Index>(column); });
  std::copy_n(csr.row_offsets, csr.rows + 1, row_offsets.data());
}

template struct RowsForm<uint16_t>;
template struct RowsForm<int32_t>;

}  // namespace jouleprune::kernels::csr::small
