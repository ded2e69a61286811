// Where kernels keep the forms they derive from a weight, on the torch side: found by the storages of the canonical tensors, and
// dropped when those die or change.
#pragma once
#include <ATen/core/Tensor.h>
#include <c10/core/StorageImpl.h>

#include <array>
#include <atomic>
#include <cstdint>

#include "kernels/packed_forms.h"
#include "ops/csr_structure.h"

namespace jouleprune::ops {

/// Where a tensor lies, and its version. The weak pointer keeps the StorageImpl's address from being used again (not its data), so
/// that comparing addresses tells whether it is the same storage.
class Place {
 public:
  explicit Place(const at::Tensor& tensor);
  bool holds(const at::Tensor& tensor) const;
  bool expired() const { return storage_.expired(); }

 private:
  static int64_t version_of(const at::Tensor& tensor);  // -1 for inference tensors, which have none: compare what they hold

  c10::weak_intrusive_ptr<c10::StorageImpl> storage_;
  const void* data_;
  int64_t size_;
  int64_t version_;
};

/// While it lives, forms that depend on values are made for each call on this thread. For training: there the values change with
/// each step anyway, and are changed behind torch's back one at a time (gradcheck), which a sample of them does not show.
class FreshValues {
 public:
  FreshValues();
  ~FreshValues();
  FreshValues(const FreshValues&) = delete;
  FreshValues& operator=(const FreshValues&) = delete;
};

/// Whether one lives on this thread.
bool wants_fresh_values();

/// Forms of the weight whose canonical tensors, on the CPU, are given. Values changed in place through torch are noticed by their
/// version; changes behind torch's back (`.data`, raw pointers) by comparing a sample (contents.h), those of inference tensors by
/// comparing all. Before a form is made, the indices are compared as a whole with those that were checked. Cheap to make; lives for
/// one call.
class WeightForms : public kernels::PackedForms {
 public:
  WeightForms(const at::Tensor& values, const at::Tensor& col_indices, const at::Tensor& row_offsets,
              const CheckedStructure& structure)
      : values_(values), col_indices_(col_indices), row_offsets_(row_offsets), structure_(structure),
        compared_(structure.compared) {}

  /// Throws c10::ValueError when a form has to be made of indices that changed after they were checked.
  std::shared_ptr<const kernels::PackedForm> get(const kernels::FormName& name, const Make& make) override;
  std::array<int64_t, 2> structure_key() const override { return structure_.key; }

 private:
  std::shared_ptr<const kernels::PackedForm> make_form(const Make& make);

  const at::Tensor &values_, &col_indices_, &row_offsets_;
  const CheckedStructure& structure_;
  std::atomic<bool> compared_;  // by this call
};

/// Bytes of all forms kept now. At most a quarter of the machine's memory (JOULEPRUNE_FORMS_MB overrides); beyond, those that were
/// not used for longest go.
int64_t kept_form_bytes();

/// How many forms were made so far in this process.
uint64_t forms_made();

}  // namespace jouleprune::ops
