// Launchers of conv2d_bsr and its gradients on a GPU.
#pragma once
#include <cuda_runtime_api.h>

#include "conv/conv_bsr.h"

namespace jouleprune::cuda::conv {

cudaError_t run(const BsrConv& params, cudaStream_t stream);
cudaError_t run(const BsrConvInput& params, cudaStream_t stream);
cudaError_t run(const BsrConvBlocks& params, cudaStream_t stream);

/// The same for one element type, each in a file of its own: they compile side by side.
template <class T>
struct Typed {
  static cudaError_t run(const BsrConv& params, cudaStream_t stream);
  static cudaError_t run(const BsrConvInput& params, cudaStream_t stream);
  static cudaError_t run(const BsrConvBlocks& params, cudaStream_t stream);
};

}  // namespace jouleprune::cuda::conv
