// pack_nm, unpack_nm on CUDA. Both wait for the device: the indices are checked, and their key is mixed, on the host.
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <torch/library.h>

#include "ops/csr_checks.h"
#include "ops/cuda_backend.h"
#include "ops/nm_signatures.h"
#include "ops/nm_structure.h"
#include "ops/packable.h"
#include "pack/pack.h"

namespace jouleprune::ops {
namespace {

std::tuple<Tensor, Tensor, Tensor> pack_nm_cuda(const Tensor& weight, const OptionalTensor& mask, int64_t n, int64_t m) {
  const at::NoGradGuard no_grad;
  constexpr const char* op = "pack_nm";
  const CudaScope scope(weight);
  const auto [matrix, kept] = check_packable(op, weight, mask);
  const auto shape = check_nm_shape(op, matrix.size(0), matrix.size(1), n, m);
  auto indices = at::empty({shape.rows, shape.kept()}, matrix.options().dtype(at::kByte));
  auto values = at::empty(indices.sizes(), matrix.options());
  auto over = at::empty({shape.rows * shape.groups()}, matrix.options().dtype(at::kBool));
  scope.run(cuda::pack::NmGroups{static_cast<int>(matrix.element_size()),
                                 {kept.const_data_ptr<bool>(), matrix.const_data_ptr(), shape.rows, shape.cols, n, m,
                                  indices.mutable_data_ptr<uint8_t>(), values.mutable_data_ptr(), over.mutable_data_ptr<bool>()}});
  if (over.any().item<bool>()) {
    const int64_t wrong = over.to(at::kByte).argmax().item<int64_t>();  // the first of them
    TORCH_CHECK_VALUE(false, op, ": weight: expected at most ", n, " kept entries in each group of ", m, " inputs, got more in row ",
                      wrong / shape.groups(), ", inputs from ", wrong % shape.groups() * m);
  }
  const auto host = indices.cpu();
  const auto key = formats::nm_key(shape, host.const_data_ptr<uint8_t>());
  return {values, indices, at::tensor({key[0], key[1]}, at::kLong).to(weight.device())};
}

Tensor unpack_nm_cuda(const Tensor& values, const Tensor& indices, int64_t cols, int64_t n, int64_t m) {
  const at::NoGradGuard no_grad;
  constexpr const char* op = "unpack_nm";
  const CudaScope scope(values);
  TORCH_CHECK_VALUE(values.dim() == 2, op, ": values: expected [rows, kept], got ", values.sizes());
  check_element_type(op, "values", values);
  check_device(op, "indices", indices, values, "values");
  const auto shape = check_nm_shape(op, values.size(0), cols, n, m);
  TORCH_CHECK_VALUE(values.size(1) == shape.kept(), op, ": values: expected [", shape.rows, ", ", shape.kept(), "] for ", n, ":", m, " of ",
                    cols, " inputs, got ", values.sizes());
  const auto host = indices.cpu();
  const auto csr = check_nm_weight(op, Tensor(), host, nullptr, shape, host, "indices");
  const auto places = csr.col_indices.to(values.device(), at::kLong).view({shape.rows, shape.kept()});
  return at::zeros({shape.rows, cols}, values.options()).scatter_(1, places, values);
}

}  // namespace
}  // namespace jouleprune::ops

TORCH_LIBRARY_IMPL(jouleprune, JOULEPRUNE_CUDA_KEY, m) {
  m.impl("pack_nm", TORCH_FN(jouleprune::ops::pack_nm_cuda));
  m.impl("unpack_nm", TORCH_FN(jouleprune::ops::unpack_nm_cuda));
}
