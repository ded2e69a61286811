#include "csr/linear_csr_device.h"

#include "csr/linear_csr_launch.h"
#include "device_run.h"

namespace jouleprune::cuda::csr {

cudaError_t run(const Linear& p, cudaStream_t stream) { return launched(p, stream); }
cudaError_t run(const Pack& p, cudaStream_t stream) { return launched(p, stream); }
cudaError_t run(const LinearTiles& p, cudaStream_t stream) { return launched(p, stream); }
cudaError_t run(const LinearValues& p, cudaStream_t stream) { return launched(p, stream); }
cudaError_t run(const LinearMasked& p, cudaStream_t stream) { return launched(p, stream); }

}  // namespace jouleprune::cuda::csr
