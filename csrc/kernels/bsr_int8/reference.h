// What the other kernels are tested against: one output at a time.
#pragma once
#include "kernels/bsr_int8/bsr_int8_kernels.h"

namespace jouleprune::kernels::bsr_int8::reference {

void quantise(const QuantiseParams& params);

template <class In, class Out>
void linear(const LinearParams<In, Out>& params);

template <class In, class Out>
void conv2d(const ConvParams<In, Out>& params);

}  // namespace jouleprune::kernels::bsr_int8::reference
