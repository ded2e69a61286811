// Denormal numbers cost up to 150 cycles per multiply-add where hardware leaves them to microcode, and weights close to pruning are
// full of them. Kernels therefore flush them: weights when they are packed, activations and results by the processor's own mode,
// set inside the bodies that threads run and put back after.
#pragma once
#include <cmath>
#include <cstdint>
#include <limits>
#if defined(__SSE2__)
#include <xmmintrin.h>
#endif

namespace jouleprune::kernels {

/// While it lives, this thread reads and writes denormal float and double numbers as 0.
class FlushDenormals {
 public:
#if defined(__SSE2__)
  FlushDenormals() : before_(_mm_getcsr()) { _mm_setcsr(before_ | 0x8040u); }  // flush to zero, denormals are zero
  ~FlushDenormals() { _mm_setcsr(before_); }
#elif defined(__aarch64__)
  FlushDenormals() : before_(read()) { write(before_ | uint64_t{1} << 24); }  // FPCR.FZ
  ~FlushDenormals() { write(before_); }
#else
  FlushDenormals() = default;
#endif
  FlushDenormals(const FlushDenormals&) = delete;
  FlushDenormals& operator=(const FlushDenormals&) = delete;

 private:
#if defined(__SSE2__)
  unsigned before_;
#elif defined(__aarch64__)
  static uint64_t read() {
    uint64_t value = 0;
    __asm__ volatile("mrs %0, fpcr" : "=r"(value));
    return value;
  }
  static void write(uint64_t value) { __asm__ volatile("msr fpcr, %0" : : "r"(value)); }
  uint64_t before_;
#endif
};

/// The value, or 0 for a denormal one. By magnitude: a branch on the sign of weights is mispredicted every other time.
template <class A>
[[gnu::always_inline]] inline A flushed(A value) {
  return std::abs(value) < std::numeric_limits<A>::min() ? A{0} : value;
}

}  // namespace jouleprune::kernels
