// apply_mask_ on CUDA: one pass that reads a bit per element and writes what goes.
#include <ATen/core/Tensor.h>
#include <torch/library.h>

#include "masks/masks.h"
#include "ops/cuda_backend.h"
#include "ops/mask_checks.h"

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

}  // namespace
}  // namespace jouleprune::ops

TORCH_LIBRARY_IMPL(jouleprune, JOULEPRUNE_CUDA_KEY, m) {
  m.impl("apply_mask_", TORCH_FN(jouleprune::ops::apply_mask_cuda));
}
