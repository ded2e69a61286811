// pack_mask, unpack_mask, apply_mask_ on the CPU.
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include "formats/bits.h"
#include "ops/mask_checks.h"
#include "ops/parallel.h"
#include "ops/signatures.h"

namespace jouleprune::ops {
namespace {

constexpr int64_t kBytesPerThread = 1 << 12;  // 32768 elements: about 20 us

Tensor pack_mask_cpu(const Tensor& mask) {
  check_mask("pack_mask", mask);
  const auto flat = mask.contiguous();
  auto bits = at::empty({formats::bit_bytes(mask.numel())}, mask.options().dtype(at::kByte));
  const bool* from = flat.const_data_ptr<bool>();
  uint8_t* to = bits.mutable_data_ptr<uint8_t>();
  torch_threads()(0, bits.numel(), kBytesPerThread,
                  [&](int64_t begin, int64_t end) { formats::pack_bits(from, flat.numel(), begin, end, to); });
  return bits;
}

Tensor unpack_mask_cpu(const Tensor& bits, at::IntArrayRef size) {
  check_bits("unpack_mask", bits, checked_numel("unpack_mask", size));
  const auto flat = bits.contiguous();
  auto mask = at::empty(size, bits.options().dtype(at::kBool));
  const uint8_t* from = flat.const_data_ptr<uint8_t>();
  bool* to = mask.mutable_data_ptr<bool>();
  torch_threads()(0, flat.numel(), kBytesPerThread,
                  [&](int64_t begin, int64_t end) { formats::unpack_bits(from, mask.numel(), begin, end, to); });
  return mask;
}

template <class T>
void clear(const Tensor& self, const uint8_t* bits) {
  T* data = static_cast<T*>(self.mutable_data_ptr());
  torch_threads()(0, formats::bit_bytes(self.numel()), kBytesPerThread,
                  [&](int64_t begin, int64_t end) { formats::clear_by_bits(bits, self.numel(), begin, end, data); });
}

struct Bytes16 {
  uint64_t low, high;
};

void apply_mask_cpu(const Tensor& self, const Tensor& bits) {
  const at::NoGradGuard no_grad;
  check_maskable(self, bits);
  const auto flat = bits.contiguous();
  if (!self.is_contiguous() || self.is_conj() || self.is_neg()) {
    return apply_mask_by_fill(self, flat);
  }
  const uint8_t* from = flat.const_data_ptr<uint8_t>();
  switch (self.element_size()) {  // zero is all bits 0 in every dtype
    case 1: return clear<uint8_t>(self, from);
    case 2: return clear<uint16_t>(self, from);
    case 4: return clear<uint32_t>(self, from);
    case 8: return clear<uint64_t>(self, from);
    case 16: return clear<Bytes16>(self, from);
    default: return apply_mask_by_fill(self, flat);
  }
}

}  // namespace
}  // namespace jouleprune::ops

TORCH_LIBRARY_IMPL(jouleprune, CPU, m) {
  m.impl("pack_mask", TORCH_FN(jouleprune::ops::pack_mask_cpu));
  m.impl("unpack_mask", TORCH_FN(jouleprune::ops::unpack_mask_cpu));
  m.impl("apply_mask_", TORCH_FN(jouleprune::ops::apply_mask_cpu));
}
