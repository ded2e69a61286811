#include "kernels/bsr_int8/panel_form.h"

#include <cstring>
#include <new>
#include <system_error>

#include "kernels/bsr_int8/quantise.h"

namespace jouleprune::kernels::bsr_int8 {
namespace {

/// Sums of unsigned activations hold 128 times each weight too much.
std::vector<int32_t> starts(const Weight& weight, bool unsigned_activations) {
  std::vector<int32_t> start(static_cast<size_t>(weight.quads.rows), 0);
  for (int64_t r = 0; unsigned_activations && r < weight.quads.rows; ++r) {
    int64_t sum = 0;
    for (int64_t i = weight.quads.row_offsets[r] * kQuad; i < weight.quads.row_offsets[r + 1] * kQuad; ++i) {
      sum += weight.blocks[i];
    }
    start[static_cast<size_t>(r)] = start_of_sum(sum);
  }
  return start;
}

uint32_t bytes_of(const int8_t* block) {
  uint32_t word = 0;
  std::memcpy(&word, block, sizeof(word));
  return word;
}

uint32_t pair_of(int8_t low, int8_t high) {
  return (static_cast<uint32_t>(static_cast<int32_t>(low)) & 0xffffu) | static_cast<uint32_t>(static_cast<int32_t>(high)) << 16;
}

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
    : start_(starts(weight, kernels.words == 1)), code_(with_code ? make_code(weight, key) : nullptr) {
  const int64_t nnz = weight.quads.nnz;
  if (!code_) {
    columns_.assign(weight.quads.col_indices, weight.quads.col_indices + nnz);
    row_offsets_.assign(weight.quads.row_offsets, weight.quads.row_offsets + weight.quads.rows + 1);
  }
  values_.reserve(static_cast<size_t>(nnz * kernels.words));
  for (int64_t k = 0; k < nnz; ++k) {
    const int64_t from = code_ ? code_->value_order()[static_cast<size_t>(k)] : k;
    const int8_t* block = weight.blocks + from * kQuad;
    if (kernels.words == 1) {
      values_.push_back(bytes_of(block));
    } else {
      values_.push_back(pair_of(block[0], block[1]));
      values_.push_back(pair_of(block[2], block[3]));
    }
  }
}

int64_t PanelForm::bytes() const {
  const size_t words = values_.size() + start_.size() + columns_.size() + row_offsets_.size();
  return static_cast<int64_t>(words * 4) + (code_ ? code_->bytes() : 0);
}

int64_t PanelForm::pass_bytes() const {
  const auto values = static_cast<int64_t>(values_.size()) * 4;
  return values + (code_ ? code_->code_bytes() : values);
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
