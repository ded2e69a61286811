// Products for a few batch rows, see small_kernels.h.
#pragma once
#include "kernels/bsr_int8/bsr_int8_kernels.h"

namespace jouleprune::kernels::bsr_int8 {

/// Whether linear_small takes this batch here.
bool small_batch_serves(int64_t n, Isa isa);

template <class In, class Out>
void linear_small(const LinearParams<In, Out>& params, const ParallelFor& parallel);

}  // namespace jouleprune::kernels::bsr_int8
