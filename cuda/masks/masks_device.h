// Launchers of the mask kernels on a GPU.
#pragma once
#include <cuda_runtime_api.h>

#include "masks/masks.h"
#include "masks/smallest.h"

namespace jouleprune::cuda::masks {

cudaError_t run(const Apply& params, cudaStream_t stream);
cudaError_t run(const Norms& params, cudaStream_t stream);
cudaError_t run(const SpreadUnitsParams& params, cudaStream_t stream);
cudaError_t run(const NOfM& params, cudaStream_t stream);
/// The mask that removes the smallest scores: eleven launches, none of which waits for the host.
cudaError_t run(const SmallestParams& params, cudaStream_t stream);

}  // namespace jouleprune::cuda::masks
