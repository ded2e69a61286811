// CudaScope of a library that runs the bodies of the CUDA kernels in the emulator, on CPU tensors
// (csrc/ops/cuda_backend.h). What the emulator finds wrong is an error of the op.
#pragma once
#include <ATen/core/Tensor.h>
#include <c10/util/Exception.h>

#include <string>

#include "bsr/linear_bsr.h"
#include "conv/conv_bsr.h"
#include "conv/conv_csr.h"
#include "csr/choice.h"
#include "csr/linear_csr.h"
#include "masks/masks.h"
#include "masks/smallest.h"

#define JOULEPRUNE_CUDA_KEY CPU

namespace jouleprune::emulated {

/// Each returns what the emulator found wrong, or an empty text.
std::string run(const cuda::bsr::Linear& params);
std::string run(const cuda::bsr::LinearInput& params);
std::string run(const cuda::bsr::LinearBlocks& params);
std::string run(const cuda::csr::Linear& params);
std::string run(const cuda::csr::Pack& params);
std::string run(const cuda::csr::LinearTiles& params);
std::string run(const cuda::csr::LinearValues& params);
std::string run(const cuda::csr::LinearMasked& params);
std::string run(const cuda::conv::BsrConv& params);
std::string run(const cuda::conv::BsrConvInput& params);
std::string run(const cuda::conv::BsrConvBlocks& params);
std::string run(const cuda::conv::Conv& params);
std::string run(const cuda::conv::ConvGradInput& params);
std::string run(const cuda::conv::ConvGradValues& params);
std::string run(const cuda::masks::Apply& params);
std::string run(const cuda::masks::SmallestParams& params);

/// How many launches were emulated so far: tests see that the ops came here.
uint64_t runs();

}  // namespace jouleprune::emulated

namespace jouleprune::ops {

class CudaScope {
 public:
  explicit CudaScope(const at::Tensor&) {}

  template <class Params>
  void run(const Params& params) const {
    const auto problems = emulated::run(params);
    TORCH_CHECK(problems.empty(), "emulated kernel: ", problems);
  }
  void synchronize() const {}
  /// About an A100's.
  const cuda::csr::Machine& machine() const {
    static const auto machine = cuda::csr::machine_of(8, 0, 108, 1.41e9, 1.9e12);
    return machine;
  }
};

}  // namespace jouleprune::ops
