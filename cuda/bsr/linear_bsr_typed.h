// Included by one .cu file per element type, which defines the launchers of that type.
#pragma once
#include "bsr/linear_bsr_device.h"
#include "bsr/linear_bsr_launch.h"
#include "simt/device_launch.h"

namespace jouleprune::cuda::bsr {
namespace {

template <class T, class Params>
cudaError_t launch_on(const Params& params, cudaStream_t stream) {
  simt::DeviceLauncher launcher{stream};
  launch<T>(launcher, params);
  return launcher.status;
}

}  // namespace

template <class T>
cudaError_t Typed<T>::run(const Linear& p, cudaStream_t stream) {
  return launch_on<T>(p, stream);
}
template <class T>
cudaError_t Typed<T>::run(const LinearInput& p, cudaStream_t stream) {
  return launch_on<T>(p, stream);
}
template <class T>
cudaError_t Typed<T>::run(const LinearBlocks& p, cudaStream_t stream) {
  return launch_on<T>(p, stream);
}

}  // namespace jouleprune::cuda::bsr
