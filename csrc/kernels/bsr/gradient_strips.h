// The gradient of the blocks over strips of rows (strip_kernels.h).
#pragma once
#include "kernels/bsr/bsr_kernels.h"

namespace jouleprune::kernels::bsr {

/// linear_backward_blocks(); requires has_strips for Side::kForward and an instruction set other than kReference.
template <class T>
void gradient_strips(const LinearBlocksParams<T>& params, const ParallelFor& parallel, Isa isa);

}  // namespace jouleprune::kernels::bsr
