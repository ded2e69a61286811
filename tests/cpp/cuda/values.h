// Arrays of element types for the emulated kernels: aligned, random, compared within rounding.
#pragma once
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <random>

#include "simt/elements.h"

namespace jouleprune::cuda {

/// As device memory comes: aligned to 256 bytes. Begins as NaN patterns.
template <class T>
class Array {
 public:
  explicit Array(int64_t size = 0) : size_(size), data_(allocate(size)) {}
  T* data() { return data_.get(); }
  const T* data() const { return data_.get(); }
  size_t bytes() const { return static_cast<size_t>(size_) * sizeof(T); }
  int64_t size() const { return size_; }
  T& operator[](int64_t i) { return data_.get()[i]; }
  const T& operator[](int64_t i) const { return data_.get()[i]; }

 private:
  struct Free {
    void operator()(T* data) const { std::free(data); }
  };
  static T* allocate(int64_t size) {
    const size_t bytes = (static_cast<size_t>(size) * sizeof(T) / 256 + 1) * 256;
    auto* data = static_cast<T*>(std::aligned_alloc(256, bytes));
    std::memset(static_cast<void*>(data), 0xff, bytes);
    return data;
  }
  int64_t size_;
  std::unique_ptr<T, Free> data_;
};

template <class T>
T from_double(double x) {
  return simt::narrow<T>(static_cast<simt::SumOf<T>>(x));
}
template <class T>
T not_a_number() {
  return from_double<T>(std::numeric_limits<double>::quiet_NaN());
}

template <class T>
Array<T> random_values(std::mt19937_64& random, int64_t size) {
  std::normal_distribution<double> normal;
  Array<T> values(size);
  for (int64_t i = 0; i < size; ++i) {
    values[i] = from_double<T>(normal(random));
  }
  return values;
}

/// Half a unit in the last place, relative.
template <class T>
inline constexpr double kRounding = 0x1p-24;
template <>
inline constexpr double kRounding<double> = 0x1p-53;
template <>
inline constexpr double kRounding<simt::Half> = 0x1p-11;
template <>
inline constexpr double kRounding<simt::BFloat16> = 0x1p-8;

/// What rounding explains: of the sums (of terms whose magnitudes add up to `size`; a thousand additions at most), of
/// the result, and of intermediate results where a residual is added.
template <class T>
double tolerance(double expected, double size, bool rounded_between) {
  const double sums = 64 * kRounding<simt::SumOf<T>> * (size + 1);
  const double results = kRounding<T> * (std::abs(expected) * 1.01 + (rounded_between ? 3 * (size + 1) : 0.0));
  return sums + results + 0x1p-25;  // the last: half of the smallest half-precision step
}

}  // namespace jouleprune::cuda
