// A csr weight as a dense one, by torch's ops on its device: for what has no kernel of its own there.
#pragma once
#include <ATen/core/Tensor.h>

#include "ops/csr_checks.h"

namespace jouleprune::ops {

/// Flat index into the dense weight of each kept entry, int64 [nnz].
at::Tensor places_of(const CsrWeight& weight);
/// [rows, cols]
at::Tensor dense_of(const CsrWeight& weight);

}  // namespace jouleprune::ops
