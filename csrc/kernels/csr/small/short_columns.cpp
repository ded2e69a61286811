#include <algorithm>

#include "kernels/csr/small/forms.h"

namespace jouleprune::kernels::csr::small {

ShortColumns::ShortColumns(const formats::CsrView& csr) : columns(csr.nnz) {
  std::transform(csr.col_indices, csr.col_indices + csr.nnz, columns.data(),
                 [](int32_t column) { return static_cast<uint16_t>(column); });
}

}  // namespace jouleprune::kernels::csr::small
