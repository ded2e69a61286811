// Included by one .cu file per element type, which defines the launchers of that type.
#pragma once
#include "conv/conv_bsr_device.h"
#include "conv/conv_bsr_launch.h"
#include "device_run.h"

namespace jouleprune::cuda::conv {

template <class T>
cudaError_t Typed<T>::run(const BsrConv& p, cudaStream_t stream) {
  return launched_as<T>(p, stream);
}
template <class T>
cudaError_t Typed<T>::run(const BsrConvInput& p, cudaStream_t stream) {
  return launched_as<T>(p, stream);
}
template <class T>
cudaError_t Typed<T>::run(const BsrConvBlocks& p, cudaStream_t stream) {
  return launched_as<T>(p, stream);
}

}  // namespace jouleprune::cuda::conv
