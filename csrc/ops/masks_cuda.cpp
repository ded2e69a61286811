// apply_mask_ on CUDA: one pass that reads a bit per element and writes what goes. mask_smallest: a radix select that stays on the device.
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <torch/library.h>

#include <algorithm>
#include <limits>

#include "formats/bits.h"
#include "masks/masks.h"
#include "masks/smallest.h"
#include "ops/cuda_backend.h"
#include "ops/mask_checks.h"
#include "ops/signatures.h"

namespace jouleprune::ops {
namespace {

void apply_mask_cuda(const at::Tensor& self, const at::Tensor& bits) {
  check_maskable(self, bits);
  if (!self.is_contiguous()) {
    apply_mask_by_fill(self, bits);
    return;
  }
  const CudaScope scope(self);
  const auto checked = bits.contiguous();
  scope.run(cuda::masks::Apply{static_cast<int>(self.element_size()),
                               {self.mutable_data_ptr(), checked.const_data_ptr<uint8_t>(), self.numel()}});
}

/// One row of all tensors; `convert` makes each comparable.
template <class Convert>
at::Tensor joined(at::TensorList tensors, const Convert& convert) {
  std::vector<at::Tensor> flat;
  for (const at::Tensor& each : tensors) flat.push_back(convert(each).reshape({-1}));
  return at::cat(flat);
}

/// Which of `magnitudes`, float32 [n], stay when the `amount` < n smallest go; bool [n].
at::Tensor largest(const at::Tensor& magnitudes, int64_t amount, const CudaScope& scope) {
  using cuda::masks::SelectState;
  const int64_t count = magnitudes.numel();
  const auto numbers = magnitudes.options().dtype(at::kInt);
  const auto state = at::tensor({0, static_cast<int32_t>(static_cast<uint32_t>(amount))}, at::TensorOptions().dtype(at::kInt)).to(magnitudes.device());
  const auto counts = at::zeros({cuda::masks::kDigits}, numbers);
  const auto ties = at::empty({simt::ceil_div<int64_t>(count, cuda::masks::kPerBlock)}, numbers);
  const auto bits = at::empty({formats::bit_bytes(count)}, magnitudes.options().dtype(at::kByte));
  scope.run(cuda::masks::SmallestParams{magnitudes.const_data_ptr<float>(), count, reinterpret_cast<SelectState*>(state.mutable_data_ptr<int32_t>()),
                                        reinterpret_cast<uint32_t*>(counts.mutable_data_ptr<int32_t>()),
                                        reinterpret_cast<uint32_t*>(ties.mutable_data_ptr<int32_t>()), bits.mutable_data_ptr<uint8_t>(), 0});
  static const auto unpack = find_op<UnpackMask>("jouleprune::unpack_mask");
  const std::vector<c10::SymInt> size{count};
  return unpack.call(bits, size);
}

/// Scores of 32 bits and less; the wider ones, and 2^32 and more of them, are for the host.
std::vector<at::Tensor> mask_smallest_cuda(at::TensorList scores, at::TensorList left, int64_t amount) {
  constexpr const char* op = "mask_smallest";
  const at::ScalarType type = check_smallest(scores, left);
  const bool narrow = type == at::kFloat || type == at::kHalf || type == at::kBFloat16;
  int64_t all = 0;
  bool together = narrow;
  for (const at::Tensor& each : scores) {
    all += each.numel();
    together = together && each.device() == scores.front().device();
  }
  for (const at::Tensor& each : left) together = together && each.device() == scores.front().device();
  if (!together || all == 0 || all > std::numeric_limits<uint32_t>::max() || amount < 0) return mask_smallest_by_host(scores, left, amount);
  const CudaScope scope(scores.front());
  auto magnitudes = joined(scores, [](const at::Tensor& each) { return each.detach().to(at::kFloat).abs(); });
  at::Tensor remain;
  if (!left.empty()) {
    remain = joined(left, [](const at::Tensor& each) { return each; });
    magnitudes = magnitudes.masked_select(remain);
  }
  const int64_t count = magnitudes.numel();
  TORCH_CHECK_VALUE(amount <= count, op, ": amount: expected at most the entries that are left, ", count, ", got ", amount);
  const auto chosen = amount == count ? at::zeros({count}, magnitudes.options().dtype(at::kBool)) : largest(magnitudes, amount, scope);
  const auto flat = remain.defined() ? remain.masked_scatter(remain, chosen) : chosen;
  std::vector<at::Tensor> kept;
  for (int64_t begin = 0; const at::Tensor& each : scores) {
    kept.push_back(flat.slice(0, begin, begin + each.numel()).view(each.sizes()).clone());
    begin += each.numel();
  }
  return kept;
}

}  // namespace
}  // namespace jouleprune::ops

TORCH_LIBRARY_IMPL(jouleprune, JOULEPRUNE_CUDA_KEY, m) {
  m.impl("apply_mask_", TORCH_FN(jouleprune::ops::apply_mask_cuda));
  m.impl("mask_smallest", TORCH_FN(jouleprune::ops::mask_smallest_cuda));
}
