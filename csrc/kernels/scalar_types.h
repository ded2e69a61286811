// Element types of kernels, and the type that sums of them are kept in. Conversions are always inlined: they are used in files
// compiled for different instruction sets, which must never share an out-of-line copy.
#pragma once
#include <cstdint>

namespace jouleprune::kernels {

/// bfloat16 as bits: the upper half of a float32.
struct BFloat16 {
  uint16_t bits;
};

#if defined(__aarch64__) && !defined(__clang__) && __GNUC__ < 13
using Float16 = __fp16;  // _Float16 is C alone there
#else
using Float16 = _Float16;
#endif

/// IEEE binary16.
struct Half {
  Float16 value;
};

template <class T>
struct AccumulateType {
  using type = float;
};
template <>
struct AccumulateType<double> {
  using type = double;
};
/// float for float, BFloat16 and Half; double for double.
template <class T>
using Accumulate = typename AccumulateType<T>::type;

[[gnu::always_inline]] inline float widen(float x) { return x; }
[[gnu::always_inline]] inline double widen(double x) { return x; }
[[gnu::always_inline]] inline float widen(BFloat16 x) {
  return __builtin_bit_cast(float, static_cast<uint32_t>(x.bits) << 16);
}
[[gnu::always_inline]] inline float widen(Half x) { return static_cast<float>(x.value); }

/// Rounds to nearest, ties to even; NaN stays NaN.
template <class T>
struct Narrow {
  [[gnu::always_inline]] static T from(Accumulate<T> x) { return x; }
};
template <>
struct Narrow<BFloat16> {
  [[gnu::always_inline]] static BFloat16 from(float x) {
    const uint32_t bits = __builtin_bit_cast(uint32_t, x);
    const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    return {static_cast<uint16_t>(x != x ? 0x7fc0u : rounded)};
  }
};
template <>
struct Narrow<Half> {
  [[gnu::always_inline]] static Half from(float x) { return {static_cast<Float16>(x)}; }
};
template <class T>
[[gnu::always_inline]] inline T narrow(Accumulate<T> x) {
  return Narrow<T>::from(x);
}

}  // namespace jouleprune::kernels
