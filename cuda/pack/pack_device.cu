#include "pack/pack_device.h"

#include "simt/device_launch.h"

namespace jouleprune::cuda::pack {
namespace {

template <class Params>
cudaError_t launch_on(const Params& params, cudaStream_t stream) {
  simt::DeviceLauncher launcher{stream};
  launch(launcher, params);
  return launcher.status;
}

}  // namespace

cudaError_t run(const CsrRowsParams& p, cudaStream_t stream) { return launch_on(p, stream); }
cudaError_t run(const CsrEntries& p, cudaStream_t stream) { return launch_on(p, stream); }
cudaError_t run(const NmGroups& p, cudaStream_t stream) { return launch_on(p, stream); }

}  // namespace jouleprune::cuda::pack
