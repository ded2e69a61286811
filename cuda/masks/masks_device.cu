#include "masks/masks_device.h"

#include "simt/device_launch.h"

namespace jouleprune::cuda::masks {

cudaError_t run(const Apply& p, cudaStream_t stream) {
  simt::DeviceLauncher launcher{stream};
  launch(launcher, p);
  return launcher.status;
}

cudaError_t run(const SmallestParams& p, cudaStream_t stream) {
  simt::DeviceLauncher launcher{stream};
  launch_smallest(launcher, p);
  return launcher.status;
}

}  // namespace jouleprune::cuda::masks
