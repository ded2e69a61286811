// From the parameters of an op to its launches on a GPU: launch<T>(launcher, params), found beside the parameters' type.
#pragma once
#include "element_type.h"
#include "simt/device_launch.h"

namespace jouleprune::cuda {

template <class T, class Params>
cudaError_t launched_as(const Params& params, cudaStream_t stream) {
  simt::DeviceLauncher launcher{stream};
  launch<T>(launcher, params);
  return launcher.status;
}

/// Of the element type that they name.
template <class Params>
cudaError_t launched(const Params& params, cudaStream_t stream) {
  return with_type(params.type, [&](auto element) { return launched_as<decltype(element)>(params, stream); });
}

}  // namespace jouleprune::cuda
