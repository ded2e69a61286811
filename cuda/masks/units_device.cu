#include "masks/masks_device.h"
#include "simt/device_launch.h"

namespace jouleprune::cuda::masks {
namespace {

template <class Params>
cudaError_t launch_on(const Params& params, cudaStream_t stream) {
  simt::DeviceLauncher launcher{stream};
  launch(launcher, params);
  return launcher.status;
}

}  // namespace

cudaError_t run(const Norms& p, cudaStream_t stream) { return launch_on(p, stream); }
cudaError_t run(const SpreadUnitsParams& p, cudaStream_t stream) { return launch_on(p, stream); }
cudaError_t run(const NOfM& p, cudaStream_t stream) { return launch_on(p, stream); }

}  // namespace jouleprune::cuda::masks
