// What the other kernels are tested against: one output at a time.
#pragma once
#include "kernels/bsr_int8/bsr_int8_kernels.h"

namespace jouleprune::kernels::bsr_int8::reference {

template <class T>
void linear(const LinearParams<T>& params);

template <class T>
void conv2d(const ConvParams<T>& params);

}  // namespace jouleprune::kernels::bsr_int8::reference
