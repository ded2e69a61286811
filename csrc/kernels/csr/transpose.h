// The transposed weight, for gradients of the input. Its structure is a form, so that new values are only moved.
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "formats/csr.h"
#include "kernels/packed_forms.h"

namespace jouleprune::kernels::csr {

/// The weight's rows are cut into `groups` equal parts; part g becomes rows [g * cols, (g + 1) * cols) of the transposed one, whose
/// columns count rows within the part. Columns ascend in each row.
class TransposedForm : public PackedForm {
 public:
  TransposedForm(const formats::CsrView& csr, int64_t groups);

  formats::CsrView view() const {
    return {static_cast<int64_t>(row_offsets_.size()) - 1, cols_, static_cast<int64_t>(positions_.size()), col_indices_.data(),
            row_offsets_.data()};
  }
  /// [nnz] where among the values of the weight each entry's value is.
  const std::vector<int32_t>& positions() const { return positions_; }
  /// values[positions]
  template <class T>
  std::vector<T> gather(const T* values) const {
    std::vector<T> out(positions_.size());
    for (size_t i = 0; i < out.size(); ++i) {
      out[i] = values[positions_[i]];
    }
    return out;
  }
  int64_t bytes() const override {
    return static_cast<int64_t>((col_indices_.size() + row_offsets_.size() + positions_.size()) * sizeof(int32_t));
  }

 private:
  int64_t cols_;
  std::vector<int32_t> col_indices_, row_offsets_, positions_;
};

/// The form of that weight, kept among `forms` (null: made for this call).
std::shared_ptr<const TransposedForm> transposed_form(PackedForms* forms, const formats::CsrView& csr, int64_t groups);

}  // namespace jouleprune::kernels::csr
