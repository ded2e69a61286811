// Launchers of linear_csr and its gradients on a GPU.
#pragma once
#include <cuda_runtime_api.h>

#include "csr/linear_csr.h"

namespace jouleprune::cuda::csr {

cudaError_t run(const Linear& params, cudaStream_t stream);
cudaError_t run(const Pack& params, cudaStream_t stream);
cudaError_t run(const LinearTiles& params, cudaStream_t stream);  // float16 and bfloat16
cudaError_t run(const LinearValues& params, cudaStream_t stream);
cudaError_t run(const LinearMasked& params, cudaStream_t stream);  // float16 and bfloat16

}  // namespace jouleprune::cuda::csr
