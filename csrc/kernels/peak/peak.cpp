#include "kernels/peak/peak.h"

#include <algorithm>
#include <chrono>

#include "kernels/peak/peak_body.h"

namespace jouleprune::kernels::peak {
namespace {

Loop loop_of(Isa isa) {
#if defined(__x86_64__)
  if (isa == Isa::kAvx512) return loop_avx512;
  if (isa == Isa::kAvx2) return loop_avx2;
#endif
  return loop_portable;
}

}  // namespace

double loop_portable(int64_t turns) { return multiply_adds<16>(turns); }

double fused_multiply_add_gflops(Isa isa, double seconds) {
  using Clock = std::chrono::steady_clock;
  const Loop loop = loop_of(isa);
  constexpr int64_t kTurns = 200'000;
  const Clock::time_point begun = Clock::now();
  double best = 0;
  do {
    const Clock::time_point start = Clock::now();
    const double operations = loop(kTurns);
    const double took = std::chrono::duration<double>(Clock::now() - start).count();
    best = std::max(best, operations / took * 1e-9);
  } while (std::chrono::duration<double>(Clock::now() - begun).count() < seconds);
  return best;
}

}  // namespace jouleprune::kernels::peak
