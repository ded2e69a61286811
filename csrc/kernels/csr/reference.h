// The products of csr_kernels.h as loops one believes at sight: double sums, one thread, no blocking.
#pragma once
#include "kernels/csr/csr_kernels.h"

namespace jouleprune::kernels::csr::reference {

template <class T>
void linear(const LinearParams<T>& params);
template <class T>
void linear_backward_input(const LinearParams<T>& params);
template <class T>
void linear_backward_values(const LinearValuesParams<T>& params);
template <class T>
void conv2d(const ConvParams<T>& params);
template <class T>
void conv2d_backward_input(const ConvParams<T>& params);
template <class T>
void conv2d_backward_values(const ConvValuesParams<T>& params);

}  // namespace jouleprune::kernels::csr::reference
