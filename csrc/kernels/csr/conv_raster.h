// Convolution straight on padded planes (raster.h): no matrix of input patches is made. Sums start from the bias and run over
// blocks of columns in ascending order; a result does not depend on how the work was split.
#pragma once
#include "kernels/csr/conv_plan.h"
#include "kernels/csr/csr_kernels.h"

namespace jouleprune::kernels::csr {

/// As conv2d(), with a given plan. params.shape has pixels, rows and columns.
template <class T>
void conv2d_raster(const ConvParams<T>& params, const ConvPlan& plan, const ParallelFor& parallel, Isa isa);

/// What plan_conv() needs to know.
template <class T>
ConvMachine conv_machine(const ConvParams<T>& params, Isa isa);

}  // namespace jouleprune::kernels::csr
