// What the CUDA kernels derive from the structure of a convolution's bsr weight: made on the host when a structure is first seen with a
// geometry, kept on its device.
#pragma once
#include <ATen/core/Tensor.h>

#include <memory>

#include "conv/conv_bsr.h"
#include "ops/conv2d_bsr_checks.h"

namespace jouleprune::ops {

/// Where the weight's blocks read (cuda/conv/windows.h).
struct DeviceWindows {
  at::Tensor windows;  // int32 [places, 4]
  int64_t longest = 0;

  const cuda::conv::Window* data() const;
};
std::shared_ptr<const DeviceWindows> device_windows(const ConvBsr& conv);

/// The same of its transpose, and that transpose's lists.
struct DeviceTransposedWindows {
  at::Tensor windows, offsets, places, sources;

  const cuda::conv::Window* data() const;
  cuda::bsr::Transposed view() const;
};
std::shared_ptr<const DeviceTransposedWindows> device_transposed_windows(const ConvBsr& conv);

}  // namespace jouleprune::ops
