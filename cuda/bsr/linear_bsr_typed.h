// Included by one .cu file per element type, which defines the launchers of that type.
#pragma once
#include "bsr/linear_bsr_device.h"
#include "bsr/linear_bsr_launch.h"
#include "device_run.h"

namespace jouleprune::cuda::bsr {

template <class T>
cudaError_t Typed<T>::run(const Linear& p, cudaStream_t stream) {
  return launched_as<T>(p, stream);
}
template <class T>
cudaError_t Typed<T>::run(const LinearInput& p, cudaStream_t stream) {
  return launched_as<T>(p, stream);
}
template <class T>
cudaError_t Typed<T>::run(const LinearBlocks& p, cudaStream_t stream) {
  return launched_as<T>(p, stream);
}

}  // namespace jouleprune::cuda::bsr
