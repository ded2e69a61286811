// In a build with CUDA the int8 ops exist for CUDA tensors to say in one sentence that they have no kernel there.
#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/library.h>

namespace jouleprune::ops {
namespace {

void refuse_cuda(const c10::OperatorHandle& op, torch::jit::Stack*) {
  TORCH_CHECK_NOT_IMPLEMENTED(false, op.schema().name(), ": int8 layers run on the CPU; move the model and its inputs there");
}

}  // namespace
}  // namespace jouleprune::ops

TORCH_LIBRARY_IMPL(jouleprune, CUDA, m) {
  for (const char* op : {"pack_bsr_int8", "unpack_bsr_int8", "linear_bsr_int8"}) {
    m.impl(op, torch::CppFunction::makeFromBoxedFunction<&jouleprune::ops::refuse_cuda>());
  }
}
