// The products of linear_csr on the CPU, for other layouts whose weights are read as csr ones. `op` opens messages.
#pragma once
#include <string_view>

#include "ops/signatures.h"

namespace jouleprune::ops {

Tensor multiply_csr(const char* op, const Tensor& input, const Tensor& values, const Tensor& col_indices, const Tensor& row_offsets,
                    const Tensor& key, const OptionalTensor& prepacked, const OptionalTensor& bias, int64_t in_features,
                    std::string_view activation, const OptionalTensor& residual = std::nullopt);
Tensor csr_gradient_of_input(const char* op, const Tensor& grad_output, const Tensor& values, const Tensor& col_indices,
                             const Tensor& row_offsets, const Tensor& key, int64_t in_features);
Tensor csr_gradient_of_values(const char* op, const Tensor& grad_output, const Tensor& input, const Tensor& col_indices,
                              const Tensor& row_offsets, const Tensor& key, int64_t in_features);

}  // namespace jouleprune::ops
