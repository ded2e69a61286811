// Launchers of the packing kernels on a GPU.
#pragma once
#include <cuda_runtime_api.h>

#include "pack/pack.h"

namespace jouleprune::cuda::pack {

cudaError_t run(const CsrRowsParams& params, cudaStream_t stream);
cudaError_t run(const CsrEntries& params, cudaStream_t stream);
cudaError_t run(const NmGroups& params, cudaStream_t stream);

}  // namespace jouleprune::cuda::pack
