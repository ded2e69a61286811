#include "kernels/csr/transpose.h"

namespace jouleprune::kernels::csr {

TransposedForm::TransposedForm(const formats::CsrView& csr, int64_t groups)
    : cols_(csr.rows / groups), col_indices_(static_cast<size_t>(csr.nnz)),
      row_offsets_(static_cast<size_t>(groups * csr.cols + 1)), positions_(static_cast<size_t>(csr.nnz)) {
  const auto each = [&](const auto& visit) {
    for (int64_t r = 0; r < csr.rows; ++r) {
      const int64_t first = r / cols_ * csr.cols;
      for (int32_t k = csr.row_offsets[r]; k < csr.row_offsets[r + 1]; ++k) {
        visit(first + csr.col_indices[k], static_cast<int32_t>(r % cols_), k);
      }
    }
  };
  each([&](int64_t row, int32_t, int32_t) { ++row_offsets_[row + 1]; });
  for (size_t row = 1; row < row_offsets_.size(); ++row) {
    row_offsets_[row] += row_offsets_[row - 1];
  }
  std::vector<int32_t> next(row_offsets_.begin(), row_offsets_.end() - 1);
  each([&](int64_t row, int32_t col, int32_t k) {
    const int32_t to = next[row]++;
    col_indices_[to] = col;
    positions_[to] = k;
  });
}

std::shared_ptr<const TransposedForm> transposed_form(PackedForms* forms, const formats::CsrView& csr, int64_t groups) {
  const FormName name{"csr transposed", {groups}, /*of_values=*/false};
  return form_of<TransposedForm>(forms, name, [&] { return std::make_shared<const TransposedForm>(csr, groups); });
}

}  // namespace jouleprune::kernels::csr
