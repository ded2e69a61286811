// 16-bit element types as bits, with the same conversions on the device and on the host: round to nearest, ties to
// even; NaN stays NaN.
#pragma once
#include "platform.h"

#if defined(__CUDACC__)
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#else
#include <bit>
#endif

namespace jouleprune::simt {

/// IEEE binary16.
struct Half {
  uint16_t bits;
};
/// The upper half of a float32.
struct BFloat16 {
  uint16_t bits;
};

#if defined(__CUDACC__)
JP_BODY float widen(Half x) { return __half2float(__ushort_as_half(x.bits)); }
JP_BODY float widen(BFloat16 x) { return __bfloat162float(__ushort_as_bfloat16(x.bits)); }
#else
#if defined(__aarch64__) && !defined(__clang__) && __GNUC__ < 13
using HostHalf = __fp16;  // _Float16 is C alone there
#else
using HostHalf = _Float16;
#endif
inline float widen(Half x) { return static_cast<float>(std::bit_cast<HostHalf>(x.bits)); }
inline float widen(BFloat16 x) { return std::bit_cast<float>(static_cast<uint32_t>(x.bits) << 16); }
#endif
JP_BODY float widen(float x) { return x; }
JP_BODY double widen(double x) { return x; }

template <class T>
struct Element {  // float and double: sums have the type of the elements
  using Sum = T;
  static JP_BODY T narrow(T x) { return x; }
};
template <>
struct Element<Half> {
  using Sum = float;
  static JP_BODY Half narrow(float x) {
#if defined(__CUDACC__)
    return {__half_as_ushort(__float2half_rn(x))};
#else
    return {std::bit_cast<uint16_t>(static_cast<HostHalf>(x))};
#endif
  }
};
template <>
struct Element<BFloat16> {
  using Sum = float;
  static JP_BODY BFloat16 narrow(float x) {
#if defined(__CUDACC__)
    return {__bfloat16_as_ushort(__float2bfloat16_rn(x))};
#else
    const auto bits = std::bit_cast<uint32_t>(x);
    return {static_cast<uint16_t>(x != x ? 0x7fffu : (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16)};
#endif
  }
};

/// float for 16-bit types and float; double for double.
template <class T>
using SumOf = typename Element<T>::Sum;

template <class T>
JP_BODY T narrow(SumOf<T> x) {
  return Element<T>::narrow(x);
}

}  // namespace jouleprune::simt
