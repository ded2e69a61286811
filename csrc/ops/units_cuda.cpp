// unit_norms, spread_units, mask_n_of_m on CUDA: nothing leaves the device, and nothing waits for it.
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <algorithm>
#include <limits>
#include <tuple>

#include "masks/masks.h"
#include "ops/cuda_adapters.h"
#include "ops/cuda_backend.h"
#include "ops/mask_checks.h"
#include "ops/signatures.h"
#include "ops/unit_checks.h"

namespace jouleprune::ops {
namespace {

namespace masks = cuda::masks;

const bool* data_or_null(const Tensor& mask) { return mask.defined() ? mask.const_data_ptr<bool>() : nullptr; }

/// As the kernels read a mask; undefined stays so.
Tensor flat_mask(const OptionalTensor& mask) { return mask.has_value() ? mask->detach().contiguous() : Tensor(); }

masks::UnitParams launch_units(const select::Blocks& blocks, const Tensor& left) {
  return {blocks.rows, blocks.cols, blocks.r, blocks.c, data_or_null(left)};
}

masks::Norm norm_of(double p) {
  return p == 1 ? masks::Norm::kOne
         : p == 2 ? masks::Norm::kTwo
         : p == std::numeric_limits<double>::infinity() ? masks::Norm::kLargest
                                                        : masks::Norm::kPower;
}

std::tuple<Tensor, Tensor> unit_norms_cuda(const Tensor& scores, const OptionalTensor& left, at::IntArrayRef block_size,
                                           double norm) {
  const auto blocks = check_unit_norms(scores, left, block_size);
  TORCH_CHECK_VALUE(norm > 0, "unit_norms: norm: expected a number above 0, got ", norm);
  const CudaScope scope(scores);
  const auto type = scores.scalar_type();
  const bool has_kernel = type == at::kFloat || type == at::kDouble || type == at::kHalf || type == at::kBFloat16;
  const Tensor compared = (has_kernel ? scores.detach() : scores.detach().to(at::kDouble)).contiguous();
  const Tensor mask = flat_mask(left);
  auto norms = at::empty({blocks.down(), blocks.across()}, scores.options().dtype(at::kDouble).requires_grad(false));
  auto units_left = at::empty(norms.sizes(), norms.options().dtype(at::kBool));
  scope.run(masks::Norms{cuda_element_type(compared.scalar_type()),
                         {launch_units(blocks, mask), compared.const_data_ptr(), norm_of(norm), norm,
                          norms.mutable_data_ptr<double>(), units_left.mutable_data_ptr<bool>()}});
  return {norms, units_left};
}

Tensor spread_units_cuda(const Tensor& units, const OptionalTensor& left, at::IntArrayRef size,
                         at::IntArrayRef block_size) {
  const auto blocks = check_spread_units(units, left, size, block_size);
  const CudaScope scope(units);
  const Tensor from = units.contiguous(), mask = flat_mask(left);
  auto kept = at::empty(size, units.options());
  scope.run(masks::SpreadUnitsParams{launch_units(blocks, mask), from.const_data_ptr<bool>(), kept.mutable_data_ptr<bool>()});
  return kept;
}

/// Scores of float32 and 16-bit types, in groups as patterns have them; others are for the host.
Tensor mask_n_of_m_cuda(const Tensor& scores, const OptionalTensor& left, int64_t n, int64_t m, int64_t dim) {
  constexpr int64_t kLargestGroup = 64;  // each entry is compared with all of its group
  const auto lines = check_n_of_m(scores, left, dim);
  const auto type = scores.scalar_type();
  const bool has_kernel = type == at::kFloat || type == at::kHalf || type == at::kBFloat16;
  if (!has_kernel || m < 1 || n < 0 || n > m || std::min(m, lines.length) > kLargestGroup) {
    return mask_n_of_m_by_host(scores, left, n, m, dim);
  }
  const CudaScope scope(scores);
  const Tensor compared = scores.detach().contiguous(), mask = flat_mask(left);
  auto kept = at::empty(scores.sizes(), scores.options().dtype(at::kBool).requires_grad(false));
  scope.run(masks::NOfM{cuda_element_type(type),
                        {compared.const_data_ptr(), data_or_null(mask), lines.outer, lines.length, lines.inner, n, m,
                         kept.mutable_data_ptr<bool>()}});
  return kept;
}

}  // namespace
}  // namespace jouleprune::ops

TORCH_LIBRARY_IMPL(jouleprune, JOULEPRUNE_CUDA_KEY, m) {
  m.impl("unit_norms", TORCH_FN(jouleprune::ops::unit_norms_cuda));
  m.impl("spread_units", TORCH_FN(jouleprune::ops::spread_units_cuda));
  m.impl("mask_n_of_m", TORCH_FN(jouleprune::ops::mask_n_of_m_cuda));
}
