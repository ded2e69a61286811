// A weight in the words of a table of panel kernels; with generated code where that exists.
#pragma once
#include <memory>
#include <vector>

#include "kernels/bsr_int8/bsr_int8_kernels.h"
#include "kernels/bsr_int8/panel_kernels.h"
#include "kernels/bsr_int8/panel_multiplier.h"
#include "kernels/jit/pattern_code.h"

namespace jouleprune::kernels::bsr_int8 {

/// Batch rows of a panel for generated code: one vector of words.
inline constexpr int64_t kCodeWidth = 16;

class PanelForm : public PackedForm {
 public:
  /// key: of the structure, for sharing the code among weights; with_code: make it if the system lets us.
  PanelForm(const Weight& weight, const std::array<int64_t, 2>& key, const PanelKernels& kernels, bool with_code);

  int64_t bytes() const override;
  /// What one pass over the weight reads: it decides how many panels share a pass.
  int64_t pass_bytes() const;

  const jit::PatternCode* code() const { return code_.get(); }  ///< null: multiply with the table's kernel
  const uint32_t* values() const { return values_.data(); }     ///< in the order of the code, or of the weight
  const int32_t* start() const { return start_.data(); }        ///< [rows]
  /// The structure, for the table's kernel: a copy, so that no index is read that could have changed since it was checked.
  const int32_t* columns() const { return columns_.data(); }
  const int32_t* row_offsets() const { return row_offsets_.data(); }

 private:
  std::vector<uint32_t> values_;
  std::vector<int32_t> start_, columns_, row_offsets_;
  std::shared_ptr<const jit::PatternCode> code_;
};

/// By generated code where the form has it, else by the table's kernel.
class FormMultiplier final : public PanelMultiplier {
 public:
  FormMultiplier(const Weight& weight, const PanelKernels& kernels, const PanelForm& form)
      : weight_(weight), kernels_(kernels), form_(form) {}

  int64_t widest() const override { return form_.code() != nullptr ? kCodeWidth : kMaxVectors * kernels_.lanes; }
  int64_t quads() const override { return weight_.quads.cols; }
  int64_t units() const override;
  int64_t row_of(int64_t unit) const override;
  int64_t unit_rows() const override { return kUnitRows; }
  int64_t pass_bytes() const override { return form_.pass_bytes(); }
  int64_t vector_work() const override { return weight_.quads.nnz; }
  void multiply(int64_t unit, const int32_t* panel, int64_t width, int32_t* sums) const override;

 private:
  static_assert(kUnitRows >= 30, "generated code has groups of up to 30 rows");

  const Weight& weight_;
  const PanelKernels& kernels_;
  const PanelForm& form_;
};

/// The form of this weight for a table, kept among its forms. code_wanted: with code, if there can be any.
std::shared_ptr<const PanelForm> panel_form(const Weight& weight, PackedForms* forms, Isa isa, bool code_wanted);

}  // namespace jouleprune::kernels::bsr_int8
