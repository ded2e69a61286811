// The products of bsr_kernels.h as loops one believes at sight: double sums, one thread, no blocking.
#pragma once
#include "kernels/bsr/bsr_kernels.h"

namespace jouleprune::kernels::bsr::reference {

template <class T>
void linear(const LinearParams<T>& params);
template <class T>
void linear_backward_input(const LinearParams<T>& params);
template <class T>
void linear_backward_blocks(const LinearBlocksParams<T>& params);

}  // namespace jouleprune::kernels::bsr::reference
