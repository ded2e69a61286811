// What a core can do at most, measured: fused multiply-adds on registers alone. Benchmarks tell shares of it.
#pragma once
#include <cstdint>

#include "kernels/isa.h"

namespace jouleprune::kernels::peak {

/// Runs 12 independent chains of fused multiply-adds (latency 4, two a cycle at most: 8 would do) and gives the floating-point
/// operations done.
using Loop = double (*)(int64_t turns);

double loop_portable(int64_t turns);
double loop_avx2(int64_t turns);
double loop_avx512(int64_t turns);

/// Best of several tries of about a millisecond each within `seconds`, in GFLOP/s of float32, on the calling thread. Where the
/// processor lowers its clock for wide vectors the loop sees it as the kernels do.
double fused_multiply_add_gflops(Isa isa, double seconds);

}  // namespace jouleprune::kernels::peak
