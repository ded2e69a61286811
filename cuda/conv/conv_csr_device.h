// Launchers of conv2d_csr and its gradients on a GPU.
#pragma once
#include <cuda_runtime_api.h>

#include "conv/conv_csr.h"

namespace jouleprune::cuda::conv {

cudaError_t run(const Conv& params, cudaStream_t stream);
cudaError_t run(const ConvGradInput& params, cudaStream_t stream);
cudaError_t run(const ConvGradValues& params, cudaStream_t stream);

}  // namespace jouleprune::cuda::conv
