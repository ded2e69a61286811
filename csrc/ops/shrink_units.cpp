// shrink_units_: the proximal step of an L1 or group-lasso penalty, in place.
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/full.h>
#include <ATen/ops/isfinite.h>
#include <torch/library.h>

#include "ops/criteria_signatures.h"
#include "ops/signatures.h"
#include "ops/unit_values.h"

namespace jouleprune::ops {
namespace {

/// Each unit u of the weight moves by min(amount, |u|_2) towards 0, along u: the minimum of |v - u|^2 / 2 + amount |v|_2 over v. With
/// units of one entry that is the soft threshold. Parikh and Boyd, Proximal Algorithms, 2014, section 6.5.1.
void shrink_units_(const Tensor& self, const Tensor& amounts, at::IntArrayRef block_size) {
  constexpr const char* kOp = "shrink_units_";
  const at::NoGradGuard no_grad;
  TORCH_CHECK_TYPE(at::isFloatingType(self.scalar_type()), kOp, ": self: expected a floating-point dtype, got ",
                   self.scalar_type());
  TORCH_CHECK_VALUE(self.dim() >= 2, kOp, ": self: expected [rows, cols] or more dimensions, got ", self.sizes());
  const auto block = checked_block(kOp, self, block_size);
  const auto [down, across] = units_of(self, block);
  TORCH_CHECK_VALUE(amounts.dim() == 2 && amounts.size(0) == down && amounts.size(1) == across, kOp, ": amounts: expected [", down,
                    ", ", across, "] for a weight of size ", self.sizes(), ", got ", amounts.sizes());
  TORCH_CHECK_VALUE(amounts.device() == self.device(), kOp, ": amounts: expected the device of self, ", self.device(), ", got ",
                    amounts.device());
  TORCH_CHECK_VALUE(at::isfinite(amounts).all().item<bool>() && amounts.ge(0).all().item<bool>(), kOp,
                    ": amounts: expected finite numbers of at least 0");
  static const auto unit_norms = find_op<UnitNorms>("jouleprune::unit_norms");
  // unit_norms gives root mean squares; units at the edge have fewer entries.
  const Tensor means = std::get<0>(unit_norms.call(self.detach(), {}, block, 2.0));
  const auto [r, c] = block;
  const int64_t rows = self.size(0), cols = matrix_of(self).size(1);
  const Tensor heights = at::full({down}, r, means.options()), widths = at::full({across}, c, means.options());
  if (down > 0) heights[down - 1] = static_cast<double>(rows - (down - 1) * r);
  if (across > 0) widths[across - 1] = static_cast<double>(cols - (across - 1) * c);
  const Tensor norms = means * heights.outer(widths).sqrt();
  const Tensor factors = (1 - amounts.to(at::kDouble) / norms).clamp_min(0).nan_to_num(0);  // 0 / 0: a unit of zeros
  self.copy_(self.to(at::kDouble) * spread_values(factors, self, block));
}

}  // namespace
}  // namespace jouleprune::ops

TORCH_LIBRARY_IMPL(jouleprune, CompositeExplicitAutograd, m) {
  m.impl("shrink_units_", TORCH_FN(jouleprune::ops::shrink_units_));
}
