// pack_bsr_int8, unpack_bsr_int8 on the CPU.
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/ne.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <torch/library.h>


#include "formats/bsr_int8_pack.h"
#include "ops/bsr_int8_checks.h"
#include "ops/csr_checks.h"
#include "ops/limits.h"
#include "ops/signatures.h"

namespace jouleprune::ops {
namespace {


Tensor kept_entries(const char* op, const Tensor& weight, const OptionalTensor& mask, at::IntArrayRef matrix) {
  if (!mask.has_value() || !mask->defined()) {
    return at::ne(weight.reshape(matrix), 0).contiguous();
  }
  TORCH_CHECK_TYPE(mask->scalar_type() == at::kBool, op, ": mask: expected bool, got ", mask->scalar_type());
  TORCH_CHECK_VALUE(mask->sizes() == weight.sizes(), op, ": mask: expected the shape of weight, ", weight.sizes(), ", got ",
                    mask->sizes());
  TORCH_CHECK_VALUE(mask->device() == weight.device(), op, ": mask: expected the device of weight, ", weight.device(), ", got ",
                    mask->device());
  return mask->reshape(matrix).contiguous();
}

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> pack_bsr_int8_cpu(const Tensor& weight, const OptionalTensor& mask) {
  const at::NoGradGuard no_grad;
  constexpr const char* op = "pack_bsr_int8";
  check_element_type(op, "weight", weight);
  TORCH_CHECK_VALUE(weight.dim() >= 2, op, ": weight: expected [rows, cols] or more dimensions, got ", weight.sizes());
  const int64_t rows = weight.size(0);
  int64_t cols = 1;
  for (const int64_t size : weight.sizes().slice(1)) {
    cols *= size;
  }
  TORCH_CHECK_VALUE(rows <= kLimit && cols <= kLimit, op, ": weight: expected at most ", kLimit, " rows and columns, got ",
                    weight.sizes());
  const auto kept = kept_entries(op, weight, mask, {rows, cols});
  const auto matrix = weight.detach().reshape({rows, cols}).to(at::kFloat).contiguous();
  TORCH_CHECK_VALUE(at::isfinite(matrix).logical_or(kept.logical_not()).all().item<bool>(), op,
                    ": weight: expected finite numbers, which int8 with a scale can hold, got NaN or infinity");
  auto offsets = at::empty({rows + 1}, matrix.options().dtype(at::kInt));
  const bool* keep = kept.const_data_ptr<bool>();
  const int64_t nnz = formats::quad_offsets(keep, rows, cols, offsets.mutable_data_ptr<int32_t>());
  TORCH_CHECK_VALUE(nnz <= kLimit / 4, op, ": weight: expected at most ", kLimit / 4, " kept blocks, got ", nnz);
  auto columns = at::empty({nnz}, offsets.options());
  auto blocks = at::empty({nnz, 1, 4}, matrix.options().dtype(at::kChar));
  auto scales = at::empty({rows}, matrix.options());
  formats::quantise_quads(matrix.const_data_ptr<float>(), keep, rows, cols, columns.mutable_data_ptr<int32_t>(),
                          blocks.mutable_data_ptr<int8_t>(), scales.mutable_data_ptr<float>());
  const auto key = formats::csr_key({rows, kernels::bsr_int8::quads_of(cols), nnz, columns.const_data_ptr<int32_t>(),
                                     offsets.const_data_ptr<int32_t>()});
  return {blocks, columns, offsets, at::tensor({key[0], key[1]}, at::kLong), scales};
}

Tensor unpack_bsr_int8_cpu(const Tensor& blocks, const Tensor& block_columns, const Tensor& block_row_offsets,
                           const Tensor& scales, int64_t cols) {
  const at::NoGradGuard no_grad;
  const auto weight =
      check_int8_weight("unpack_bsr_int8", blocks, block_columns, block_row_offsets, nullptr, scales, cols, blocks, "blocks");
  auto dense = at::zeros({weight.quads.rows, cols}, scales.options());
  formats::scatter_quads(weight.quads, weight.blocks.const_data_ptr<int8_t>(), weight.scales.const_data_ptr<float>(), cols,
                         dense.mutable_data_ptr<float>());
  return dense;
}

}  // namespace
}  // namespace jouleprune::ops

TORCH_LIBRARY_IMPL(jouleprune, CPU, m) {
  m.impl("pack_bsr_int8", TORCH_FN(jouleprune::ops::pack_bsr_int8_cpu));
  m.impl("unpack_bsr_int8", TORCH_FN(jouleprune::ops::unpack_bsr_int8_cpu));
}
