#include "conv/conv_csr_device.h"

#include "conv/conv_csr_launch.h"
#include "device_run.h"

namespace jouleprune::cuda::conv {

cudaError_t run(const Conv& p, cudaStream_t stream) { return launched(p, stream); }
cudaError_t run(const ConvGradInput& p, cudaStream_t stream) { return launched(p, stream); }
cudaError_t run(const ConvGradValues& p, cudaStream_t stream) { return launched(p, stream); }

}  // namespace jouleprune::cuda::conv
