#include "record/zeros.h"

#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/ops/count_nonzero.h>
#include <c10/core/impl/LocalDispatchKeySet.h>

#include <vector>

namespace jouleprune::record {
namespace {

/// Nonzeros of `size` elements `stride` apart, by bit pattern: `mask` leaves out the sign, so that -0.0 is zero.
template <typename Bits>
int64_t nonzeros(const Bits* data, int64_t size, int64_t stride, Bits mask) {
  int64_t count = 0;
  if (stride == 1) {  // its own loop, so that the compiler vectorises it
    for (int64_t i = 0; i < size; ++i) count += (data[i] & mask) != 0;
  } else {
    for (int64_t i = 0; i < size; ++i) count += (data[i * stride] & mask) != 0;
  }
  return count;
}

template <typename Bits>
int64_t nonzeros(const at::Tensor& tensor, const void* storage, Bits mask) {
  const Bits* data = static_cast<const Bits*>(storage) + tensor.storage_offset();
  if (tensor.is_non_overlapping_and_dense()) return nonzeros(data, tensor.numel(), 1, mask);
  // Odometer over all dimensions but the last.
  const int64_t last = tensor.dim() - 1;
  std::vector<int64_t> at(tensor.dim(), 0);
  int64_t count = 0;
  for (;;) {
    count += nonzeros(data, tensor.size(last), tensor.stride(last), mask);
    int64_t dim = last - 1;
    for (; dim >= 0; --dim) {
      data += tensor.stride(dim);
      if (++at[dim] < tensor.size(dim)) break;
      data -= tensor.stride(dim) * tensor.size(dim);
      at[dim] = 0;
    }
    if (dim < 0) return count;
  }
}

const void* memory_of(const at::Tensor& tensor) {
  // Without the checks: reading a pointer must not materialise or throw, and null is an answer.
  return tensor.unsafeGetTensorImpl()->unsafe_storage().unsafeGetStorageImpl()->_mutable_data_ptr_no_checks().get();
}

int64_t count_on_device(const at::Tensor& tensor) {
  using c10::DispatchKey;
  const c10::impl::ExcludeDispatchKeyGuard no_python(
      c10::DispatchKeySet({DispatchKey::Python, DispatchKey::PythonTLSSnapshot}) | c10::autocast_dispatch_keyset);
  const at::AutoDispatchBelowADInplaceOrView no_autograd;
  return at::count_nonzero(tensor).item<int64_t>();
}

}  // namespace

bool has_data(const at::Tensor& tensor) {
  return tensor.defined() && tensor.has_storage() && tensor.layout() == at::kStrided && !tensor.is_quantized() &&
         !tensor.unsafeGetTensorImpl()->has_symbolic_sizes_strides() && memory_of(tensor) != nullptr;
}

int64_t count_nonzero(const at::Tensor& tensor) {
  if (tensor.numel() == 0 || tensor.is_complex()) return tensor.numel();
  if (!tensor.is_cpu()) return count_on_device(tensor);
  const void* data = memory_of(tensor);
  const bool sign = tensor.is_floating_point();
  switch (tensor.element_size()) {
    case 1: return nonzeros<uint8_t>(tensor, data, sign ? 0x7f : 0xff);
    case 2: return nonzeros<uint16_t>(tensor, data, sign ? 0x7fff : 0xffff);
    case 4: return nonzeros<uint32_t>(tensor, data, sign ? 0x7fffffffU : 0xffffffffU);
    case 8: return nonzeros<uint64_t>(tensor, data, sign ? 0x7fffffffffffffffULL : ~0ULL);
    default: return tensor.numel();
  }
}

}  // namespace jouleprune::record
