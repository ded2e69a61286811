// The only file compiled with -fopenmp: at::parallel_for is serial without it. It is a compile option alone; the OpenMP runtime is
// the one that torch brings, never a second one.
#include "ops/parallel.h"

#include <ATen/Parallel.h>

namespace jouleprune::ops {

const kernels::ParallelFor& torch_threads() {
  static const kernels::ParallelFor threads = [](int64_t begin, int64_t end, int64_t grain, const kernels::ParallelBody& body) {
    at::parallel_for(begin, end, grain, body);
  };
  return threads;
}

}  // namespace jouleprune::ops
