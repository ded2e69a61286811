#include "conv/conv_bsr_device.h"

namespace jouleprune::cuda::conv {

cudaError_t run(const BsrConv& p, cudaStream_t stream) {
  return with_type(p.weight.type, [&](auto element) { return Typed<decltype(element)>::run(p, stream); });
}
cudaError_t run(const BsrConvInput& p, cudaStream_t stream) {
  return with_type(p.weight.type, [&](auto element) { return Typed<decltype(element)>::run(p, stream); });
}
cudaError_t run(const BsrConvBlocks& p, cudaStream_t stream) {
  return with_type(p.weight.type, [&](auto element) { return Typed<decltype(element)>::run(p, stream); });
}

}  // namespace jouleprune::cuda::conv
