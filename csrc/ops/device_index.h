// What the CUDA kernels derive from the structure of a bsr weight: made on the host when a structure is first seen,
// kept on its device.
#pragma once
#include <ATen/core/Tensor.h>

#include <memory>

#include "bsr/linear_bsr.h"
#include "ops/bsr_checks.h"

namespace jouleprune::ops {

/// The transposed index (cuda/bsr/index.h) and the length of the longest block row.
struct DeviceIndex {
  at::Tensor offsets, places, sources;
  int64_t longest = 0;

  cuda::bsr::Transposed view() const;
};

/// Kept (device_forms.h); copies the structure to the host when it is new, which waits for the device.
std::shared_ptr<const DeviceIndex> device_index(const BsrWeight& weight);

/// The weight as launchers take it; borrows from its arguments.
cuda::bsr::Weight launch_weight(const BsrWeight& weight, const DeviceIndex& index, const at::Tensor& like);
/// `longest`: most blocks of a block row; used by gradients of the blocks alone.
cuda::bsr::Weight launch_weight(const BsrWeight& weight, int64_t longest, const at::Tensor& like);

}  // namespace jouleprune::ops
