#include "ops/cuda_machine.h"

#include <c10/cuda/CUDAException.h>
#include <cuda_runtime_api.h>

#include <map>
#include <mutex>

#include "plan/gpu_choice.h"

namespace jouleprune::ops {
namespace {

int attribute(cudaDeviceAttr what, c10::DeviceIndex device) {
  int value = 0;
  C10_CUDA_CHECK(cudaDeviceGetAttribute(&value, what, device));
  return value;
}

}  // namespace

const Gpu& gpu_of_device(c10::DeviceIndex device) {
  static std::mutex mutex;
  static std::map<c10::DeviceIndex, Gpu> known;
  const std::lock_guard lock(mutex);
  if (const auto found = known.find(device); found != known.end()) {
    return found->second;
  }
  // Kilohertz; two transfers per clock of the memory, bits of its bus.
  const double clock = 1e3 * attribute(cudaDevAttrClockRate, device),
               memory_clock = 1e3 * attribute(cudaDevAttrMemoryClockRate, device);
  const double dram = 2 * memory_clock * attribute(cudaDevAttrGlobalMemoryBusWidth, device) / 8;
  const int major = attribute(cudaDevAttrComputeCapabilityMajor, device), minor = attribute(cudaDevAttrComputeCapabilityMinor, device),
            multiprocessors = attribute(cudaDevAttrMultiProcessorCount, device);
  cudaDeviceProp properties{};
  C10_CUDA_CHECK(cudaGetDeviceProperties(&properties, device));
  return known
      .emplace(device, Gpu{cuda::csr::machine_of(major, minor, multiprocessors, clock, dram),
                           plan::gpu_identity(properties.name, major, minor, multiprocessors)})
      .first->second;
}

}  // namespace jouleprune::ops
