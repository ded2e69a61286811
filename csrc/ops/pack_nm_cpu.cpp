// pack_nm, unpack_nm on the CPU.
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <torch/library.h>

#include "formats/csr_pack.h"
#include "ops/csr_checks.h"
#include "ops/nm_signatures.h"
#include "ops/nm_structure.h"
#include "ops/packable.h"

namespace jouleprune::ops {
namespace {

formats::CsrView view_of(const CsrStructure& csr, const formats::NmShape& shape) {
  return {shape.rows, shape.cols, shape.nnz(), csr.col_indices.const_data_ptr<int32_t>(), csr.row_offsets.const_data_ptr<int32_t>()};
}

std::tuple<Tensor, Tensor, Tensor> pack_nm_cpu(const Tensor& weight, const OptionalTensor& mask, int64_t n, int64_t m) {
  const at::NoGradGuard no_grad;
  constexpr const char* op = "pack_nm";
  const auto [matrix, kept] = check_packable(op, weight, mask);
  const auto shape = check_nm_shape(op, matrix.size(0), matrix.size(1), n, m);
  auto indices = at::empty({shape.rows, shape.kept()}, matrix.options().dtype(at::kByte));
  const int64_t wrong = formats::nm_choose(shape, kept.const_data_ptr<bool>(), indices.mutable_data_ptr<uint8_t>());
  TORCH_CHECK_VALUE(wrong < 0, op, ": weight: expected at most ", n, " kept entries in each group of ", m, " inputs, got more in row ",
                    wrong / std::max<int64_t>(shape.groups(), 1), ", inputs from ", wrong % std::max<int64_t>(shape.groups(), 1) * m);
  const uint8_t* const chosen = indices.const_data_ptr<uint8_t>();
  auto columns = at::empty({shape.nnz()}, matrix.options().dtype(at::kInt));
  formats::nm_columns(shape, chosen, columns.mutable_data_ptr<int32_t>());
  const auto places = columns.view({shape.rows, shape.kept()}).to(at::kLong);
  auto values = matrix.gather(1, places);
  values.masked_fill_(kept.gather(1, places).logical_not(), 0);  // what a mask removes is 0, though it has a place
  const auto key = formats::nm_key(shape, chosen);
  return {values, indices, at::tensor({key[0], key[1]}, at::kLong)};
}

Tensor unpack_nm_cpu(const Tensor& values, const Tensor& indices, int64_t cols, int64_t n, int64_t m) {
  const at::NoGradGuard no_grad;
  constexpr const char* op = "unpack_nm";
  TORCH_CHECK_VALUE(values.dim() == 2, op, ": values: expected [rows, kept], got ", values.sizes());
  const auto shape = check_nm_shape(op, values.size(0), cols, n, m);
  const auto csr = check_nm_weight(op, values, indices, nullptr, shape, values, "values");
  auto dense = at::zeros({shape.rows, cols}, values.options());
  const auto contiguous = values.contiguous();
  with_element_type(values.scalar_type(), [&](auto element) {
    using T = decltype(element);
    formats::csr_scatter(view_of(csr, shape), data_of<T>(contiguous), mutable_data_of<T>(dense));
  });
  return dense;
}

}  // namespace
}  // namespace jouleprune::ops

TORCH_LIBRARY_IMPL(jouleprune, CPU, m) {
  m.impl("pack_nm", TORCH_FN(jouleprune::ops::pack_nm_cpu));
  m.impl("unpack_nm", TORCH_FN(jouleprune::ops::unpack_nm_cpu));
}
