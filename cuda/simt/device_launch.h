// Launches a kernel body on a GPU. Kernel: a struct with Params, kThreads, and run(ctx, params) as a template over the
// context.
#pragma once
#include <cuda_runtime.h>

#include "device.h"

namespace jouleprune::simt {

template <class Kernel>
__global__ void __launch_bounds__(Kernel::kThreads, 1) kernel_entry(const typename Kernel::Params params) {
  const Device ctx;
  Kernel::run(ctx, params);
}

/// The counterpart of host::Launcher: the same launch code runs on either.
struct DeviceLauncher {
  cudaStream_t stream;
  cudaError_t status = cudaSuccess;  // of the first launch that failed

  template <class Kernel>
  void launch(Grid grid, uint32_t shared, const typename Kernel::Params& params) {
    if (status != cudaSuccess || grid.x == 0 || grid.y == 0) {
      return;  // an empty grid is a launch error
    }
    constexpr uint32_t kWithoutAsking = 48 * 1024;
    if (shared > kWithoutAsking) {
      status = cudaFuncSetAttribute(kernel_entry<Kernel>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                    static_cast<int>(shared));
    }
    if (status == cudaSuccess) {
      kernel_entry<Kernel>
          <<<dim3(static_cast<unsigned>(grid.x), static_cast<unsigned>(grid.y)), Kernel::kThreads, shared, stream>>>(
              params);
      status = cudaGetLastError();
    }
  }
};

}  // namespace jouleprune::simt
