#include "pack/pack_device.h"

#include "device_run.h"

namespace jouleprune::cuda::pack {

cudaError_t run(const CsrRowsParams& p, cudaStream_t stream) { return launched_whole(p, stream); }
cudaError_t run(const CsrEntries& p, cudaStream_t stream) { return launched_whole(p, stream); }
cudaError_t run(const NmGroups& p, cudaStream_t stream) { return launched_whole(p, stream); }

}  // namespace jouleprune::cuda::pack
