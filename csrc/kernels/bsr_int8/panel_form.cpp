#include "kernels/bsr_int8/panel_form.h"

#include <algorithm>
#include <new>
#include <system_error>

#include "kernels/bsr_int8/waves.h"
#include "kernels/bsr_int8/weight_words.h"

namespace jouleprune::kernels::bsr_int8 {
namespace {

std::shared_ptr<const jit::PatternCode> make_code(const Weight& weight, const std::array<int64_t, 2>& key) {
  constexpr int64_t kInt8Quads = 0x71756164;  // tells this code from those of other kernels with the same structure
  const jit::CodeName name{key, {kInt8Quads, weight.quads.rows, weight.quads.cols, weight.quads.nnz}};
  try {
    return jit::shared_code(name, [&] {
      jit::PatternSpec spec{weight.quads, 0, weight.quads.rows, {}, 0, kCodeWidth * 4, Isa::kAvx512, jit::MultiplyAdd::kInt8Quads};
      for (int64_t quad = 0; quad < weight.quads.cols; ++quad) {
        spec.column_bytes.push_back(quad * kCodeWidth * 4);
      }
      return spec;
    });
  } catch (const std::system_error&) {  // no executable pages, or no memory for them: the table's kernel serves
    return nullptr;
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}

}  // namespace

PanelForm::PanelForm(const Weight& weight, const std::array<int64_t, 2>& key, const PanelKernels& kernels, bool with_code)
    : start_(starts_of_sums(weight, kernels.words == 1)), code_(with_code ? make_code(weight, key) : nullptr) {
  const int64_t nnz = weight.quads.nnz;
  if (!code_) {
    columns_.assign(weight.quads.col_indices, weight.quads.col_indices + nnz);
    row_offsets_.assign(weight.quads.row_offsets, weight.quads.row_offsets + weight.quads.rows + 1);
  }
  append_words(weight.blocks, nnz, code_ ? code_->value_order().data() : nullptr, kernels.words, values_);
}

int64_t PanelForm::bytes() const {
  const size_t words = values_.size() + start_.size() + columns_.size() + row_offsets_.size();
  return static_cast<int64_t>(words * 4) + (code_ ? code_->bytes() : 0);
}

int64_t PanelForm::pass_bytes() const {
  const auto values = static_cast<int64_t>(values_.size()) * 4;
  return values + (code_ ? code_->code_bytes() : values);
}

int64_t FormMultiplier::units() const {
  return form_.code() != nullptr ? form_.code()->groups() : (weight_.quads.rows + kUnitRows - 1) / kUnitRows;
}

int64_t FormMultiplier::row_of(int64_t unit) const {
  const int64_t rows = weight_.quads.rows;
  if (form_.code() == nullptr) {
    return std::min(rows, unit * kUnitRows);
  }
  return unit < form_.code()->groups() ? form_.code()->block(unit, 0).row_begin : rows;
}

void FormMultiplier::multiply(int64_t unit, const int32_t* panel, int64_t width, int32_t* sums) const {
  if (const auto* code = form_.code()) {
    const auto& block = code->block(unit, 0);
    block.run(panel, form_.values(), sums, reinterpret_cast<const uint32_t*>(form_.start() + block.row_begin));
    return;
  }
  const auto& quads = weight_.quads;
  kernels_.multiply({form_.row_offsets(), form_.columns(), form_.values(), form_.start(), quads.cols,
                     column_block(quads, kernels_.words * 4 * width)},
                    row_of(unit), row_of(unit + 1), panel, width, sums);
}

std::shared_ptr<const PanelForm> panel_form(const Weight& weight, PackedForms* forms, Isa isa, bool code_wanted) {
  const PanelKernels& kernels = panel_kernels(isa);
  const bool with_code = code_wanted && isa == Isa::kAvx512 && kernels.words == 1 && jit::available();
  return form_of<PanelForm>(forms, {"bsr_int8_panels", {static_cast<int64_t>(isa), with_code}}, [&] {
    const auto key = forms != nullptr ? forms->structure_key() : formats::csr_key(weight.quads);
    return std::make_shared<const PanelForm>(weight, key, kernels, with_code);
  });
}

}  // namespace jouleprune::kernels::bsr_int8
