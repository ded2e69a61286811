// Activation functions on vectors of sums. Included only by vector_body.h.
#pragma once
#include <math.h>

#include "kernels/activation.h"
#include "kernels/csr/vector.h"

namespace jouleprune::kernels::csr {
namespace {

typedef int32_t IntegerVector __attribute__((vector_size(kVectorBytes)));

/// exp(y - correction) for y <= 0 and a correction below 0.1; 0 where exp(y) is below the smallest normal number.
/// Relative error < 2e-7. NaN becomes some number.
[[gnu::always_inline]] inline Vector<float> exp_negative(Vector<float> y, Vector<float> correction) {
  const Vector<float> lowest = splat<float>(-87.33654f);  // log of the smallest normal number
  const Vector<float> inside = y > lowest ? y : lowest;
  // 2^n exp(r), |r| <= log(2) / 2; adding 1.5 x 2^23 rounds to the nearest integer and leaves it in the low bits.
  const Vector<float> shifter = splat<float>(12582912.0f);
  const Vector<float> shifted = inside * 1.44269504f + shifter;
  const Vector<float> n = shifted - shifter;
  Vector<float> r = inside - n * 0.693359375f;
  r = (r - n * -2.12194440e-4f) - correction;
  Vector<float> p = r * 1.9875691500e-4f + 1.3981999507e-3f;  // coefficients: Cephes expf
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r + 1.0f;
  const IntegerVector exponent = reinterpret_cast<IntegerVector>(shifted) << 23;
  const auto scaled = reinterpret_cast<Vector<float>>(reinterpret_cast<IntegerVector>(p) + exponent);
  return y < lowest ? Vector<float>{} : scaled;
}

[[gnu::always_inline]] inline Vector<float> magnitude(Vector<float> x) {
  return reinterpret_cast<Vector<float>>(reinterpret_cast<IntegerVector>(x) & 0x7fffffff);
}

/// x Phi(x); Phi(-|x|) = erfc(|x| / sqrt(2)) / 2 with a small relative error however far out, so that nothing cancels.
[[gnu::always_inline]] inline Vector<float> gelu(Vector<float> x) {
  const Vector<float> limit = splat<float>(14.0f);  // Phi(-14) is no normal number any more
  Vector<float> a = magnitude(x);
  a = a < limit ? a : limit;
  // a^2 = b^2 + (a - b)(a + b) with b the upper 12 bits of a: b^2 is exact, and the rest small enough to come after.
  const auto b = reinterpret_cast<Vector<float>>(reinterpret_cast<IntegerVector>(a) & ~0xfff);
  const Vector<float> half_square = b * b * 0.5f, rest = (a - b) * (a + b) * 0.5f;
  // exp(z^2) erfc(z) = u Q(u) with u = 1 / (1 + 0.3 z); minimax fit, relative error 2e-8 for z < 10.
  const Vector<float> u = 1.0f / (a * 0.212132034f + 1.0f);
  Vector<float> q = u * -0.1295231431722641f + 0.4855644106864929f;
  q = q * u + -0.5122807621955872f;
  q = q * u + 0.5477232933044434f;
  q = q * u + -0.09465313702821732f;
  q = q * u + 0.21492716670036316f;
  q = q * u + 0.14833885431289673f;
  q = q * u + 0.17071527242660522f;
  q = q * u + 0.1691880077123642f;
  const Vector<float> tail = q * u * exp_negative(-half_square, rest) * 0.5f;
  return x * (x > Vector<float>{} ? 1.0f - tail : tail);
}

/// x / (1 + exp(-x)) by exp(-|x|), which cannot overflow.
[[gnu::always_inline]] inline Vector<float> silu(Vector<float> x) {
  const Vector<float> e = exp_negative(-magnitude(x), Vector<float>{});
  return x * ((x > Vector<float>{} ? splat<float>(1.0f) : e) / (e + 1.0f));
}

[[gnu::always_inline]] inline Vector<double> gelu(Vector<double> x) {
  for (int i = 0; i < kLanes<double>; ++i) {
    x[i] = 0.5 * x[i] * ::erfc(-x[i] * 0.70710678118654752440);
  }
  return x;
}

[[gnu::always_inline]] inline Vector<double> silu(Vector<double> x) {
  for (int i = 0; i < kLanes<double>; ++i) {
    x[i] = x[i] / (1.0 + ::exp(-x[i]));
  }
  return x;
}

template <class A>
[[gnu::always_inline]] inline Vector<A> relu(Vector<A> x) {
  return x < Vector<A>{} ? Vector<A>{} : x;
}

template <class A>
[[gnu::always_inline]] inline Vector<A> activated(Activation activation, Vector<A> x) {
  switch (activation) {
    case Activation::kNone: return x;
    case Activation::kRelu: return relu<A>(x);
    case Activation::kGelu: return gelu(x);
    case Activation::kSilu: return silu(x);
  }
  return x;
}

template <class A>
void activate(Activation activation, A* x, int64_t count) {
  constexpr int kStep = kLanes<A>;
  switch (activation) {
    case Activation::kNone:
      return;
    case Activation::kRelu:
      for (int64_t i = 0; i < count; i += kStep) {
        store(x + i, relu<A>(load(x + i)));
      }
      return;
    case Activation::kGelu:
      for (int64_t i = 0; i < count; i += kStep) {
        store(x + i, gelu(load(x + i)));
      }
      return;
    case Activation::kSilu:
      for (int64_t i = 0; i < count; i += kStep) {
        store(x + i, silu(load(x + i)));
      }
      return;
  }
}

}  // namespace
}  // namespace jouleprune::kernels::csr
