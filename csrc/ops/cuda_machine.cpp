#include "ops/cuda_machine.h"

#include <c10/cuda/CUDAException.h>
#include <cuda_runtime_api.h>

#include <map>
#include <mutex>

namespace jouleprune::ops {
namespace {

int attribute(cudaDeviceAttr what, c10::DeviceIndex device) {
  int value = 0;
  C10_CUDA_CHECK(cudaDeviceGetAttribute(&value, what, device));
  return value;
}

}  // namespace

const cuda::csr::Machine& machine_of_device(c10::DeviceIndex device) {
  static std::mutex mutex;
  static std::map<c10::DeviceIndex, cuda::csr::Machine> known;
  const std::lock_guard lock(mutex);
  if (const auto found = known.find(device); found != known.end()) {
    return found->second;
  }
  // Kilohertz; two transfers per clock of the memory, bits of its bus.
  const double clock = 1e3 * attribute(cudaDevAttrClockRate, device),
               memory_clock = 1e3 * attribute(cudaDevAttrMemoryClockRate, device);
  const double dram = 2 * memory_clock * attribute(cudaDevAttrGlobalMemoryBusWidth, device) / 8;
  return known
      .emplace(device, cuda::csr::machine_of(attribute(cudaDevAttrComputeCapabilityMajor, device),
                                             attribute(cudaDevAttrComputeCapabilityMinor, device),
                                             attribute(cudaDevAttrMultiProcessorCount, device), clock, dram))
      .first->second;
}

}  // namespace jouleprune::ops
