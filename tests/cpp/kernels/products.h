// What the kernel tests share. Every op of layout csr is out[o] = sum of a[i] b[j] over a list of triples (o, i, j): the list is made
// by plain loops, summed exactly enough (long double), and once more in the kernels' own precision in reverse order, which tells how
// much error a mere change of order makes.
#pragma once
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

#include "effort.h"
#include "kernels/csr/csr_kernels.h"

namespace jouleprune::kernels::csr::testing {

/// Splits each range over real threads, whatever the grain.
inline ParallelFor threads(int count) {
  return [count](int64_t begin, int64_t end, int64_t, const ParallelBody& body) {
    std::vector<std::thread> running;
    for (int t = 0; t < count; ++t) {
      const int64_t first = begin + (end - begin) * t / count, last = begin + (end - begin) * (t + 1) / count;
      if (first < last && t + 1 < count) {
        running.emplace_back([&body, first, last] { body(first, last); });
      } else if (first < last) {
        body(first, last);
      }
    }
    for (auto& thread : running) {
      thread.join();
    }
  };
}

template <class T>
constexpr double kRounding = std::numeric_limits<T>::epsilon();
template <>
inline constexpr double kRounding<BFloat16> = 1.0 / 128;
template <>
inline constexpr double kRounding<Half> = 1.0 / 1024;

template <class T>
std::vector<T> random_vector(int64_t size, std::mt19937& random) {
  std::uniform_real_distribution<double> uniform(-1, 1);
  std::vector<T> out;
  for (int64_t i = 0; i < size; ++i) {
    out.push_back(narrow<T>(static_cast<Accumulate<T>>(uniform(random))));
  }
  return out;
}

using jouleprune::test::random_cases;

struct Structure {
  int64_t rows = 0, cols = 0;
  std::vector<int32_t> col_indices, row_offsets = {0};

  formats::CsrView view() const {
    return {rows, cols, static_cast<int64_t>(col_indices.size()), col_indices.data(), row_offsets.data()};
  }
};

/// Each third row is empty; the others keep each entry with probability `density`.
inline Structure random_structure(int64_t rows, int64_t cols, double density, std::mt19937& random) {
  std::bernoulli_distribution keep(density);
  Structure out{rows, cols, {}, {0}};
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < cols; ++c) {
      if (r % 3 != 1 && keep(random)) {
        out.col_indices.push_back(static_cast<int32_t>(c));
      }
    }
    out.row_offsets.push_back(static_cast<int32_t>(out.col_indices.size()));
  }
  return out;
}

template <class Real>
Real activated(Real x, Activation activation) {
  switch (activation) {
    case Activation::kNone: return x;
    case Activation::kRelu: return x < 0 ? 0 : x;
    case Activation::kGelu: return x / 2 * std::erfc(-x / std::sqrt(Real{2}));
    case Activation::kSilu: return x / (1 + std::exp(-x));
  }
  return x;
}

inline Activation random_activation(std::mt19937& random) { return static_cast<Activation>(random() % 4); }

struct Triple {
  int64_t out, a, b;
};

template <class T>
struct Expected {
  std::vector<double> exact;
  /// 2 x the error of the reordered sums, and a floor: one rounding of the largest sum or result to T, and one, in the precision
  /// of the sums, of the largest sum of magnitudes (a few short sums may happen to have no error at all in one order). With GELU or
  /// SiLU also what test_activations.cpp allows these functions themselves.
  double tolerance = 0;
};

/// `start`: what each sum begins with, or empty.
template <class T>
Expected<T> expect_products(int64_t size, const std::vector<Triple>& triples, const std::vector<T>& a, const std::vector<T>& b,
                            const std::vector<double>& start, Activation activation = Activation::kNone) {
  using A = Accumulate<T>;
  const auto count = static_cast<size_t>(size);
  std::vector<long double> exact(start.begin(), start.end());
  std::vector<double> magnitude(count, 0);
  std::vector<A> reordered(count, A{0});
  exact.resize(count, 0);
  for (const auto& t : triples) {
    const long double product = static_cast<long double>(widen(a[t.a])) * widen(b[t.b]);
    exact[t.out] += product;
    magnitude[t.out] += std::abs(static_cast<double>(product));
  }
  for (auto t = triples.rbegin(); t != triples.rend(); ++t) {
    reordered[t->out] += widen(a[t->a]) * widen(b[t->b]);
  }
  Expected<T> expected;
  double error = 0, largest = 0, largest_magnitude = 0;
  for (size_t i = 0; i < count; ++i) {
    const A sum = static_cast<A>(activated<double>(reordered[i] + static_cast<A>(start.empty() ? 0 : start[i]), activation));
    largest = std::max(largest, static_cast<double>(std::abs(exact[i])));
    exact[i] = activated(exact[i], activation);
    error = std::max(error, static_cast<double>(std::abs(widen(narrow<T>(sum)) - exact[i])));
    largest = std::max(largest, static_cast<double>(std::abs(exact[i])));
    largest_magnitude = std::max(largest_magnitude, magnitude[i]);
    expected.exact.push_back(static_cast<double>(exact[i]));
  }
  const bool curved = activation == Activation::kGelu || activation == Activation::kSilu;
  expected.tolerance = 2 * error + kRounding<T> * largest + kRounding<A> * (largest_magnitude + (curved ? 5 * largest : 0));
  return expected;
}

template <class T>
void expect_near(const Expected<T>& expected, const std::vector<T>& got, const std::string& what) {
  ASSERT_EQ(expected.exact.size(), got.size()) << what;
  for (size_t i = 0; i < got.size(); ++i) {
    ASSERT_NEAR(static_cast<double>(widen(got[i])), expected.exact[i], expected.tolerance) << what << " element " << i;
  }
}

/// Calls run(parallel) -> std::vector<T> for 1 to 3 threads, which must agree to the bit.
template <class T, class Run>
void expect_with_threads(const Expected<T>& expected, const std::string& where, const Run& run) {
  const std::vector<T> one = run(serial);
  expect_near(expected, one, where);
  for (int count = 2; count <= 3; ++count) {
    const std::vector<T> more = run(threads(count));
    ASSERT_TRUE(one.empty() || std::memcmp(one.data(), more.data(), one.size() * sizeof(T)) == 0)
        << where << " with " << count << " threads";
  }
}

/// The same for run(isa, parallel) and each instruction set.
template <class T, class Run>
void expect_on_every_isa(const Expected<T>& expected, const std::string& what, const Run& run) {
  for (const Isa isa : supported_isas()) {
    expect_with_threads(expected, what + " on " + isa_name(isa), [&](const ParallelFor& parallel) { return run(isa, parallel); });
  }
}

/// All that have vector kernels.
inline std::vector<Isa> vector_isas() {
  auto isas = supported_isas();
  isas.erase(isas.begin());  // the reference
  return isas;
}

/// What results are filled with before a kernel runs: an element that is not written shows.
template <class T>
std::vector<T> unwritten(int64_t size) {
  return std::vector<T>(static_cast<size_t>(size), narrow<T>(std::numeric_limits<Accumulate<T>>::quiet_NaN()));
}

}  // namespace jouleprune::kernels::csr::testing
