// Launchers of linear_bsr and its gradients on a GPU.
#pragma once
#include <cuda_runtime_api.h>

#include "bsr/linear_bsr.h"

namespace jouleprune::cuda::bsr {

cudaError_t run(const Linear& params, cudaStream_t stream);
cudaError_t run(const LinearInput& params, cudaStream_t stream);
cudaError_t run(const LinearBlocks& params, cudaStream_t stream);

/// The same for one element type, each in a file of its own: they compile side by side.
template <class T>
struct Typed {
  static cudaError_t run(const Linear& params, cudaStream_t stream);
  static cudaError_t run(const LinearInput& params, cudaStream_t stream);
  static cudaError_t run(const LinearBlocks& params, cudaStream_t stream);
};

}  // namespace jouleprune::cuda::bsr
