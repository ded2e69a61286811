#include "conv/conv_csr_device.h"

#include "conv/conv_csr_launch.h"
#include "simt/device_launch.h"

namespace jouleprune::cuda::conv {
namespace {

template <class Params>
cudaError_t launch_on(const Params& params, cudaStream_t stream) {
  simt::DeviceLauncher launcher{stream};
  with_type(params.type, [&](auto element) { launch<decltype(element)>(launcher, params); });
  return launcher.status;
}

}  // namespace

cudaError_t run(const Conv& p, cudaStream_t stream) { return launch_on(p, stream); }
cudaError_t run(const ConvGradInput& p, cudaStream_t stream) { return launch_on(p, stream); }
cudaError_t run(const ConvGradValues& p, cudaStream_t stream) { return launch_on(p, stream); }

}  // namespace jouleprune::cuda::conv
