// Rates of a GPU, as its driver tells them.
#pragma once
#include <c10/core/Device.h>

#include <string>

#include "csr/choice.h"

namespace jouleprune::ops {

struct Gpu {
  cuda::csr::Machine machine;
  std::string identity;  ///< plan::gpu_identity
};

/// Asked once per device.
const Gpu& gpu_of_device(c10::DeviceIndex device);

}  // namespace jouleprune::ops
