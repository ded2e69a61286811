// Counts zeros by reading memory, not by an op: nothing is dispatched, allocated or drawn from a generator.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

namespace jouleprune::record {

/// True when the elements can be read: a strided tensor with memory behind it, not fake, meta, sparse or quantized.
bool has_data(const at::Tensor& tensor);

/// Elements that are not zero; -0.0 is zero, NaN is not. Needs has_data(); types without a zero test count as dense.
int64_t count_nonzero(const at::Tensor& tensor);

}  // namespace jouleprune::record
