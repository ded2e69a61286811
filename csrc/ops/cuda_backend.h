// Where the CUDA adapters run their kernels. The same adapters are built once more by the tests, as a library that runs
// the kernels' bodies in the emulator on CPU tensors: JOULEPRUNE_EMULATED names the header that has these members for
// it.
#pragma once
#if defined(JOULEPRUNE_EMULATED)
#include JOULEPRUNE_EMULATED
#else
#include <ATen/core/Tensor.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include "bsr/linear_bsr_device.h"
#include "conv/conv_bsr_device.h"
#include "conv/conv_csr_device.h"
#include "csr/choice.h"
#include "csr/linear_csr_device.h"
#include "masks/masks_device.h"
#include "ops/cuda_machine.h"

#define JOULEPRUNE_CUDA_KEY CUDA

namespace jouleprune::ops {

/// While it lives, kernels are launched on the device of a tensor, on the stream that is current there.
class CudaScope {
 public:
  explicit CudaScope(const at::Tensor& tensor) : guard_(tensor.device()) {}

  template <class Params>
  void run(const Params& params) const {
    C10_CUDA_CHECK(launched(params, c10::cuda::getCurrentCUDAStream().stream()));
  }
  void synchronize() const { c10::cuda::getCurrentCUDAStream().synchronize(); }
  const cuda::csr::Machine& machine() const { return machine_of_device(guard_.current_device().index()); }

 private:
  template <class Params>
  static cudaError_t launched(const Params& params, cudaStream_t stream) {
    using cuda::bsr::run, cuda::conv::run, cuda::csr::run, cuda::masks::run;
    return run(params, stream);
  }

  c10::cuda::CUDAGuard guard_;
};

}  // namespace jouleprune::ops
#endif
