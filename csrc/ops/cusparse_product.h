// Products by cuSPARSE in the CUDA adapters, where the library is found (vendor/cusparse_api.h).
#pragma once
#include <ATen/core/Tensor.h>

#include <string>

#include "ops/cuda_backend.h"
#include "vendor/cusparse_products.h"

namespace jouleprune::ops {

/// Why cuSPARSE cannot multiply in this type: it is not found, or it refused before; empty: it can.
std::string why_no_cusparse(cuda::ElementType type);

/// Runs on the scope's device and stream, with workspace from torch's allocator. Empty, or what the library refused: it is not asked for
/// this type again.
std::string run_cusparse(const cuda::vendor::SparseProduct& product, const at::Tensor& like, const CudaScope& scope);
std::string run_cusparse(const cuda::vendor::SampledProduct& product, const at::Tensor& like, const CudaScope& scope);

}  // namespace jouleprune::ops
