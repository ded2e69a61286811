// The loop, compiled once per instruction set.
#pragma once
#include <cstdint>

namespace jouleprune::kernels::peak {
namespace {

constexpr int kChains = 12;

template <int bytes>
double multiply_adds(int64_t turns) {
  typedef float Vector __attribute__((vector_size(bytes)));
  Vector sums[kChains] = {};
  volatile float given[2] = {0.75f, 0.25f};  // unknown to the compiler; the sums go to 1: no denormals, no infinity
  const Vector factor = Vector{} + given[0], addend = Vector{} + given[1];
  for (int64_t turn = 0; turn < turns; ++turn) {
    for (Vector& sum : sums) {
      sum = sum * factor + addend;
#if defined(__aarch64__)
      asm volatile("" : "+w"(sum));  // neither removed nor moved
#else
      asm volatile("" : "+v"(sum));
#endif
    }
  }
  return 2.0 * kChains * (bytes / 4) * static_cast<double>(turns);
}

}  // namespace
}  // namespace jouleprune::kernels::peak
