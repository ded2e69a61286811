#include "bsr/linear_bsr_device.h"

#include "feature_major.h"

namespace jouleprune::cuda::bsr {

int64_t turned_elements(int64_t features, int64_t n) { return features * feature_major_pitch(n); }

cudaError_t run(const Linear& p, cudaStream_t stream) {
  return with_type(p.weight.type, [&](auto element) { return Typed<decltype(element)>::run(p, stream); });
}
cudaError_t run(const LinearInput& p, cudaStream_t stream) {
  return with_type(p.weight.type, [&](auto element) { return Typed<decltype(element)>::run(p, stream); });
}
cudaError_t run(const LinearBlocks& p, cudaStream_t stream) {
  return with_type(p.weight.type, [&](auto element) { return Typed<decltype(element)>::run(p, stream); });
}

}  // namespace jouleprune::cuda::bsr
