#include "csr/linear_csr_device.h"

#include "csr/linear_csr_launch.h"
#include "simt/device_launch.h"

namespace jouleprune::cuda::csr {
namespace {

template <class Params>
cudaError_t launch_on(const Params& params, cudaStream_t stream) {
  simt::DeviceLauncher launcher{stream};
  with_type(params.type, [&](auto element) { launch<decltype(element)>(launcher, params); });
  return launcher.status;
}

}  // namespace

cudaError_t run(const Linear& p, cudaStream_t stream) { return launch_on(p, stream); }
cudaError_t run(const Pack& p, cudaStream_t stream) { return launch_on(p, stream); }
cudaError_t run(const LinearTiles& p, cudaStream_t stream) { return launch_on(p, stream); }
cudaError_t run(const LinearValues& p, cudaStream_t stream) { return launch_on(p, stream); }
cudaError_t run(const LinearMasked& p, cudaStream_t stream) { return launch_on(p, stream); }

}  // namespace jouleprune::cuda::csr
