// In a build with CUDA, ops that have no kernel there exist for CUDA tensors to say so in one sentence.
#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/library.h>

namespace jouleprune::ops {
namespace {

void refuse_cuda(const c10::OperatorHandle& op, torch::jit::Stack*) {
  TORCH_CHECK_NOT_IMPLEMENTED(false, op.schema().name(),
                              ": has no CUDA kernel: int8 runs on the CPU");
}

}  // namespace
}  // namespace jouleprune::ops

TORCH_LIBRARY_IMPL(jouleprune, CUDA, m) {
  for (const char* op :
       {"pack_bsr_int8", "unpack_bsr_int8", "linear_bsr_int8", "quantize_bytes", "linear_bsr_int8_to_bytes",
        "conv2d_bsr_int8_to_bytes", "conv2d_bsr_int8"}) {
    m.impl(op, torch::CppFunction::makeFromBoxedFunction<&jouleprune::ops::refuse_cuda>());
  }
}
