// torch's threads for the torch-free kernels.
#pragma once
#include "kernels/parallel.h"

namespace jouleprune::ops {

/// at::parallel_for: torch.set_num_threads holds, and nested calls run on the calling thread.
const kernels::ParallelFor& torch_threads();

}  // namespace jouleprune::ops
