// In a build with CUDA the bsr and nm ops exist for CUDA tensors to say in one sentence that they have no kernel there.
#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/library.h>

namespace jouleprune::ops {
namespace {

void refuse_cuda(const c10::OperatorHandle& op, torch::jit::Stack*) {
  TORCH_CHECK_NOT_IMPLEMENTED(false, op.schema().name(), ": layouts bsr and nm run on the CPU; on CUDA use layout csr in a float type");
}

}  // namespace
}  // namespace jouleprune::ops

TORCH_LIBRARY_IMPL(jouleprune, CUDA, m) {
  for (const char* op : {"pack_bsr", "unpack_bsr", "prepack_bsr", "linear_bsr", "linear_bsr_backward_input",
                         "linear_bsr_backward_values", "pack_bsr_int8", "unpack_bsr_int8", "linear_bsr_int8", "quantize_bytes",
                         "linear_bsr_int8_to_bytes", "conv2d_bsr_int8_to_bytes", "pack_nm",
                         "unpack_nm", "linear_nm", "linear_nm_backward_input", "linear_nm_backward_values", "conv2d_bsr_int8"}) {
    m.impl(op, torch::CppFunction::makeFromBoxedFunction<&jouleprune::ops::refuse_cuda>());
  }
}
