#include "kernels/bsr/csr_form.h"

#include <algorithm>
#include <iterator>
#include <numeric>

#include "formats/bsr_pack.h"

namespace jouleprune::kernels::bsr {
namespace {

/// Rows of the transpose are columns of the weight; blocks come by ascending block row, so that its columns ascend.
CsrStructure transposed_structure(const formats::BsrView& bsr) {
  CsrStructure out{bsr.cols, bsr.rows, {}, std::vector<int32_t>(static_cast<size_t>(bsr.cols + 1)), {}};
  formats::for_each_entry(bsr, [&](int64_t, int64_t, int64_t col) { ++out.row_offsets[col + 1]; });
  std::partial_sum(out.row_offsets.begin(), out.row_offsets.end(), out.row_offsets.begin());
  auto next = out.row_offsets;
  out.col_indices.resize(static_cast<size_t>(out.row_offsets.back()));
  out.places.resize(out.col_indices.size());
  formats::for_each_entry(bsr, [&](int64_t entry, int64_t row, int64_t col) {
    const int32_t to = next[col]++;
    out.col_indices[to] = static_cast<int32_t>(row);
    out.places[to] = entry;
  });
  return out;
}

}  // namespace

CsrStructure csr_structure(const formats::BsrView& bsr, Side side) {
  if (side == Side::kTransposed) {
    return transposed_structure(bsr);
  }
  CsrStructure out{bsr.rows, bsr.cols, {}, {0}, {}};
  out.col_indices.reserve(static_cast<size_t>(bsr.blocks * bsr.r * bsr.c));
  out.places.reserve(static_cast<size_t>(bsr.blocks * bsr.r * bsr.c));
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
std::shared_ptr<const CsrForm<T>> csr_form(PackedForms* forms, const formats::BsrView& bsr, const T* blocks, Side side) {
  const FormName name{"bsr as csr", {bsr.rows, bsr.cols, bsr.r, bsr.c, static_cast<int64_t>(side)}, true};
  return form_of<CsrForm<T>>(forms, name, [&] {
    auto form = std::make_shared<CsrForm<T>>();
    form->structure = csr_structure(bsr, side);
    form->values.reserve(form->structure.places.size());
    form->key = formats::csr_key(form->structure.view());
    for (const int64_t place : form->structure.places) {
      form->values.push_back(blocks[place]);
    }
    form->structure.places = {};
    return form;
  });
}

std::shared_ptr<const PackedForm> FormsOfCsr::get(const FormName& name, const Make& make) {
  FormName ours = name;
  const int64_t block[] = {bsr_.rows, bsr_.cols, bsr_.r, bsr_.c, static_cast<int64_t>(side_)};
  std::copy(std::begin(block), std::end(block), ours.details.end() - std::ssize(block));
  return forms_.get(ours, make);
}

template std::shared_ptr<const CsrForm<float>> csr_form(PackedForms*, const formats::BsrView&, const float*, Side);
template std::shared_ptr<const CsrForm<double>> csr_form(PackedForms*, const formats::BsrView&, const double*, Side);
template std::shared_ptr<const CsrForm<BFloat16>> csr_form(PackedForms*, const formats::BsrView&, const BFloat16*, Side);
template std::shared_ptr<const CsrForm<Half>> csr_form(PackedForms*, const formats::BsrView&, const Half*, Side);

}  // namespace jouleprune::kernels::bsr
