// Linear over strips of rows (strip_kernels.h).
#pragma once
#include "kernels/bsr/bsr_kernels.h"
#include "kernels/bsr/strip_form.h"

namespace jouleprune::kernels::bsr {

/// linear(), or with Side::kTransposed linear_backward_input(); requires has_strips and an instruction set other than kReference.
template <class T>
void linear_strips(const LinearParams<T>& params, Side side, const ParallelFor& parallel, Isa isa);

}  // namespace jouleprune::kernels::bsr
