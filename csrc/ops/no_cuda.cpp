// In a build without CUDA the ops exist for CUDA tensors all the same: to say so in one sentence.
#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/library.h>

namespace jouleprune::ops {
namespace {

void refuse_cuda(const c10::OperatorHandle& op, torch::jit::Stack*) {
  TORCH_CHECK_NOT_IMPLEMENTED(false, op.schema().name(),
                              ": jouleprune was built without CUDA; see python -m jouleprune info");
}

}  // namespace
}  // namespace jouleprune::ops

TORCH_LIBRARY_IMPL(jouleprune, CUDA, m) {
  for (const char* op : {"pack_csr", "unpack_csr", "prepack_csr", "linear_csr", "linear_csr_backward_input",
                         "linear_csr_backward_values", "conv2d_csr", "conv2d_csr_backward_input",
                         "conv2d_csr_backward_values", "pack_bsr", "unpack_bsr", "prepack_bsr", "linear_bsr",
                         "linear_bsr_backward_input", "linear_bsr_backward_values", "conv2d_bsr", "conv2d_bsr_backward_input",
                         "conv2d_bsr_backward_values", "pack_bsr_int8", "unpack_bsr_int8", "linear_bsr_int8", "quantize_bytes",
                         "linear_bsr_int8_to_bytes", "conv2d_bsr_int8_to_bytes",
                         "conv2d_bsr_int8", "pack_nm", "unpack_nm", "linear_nm", "linear_nm_backward_input", "linear_nm_backward_values"}) {
    m.impl(op, torch::CppFunction::makeFromBoxedFunction<&jouleprune::ops::refuse_cuda>());
  }
}
