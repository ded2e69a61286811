// Launchers of the mask kernels on a GPU.
#pragma once
#include <cuda_runtime_api.h>

#include "masks/masks.h"

namespace jouleprune::cuda::masks {

cudaError_t run(const Apply& params, cudaStream_t stream);

}  // namespace jouleprune::cuda::masks
