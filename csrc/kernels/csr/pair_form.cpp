#include <vector>

#include "kernels/csr/code_form.h"

namespace jouleprune::kernels::csr {
namespace {

struct Pairs {
  std::vector<int32_t> col_indices, row_offsets = {0};
  std::vector<uint32_t> values;  // the even column in the lower half

  formats::CsrView view(const formats::CsrView& csr) const {
    return {csr.rows, (csr.cols + 1) / 2, static_cast<int64_t>(col_indices.size()), col_indices.data(), row_offsets.data()};
  }
};

/// -0.0 and denormals count as zero, as in every stream.
uint32_t half_of(BFloat16 value) { return stream_value(value) >> 16; }

Pairs make_pairs(const formats::CsrView& csr, const BFloat16* values) {
  Pairs pairs;
  for (int64_t row = 0; row < csr.rows; ++row) {
    for (int64_t k = csr.row_offsets[row]; k < csr.row_offsets[row + 1]; ++k) {
      const int32_t col = csr.col_indices[k], pair = col / 2;
      const bool begun = static_cast<size_t>(pairs.row_offsets.back()) < pairs.col_indices.size() && pairs.col_indices.back() == pair;
      if (!begun) {
        pairs.col_indices.push_back(pair);
        pairs.values.push_back(0);
      }
      pairs.values.back() |= half_of(values[k]) << (col % 2 * 16);
    }
    pairs.row_offsets.push_back(static_cast<int32_t>(pairs.col_indices.size()));
  }
  return pairs;
}

}  // namespace

std::shared_ptr<const CodeForm> pair_form(PackedForms* forms, std::span<const int64_t> details, const formats::CsrView& csr,
                                          const BFloat16* values,
                                          const std::function<jit::PatternSpec(const formats::CsrView& pairs)>& spec) {
  constexpr std::string_view kKernel = "bfloat16 pairs";
  return form_of<CodeForm>(forms, form_name(kKernel, details, true), [&] {
    const Pairs pairs = make_pairs(csr, values);
    auto form = std::make_shared<CodeForm>();
    form->code = code_of_structure(forms, kKernel, details, [&] { return spec(pairs.view(csr)); });
    const auto& order = form->code->value_order();
    form->values = std::make_unique_for_overwrite<uint32_t[]>(order.size());
    for (size_t i = 0; i < order.size(); ++i) {
      form->values[i] = pairs.values[order[i]];
    }
    return form;
  });
}

}  // namespace jouleprune::kernels::csr
