#include "device_run.h"
#include "masks/masks_device.h"

namespace jouleprune::cuda::masks {

cudaError_t run(const Norms& p, cudaStream_t stream) { return launched_whole(p, stream); }
cudaError_t run(const SpreadUnitsParams& p, cudaStream_t stream) { return launched_whole(p, stream); }
cudaError_t run(const NOfM& p, cudaStream_t stream) { return launched_whole(p, stream); }

}  // namespace jouleprune::cuda::masks
