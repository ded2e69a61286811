// Products with 2:4 weights of 16-bit types by cuSPARSELt, through torch's ops for it: their build knows the library, its versions and where
// it lies. Whether there is one is found at run time.
#pragma once
#include <ATen/core/Tensor.h>

#include <functional>

#include "formats/nm.h"

namespace jouleprune::ops {

/// Whether the library serves the shape and is expected to gain: sizes that its instructions divide, many batch rows, a large weight.
/// JOULEPRUNE_CUDA_NM: "cusparselt" takes it wherever it serves, "own" never.
bool wants_cusparselt(const formats::NmShape& shape, at::ScalarType dtype, int64_t n);

/// What the library makes of the weight [rows, cols], in an order that is its own secret; undefined where there is none, or where it refused
/// before.
at::Tensor compressed_by_cusparselt(const std::function<at::Tensor()>& weight);

/// rows [n, cols] W^T + bias; undefined where the library refuses, which is remembered.
at::Tensor cusparselt_product(const at::Tensor& compressed, const at::Tensor& rows, const at::Tensor& bias);

}  // namespace jouleprune::ops
