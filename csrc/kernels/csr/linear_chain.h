// Linear layers one after the other, over generated code: between them the batch stays as the code reads and writes it, [column][16
// batch rows]. What is saved is a transpose out, one in, and the way to memory.
#pragma once
#include <span>

#include "kernels/csr/csr_kernels.h"

namespace jouleprune::kernels::csr {

/// layers.back().output = linear of it(... linear of the first(layers.front().input)); the same bits as linear() called for each.
/// A layer's columns are the rows of the one before; `n` is the same for all; inputs and outputs between are not looked at, and
/// there are no residuals. Requires n > 8 and has_linear_code<float>(isa).
void linear_chain(std::span<const LinearParams<float>> layers, const ParallelFor& parallel, Isa isa);

}  // namespace jouleprune::kernels::csr
