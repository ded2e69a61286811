#include <algorithm>
#include <optional>
#include <type_traits>

#include "kernels/bsr/bsr_kernels.h"
#include "kernels/bsr/csr_form.h"
#include "kernels/bsr/gradient_strips.h"
#include "kernels/bsr/linear_gathered.h"
#include "kernels/bsr/linear_strips.h"
#include "kernels/bsr/linear_tiles.h"
#include "kernels/bsr/reference.h"

namespace jouleprune::kernels::bsr {
namespace {

/// The product with the weight, or its transpose, as csr.
template <class T>
void through_csr(const LinearParams<T>& p, Side side, const ParallelFor& parallel, Isa isa) {
  const auto form = csr_form(p.forms, p.bsr, p.blocks, side);
  std::optional<FormsOfCsr> forms;
  if (p.forms != nullptr) {
    forms.emplace(*p.forms, p.bsr, side, form->key);
  }
  const bool forward = side == Side::kForward;
  csr::linear(csr::LinearParams<T>{form->structure.view(), form->values.data(), forward ? p.bias : nullptr,
                                   forward ? p.activation : Activation::kNone, p.n, p.input, p.input_stride, p.output, forms.has_value() ? &*forms : nullptr, p.generated_code},
              parallel, isa);
}

}  // namespace

template <class T>
void linear(const LinearParams<T>& p, const ParallelFor& parallel, Isa isa) {
  if (isa == Isa::kReference) {
    return reference::linear(p);
  }
  if constexpr (std::is_same_v<T, BFloat16>) {
    if (isa == Isa::kAvx512 && p.n >= kTileRows && has_bands(p.bsr) && tile_kernels() != nullptr) {
      return has_tiles(p.bsr) ? linear_tiles(p, *tile_kernels(), parallel) : linear_gathered(p, *gathered_kernels(), parallel);
    }
  }
  if (has_strips<T>(p.bsr, Side::kForward)) {
    return linear_strips(p, Side::kForward, parallel, isa);
  }
  through_csr(p, Side::kForward, parallel, isa);
}

template <class T>
void linear_backward_input(const LinearParams<T>& p, const ParallelFor& parallel, Isa isa) {
  if (isa == Isa::kReference) {
    return reference::linear_backward_input(p);
  }
  if (has_strips<T>(p.bsr, Side::kTransposed)) {
    return linear_strips(p, Side::kTransposed, parallel, isa);
  }
  through_csr(p, Side::kTransposed, parallel, isa);
}

template <class T>
void linear_backward_blocks(const LinearBlocksParams<T>& p, const ParallelFor& parallel, Isa isa) {
  if (isa == Isa::kReference) {
    return reference::linear_backward_blocks(p);
  }
  if (has_strips<T>(p.bsr, Side::kForward)) {
    return gradient_strips(p, parallel, isa);
  }
  const auto structure = csr_structure(p.bsr, Side::kForward);
  std::vector<T> grads(structure.places.size());
  csr::linear_backward_values(csr::LinearValuesParams<T>{structure.view(), p.n, p.grad_output, p.grad_output_stride, p.input,
                                                         p.input_stride, grads.data()},
                              parallel, isa);
  std::fill_n(p.grad_blocks, p.bsr.blocks * p.bsr.r * p.bsr.c, narrow<T>(Accumulate<T>{0}));
  for (size_t i = 0; i < grads.size(); ++i) {
    p.grad_blocks[structure.places[i]] = grads[i];
  }
}

#define JOULEPRUNE_INSTANTIATE(T)                                                        \
  template void linear(const LinearParams<T>&, const ParallelFor&, Isa);                 \
  template void linear_backward_input(const LinearParams<T>&, const ParallelFor&, Isa);  \
  template void linear_backward_blocks(const LinearBlocksParams<T>&, const ParallelFor&, Isa);
JOULEPRUNE_INSTANTIATE(float)
JOULEPRUNE_INSTANTIATE(double)
JOULEPRUNE_INSTANTIATE(BFloat16)
JOULEPRUNE_INSTANTIATE(Half)
#undef JOULEPRUNE_INSTANTIATE

}  // namespace jouleprune::kernels::bsr
