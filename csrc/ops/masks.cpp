// Mask ops on devices without a kernel of ours, by torch's ops; their checks; autograd.
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/constant_pad_nd.h>
#include <torch/library.h>

#include <limits>

#include "formats/bits.h"
#include "ops/mask_checks.h"
#include "ops/signatures.h"

namespace jouleprune::ops {

void check_mask(const char* op, const at::Tensor& mask) {
  TORCH_CHECK_VALUE(mask.defined() && mask.layout() == at::kStrided, op, ": mask: expected a dense (strided) tensor");
  TORCH_CHECK_TYPE(mask.scalar_type() == at::kBool, op, ": mask: expected bool, got ", mask.scalar_type());
}

void check_bits(const char* op, const at::Tensor& bits, int64_t count) {
  TORCH_CHECK_VALUE(bits.defined() && bits.layout() == at::kStrided, op, ": bits: expected a dense (strided) tensor");
  TORCH_CHECK_TYPE(bits.scalar_type() == at::kByte, op, ": bits: expected uint8, got ", bits.scalar_type());
  TORCH_CHECK_VALUE(bits.dim() == 1 && bits.numel() == formats::bit_bytes(count), op, ": bits: expected [ceil(numel / 8) = ",
                    formats::bit_bytes(count), "] for ", count, " elements, got ", bits.sizes());
}

int64_t checked_numel(const char* op, at::IntArrayRef size) {
  int64_t numel = 1;
  bool overflow = false;
  for (const int64_t n : size) {
    TORCH_CHECK_VALUE(n >= 0, op, ": size: expected sizes of at least 0, got ", size);
    overflow = __builtin_mul_overflow(numel, n, &numel) || overflow;
  }
  TORCH_CHECK_VALUE(!overflow && numel <= std::numeric_limits<int64_t>::max() - 7, op, ": size: ", size, " has too many elements");
  return numel;
}

void check_maskable(const at::Tensor& self, const at::Tensor& bits) {
  TORCH_CHECK_VALUE(self.defined() && self.layout() == at::kStrided, "apply_mask_: self: expected a dense (strided) tensor");
  check_bits("apply_mask_", bits, self.numel());
  TORCH_CHECK_VALUE(bits.device() == self.device(), "apply_mask_: bits: expected the device of self, ", self.device(), ", got ",
                    bits.device());
}

void apply_mask_by_fill(const at::Tensor& self, const at::Tensor& bits) {
  static const auto unpack = find_op<UnpackMask>("jouleprune::unpack_mask");
  self.masked_fill_(unpack.call(bits, c10::fromIntArrayRefSlow(self.sizes())).logical_not(), 0);
}

namespace {

Tensor bit_values(const Tensor& like) {
  return at::arange(8, like.options().dtype(at::kLong)).exp2().to(at::kByte);
}

Tensor pack_mask_anywhere(const Tensor& mask) {
  check_mask("pack_mask", mask);
  const int64_t bytes = formats::bit_bytes(mask.numel());
  const auto flat = at::constant_pad_nd(mask.reshape({mask.numel()}).to(at::kLong), {0, bytes * 8 - mask.numel()});
  return (flat.view({bytes, 8}) * bit_values(mask)).sum(1).to(at::kByte);
}

Tensor unpack_mask_anywhere(const Tensor& bits, at::IntArrayRef size) {
  const int64_t count = checked_numel("unpack_mask", size);
  check_bits("unpack_mask", bits, count);
  return bits.unsqueeze(1).bitwise_and(bit_values(bits)).ne(0).reshape({bits.numel() * 8}).slice(0, 0, count).clone().view(size);
}

void apply_mask_anywhere(const Tensor& self, const Tensor& bits) {
  const at::NoGradGuard no_grad;
  check_maskable(self, bits);
  apply_mask_by_fill(self, bits);
}

void apply_mask_autograd(const Tensor& self, const Tensor& bits) {
  TORCH_CHECK(!(at::GradMode::is_enabled() && self.requires_grad()),
              "apply_mask_: self requires grad: change it in place under torch.no_grad() (C++: at::NoGradGuard)");
  const at::AutoDispatchBelowAutograd below;
  static const auto op = find_op<ApplyMask>("jouleprune::apply_mask_");
  op.call(self, bits);
}

void apply_mask_in_place(const Tensor& self, const Tensor& bits) {
  {
    const at::AutoDispatchBelowADInplaceOrView below;
    static const auto op = find_op<ApplyMask>("jouleprune::apply_mask_");
    op.call(self, bits);
  }
  self.unsafeGetTensorImpl()->bump_version();
}

}  // namespace
}  // namespace jouleprune::ops

TORCH_LIBRARY_IMPL(jouleprune, CompositeExplicitAutograd, m) {
  m.impl("pack_mask", TORCH_FN(jouleprune::ops::pack_mask_anywhere));
  m.impl("unpack_mask", TORCH_FN(jouleprune::ops::unpack_mask_anywhere));
  m.impl("apply_mask_", TORCH_FN(jouleprune::ops::apply_mask_anywhere));
}

TORCH_LIBRARY_IMPL(jouleprune, Autograd, m) {
  m.impl("pack_mask", torch::CppFunction::makeFallthrough());
  m.impl("unpack_mask", torch::CppFunction::makeFallthrough());
  m.impl("apply_mask_", TORCH_FN(jouleprune::ops::apply_mask_autograd));
}

TORCH_LIBRARY_IMPL(jouleprune, ADInplaceOrView, m) {
  m.impl("apply_mask_", TORCH_FN(jouleprune::ops::apply_mask_in_place));
}
