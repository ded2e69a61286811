// Linear with 1 to 8 batch rows: bound by how fast the weight streams in, so each kernel reads few bytes per kept weight.
#pragma once
#include <optional>

#include "kernels/csr/csr_kernels.h"
#include "kernels/csr/small/choice.h"
#include "kernels/csr/small/kernels.h"

namespace jouleprune::kernels::csr::small {

/// Whether an instruction set has the kernel for this element type.
template <class T>
bool has_kernel(SmallKernel kernel, Isa isa);

/// linear() for params.n <= kMaxBatch and any isa but the reference; `kernel`: instead of the chosen one.
template <class T>
void linear(const LinearParams<T>& params, const ParallelFor& parallel, Isa isa, std::optional<SmallKernel> kernel = {});

}  // namespace jouleprune::kernels::csr::small
