// Rates of a GPU, as its driver tells them.
#pragma once
#include <c10/core/Device.h>

#include "csr/choice.h"

namespace jouleprune::ops {

/// Asked once per device.
const cuda::csr::Machine& machine_of_device(c10::DeviceIndex device);

}  // namespace jouleprune::ops
