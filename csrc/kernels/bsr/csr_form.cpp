#include "kernels/bsr/csr_form.h"

#include <algorithm>

namespace jouleprune::kernels::bsr {

CsrStructure csr_structure(const formats::BsrView& bsr) {
  CsrStructure out{bsr.rows, bsr.cols, {}, {0}, {}};
  for (int64_t row = 0; row < bsr.rows; ++row) {
    const int64_t block_row = row / bsr.r;
    for (int64_t k = bsr.block_row_offsets[block_row]; k < bsr.block_row_offsets[block_row + 1]; ++k) {
      const int64_t left = bsr.block_columns[k] * bsr.c, width = std::min(bsr.c, bsr.cols - left);
      for (int64_t j = 0; j < width; ++j) {
        out.col_indices.push_back(static_cast<int32_t>(left + j));
        out.places.push_back((k * bsr.r + row % bsr.r) * bsr.c + j);
      }
    }
    out.row_offsets.push_back(static_cast<int32_t>(out.col_indices.size()));
  }
  return out;
}

template <class T>
std::shared_ptr<const CsrForm<T>> csr_form(PackedForms* forms, const formats::BsrView& bsr, const T* blocks) {
  const FormName name{"bsr as csr", {bsr.rows, bsr.cols, bsr.r, bsr.c}, true};
  return form_of<CsrForm<T>>(forms, name, [&] {
    auto form = std::make_shared<CsrForm<T>>();
    form->structure = csr_structure(bsr);
    for (const int64_t place : form->structure.places) {
      form->values.push_back(blocks[place]);
    }
    form->structure.places = {};
    return form;
  });
}

std::shared_ptr<const PackedForm> FormsOfCsr::get(const FormName& name, const Make& make) {
  FormName ours = name;
  const int64_t block[] = {bsr_.rows, bsr_.cols, bsr_.r, bsr_.c};
  std::copy(std::begin(block), std::end(block), ours.details.end() - 4);
  return forms_.get(ours, make);
}

template std::shared_ptr<const CsrForm<float>> csr_form(PackedForms*, const formats::BsrView&, const float*);
template std::shared_ptr<const CsrForm<double>> csr_form(PackedForms*, const formats::BsrView&, const double*);
template std::shared_ptr<const CsrForm<BFloat16>> csr_form(PackedForms*, const formats::BsrView&, const BFloat16*);
template std::shared_ptr<const CsrForm<Half>> csr_form(PackedForms*, const formats::BsrView&, const Half*);

}  // namespace jouleprune::kernels::bsr
