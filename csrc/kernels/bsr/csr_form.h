// A weight in layout bsr as one in layout csr: for blocks that no kernel of this folder suits.
#pragma once
#include <array>
#include <memory>
#include <vector>

#include "kernels/bsr/bsr_kernels.h"
#include "kernels/bsr/strip_form.h"
#include "kernels/csr/csr_kernels.h"

namespace jouleprune::kernels::bsr {

/// Structure of the entries of the kept blocks, without padding; of the weight or, for gradients of the input, its transpose.
struct CsrStructure {
  int64_t rows = 0, cols = 0;
  std::vector<int32_t> col_indices, row_offsets;
  std::vector<int64_t> places;  ///< [nnz]: of each entry within the blocks

  formats::CsrView view() const {
    return {rows, cols, static_cast<int64_t>(col_indices.size()), col_indices.data(), row_offsets.data()};
  }
};
CsrStructure csr_structure(const formats::BsrView& bsr, Side side);

template <class T>
struct CsrForm : PackedForm {
  CsrStructure structure;  // its places are dropped
  std::vector<T> values;
  std::array<int64_t, 2> key{};  // of the structure

  int64_t bytes() const override {
    return static_cast<int64_t>(values.size() * sizeof(T) + (values.size() + structure.row_offsets.size()) * sizeof(int32_t));
  }
};

template <class T>
std::shared_ptr<const CsrForm<T>> csr_form(PackedForms* forms, const formats::BsrView& bsr, const T* blocks, Side side);

/// The forms of a csr matrix made from blocks, kept beside the blocks: their names hold the block size and the side, for other
/// blocks over the same memory are another matrix.
class FormsOfCsr : public PackedForms {
 public:
  FormsOfCsr(PackedForms& forms, const formats::BsrView& bsr, Side side, const std::array<int64_t, 2>& key)
      : forms_(forms), bsr_(bsr), side_(side), key_(key) {}
  std::shared_ptr<const PackedForm> get(const FormName& name, const Make& make) override;
  std::array<int64_t, 2> structure_key() const override { return key_; }

 private:
  PackedForms& forms_;
  const formats::BsrView& bsr_;
  Side side_;
  std::array<int64_t, 2> key_;
};

}  // namespace jouleprune::kernels::bsr
