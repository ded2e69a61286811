// Random products with bsr weights for the emulated kernels, and what they give in double.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "bsr/index.h"
#include "bsr/launch.h"
#include "cuda/values.h"
#include "simt/host/launcher.h"

namespace jouleprune::cuda::bsr {

struct Shape {
  int64_t rows, cols, r, c, n;
  double density;

  std::string text() const {
    return std::to_string(rows) + "x" + std::to_string(cols) + " blocks " + std::to_string(r) + "x" +
           std::to_string(c) + " n " + std::to_string(n) + " density " + std::to_string(density);
  }
};

template <class T>
class Problem {
 public:
  Problem(const Shape& shape, uint64_t seed) : s(shape), random(seed) {
    down = simt::ceil_div(s.rows, s.r);
    across = simt::ceil_div(s.cols, s.c);
    std::bernoulli_distribution kept(s.density);
    offsets = {0};
    for (int64_t i = 0; i < down; ++i) {
      for (int64_t j = 0; j < across; ++j) {
        if (kept(random)) {
          columns.push_back(static_cast<int32_t>(j));
        }
      }
      offsets.push_back(static_cast<int32_t>(columns.size()));
    }
    blocks = static_cast<int64_t>(columns.size());
    values = random_values<T>(random, blocks * s.r * s.c);
    // What lies beyond the weight is not to be looked at.
    each_weight([&](int64_t, int64_t row, int64_t col, int64_t at) {
      if (row >= s.rows || col >= s.cols) {
        values[at] = not_a_number<T>();
      }
    });
    x = random_values<T>(random, s.n * s.cols);
    dy = random_values<T>(random, s.n * s.rows);
    bias = random_values<T>(random, s.rows);
    residual = random_values<T>(random, s.n * s.rows);
  }

  /// visit(block, row, column, place in the values), padding included.
  template <class Visit>
  void each_weight(const Visit& visit) const {
    for (int64_t i = 0; i < down; ++i) {
      for (int64_t b = offsets[static_cast<size_t>(i)]; b < offsets[static_cast<size_t>(i) + 1]; ++b) {
        for (int64_t k = 0; k < s.r * s.c; ++k) {
          visit(b, i * s.r + k / s.c, columns[static_cast<size_t>(b)] * s.c + k % s.c, b * s.r * s.c + k);
        }
      }
    }
  }

  /// Sums and, for the bound of their rounding, sums of magnitudes.
  struct Sums {
    std::vector<double> value, magnitude;
  };

  Sums product(bool transposed) const {
    const int64_t outputs = transposed ? s.cols : s.rows, inner = transposed ? s.rows : s.cols;
    Sums sums{std::vector<double>(static_cast<size_t>(s.n * outputs)),
              std::vector<double>(static_cast<size_t>(s.n * outputs))};
    each_weight([&](int64_t, int64_t row, int64_t col, int64_t at) {
      if (row >= s.rows || col >= s.cols) {
        return;
      }
      const int64_t out = transposed ? col : row, in = transposed ? row : col;
      for (int64_t j = 0; j < s.n; ++j) {
        const double term =
            simt::widen(values[at]) * static_cast<double>(simt::widen((transposed ? dy : x)[j * inner + in]));
        sums.value[static_cast<size_t>(j * outputs + out)] += term;
        sums.magnitude[static_cast<size_t>(j * outputs + out)] += std::abs(term);
      }
    });
    return sums;
  }

  Sums gradient() const {
    const auto size = static_cast<size_t>(blocks * s.r * s.c);
    Sums sums{std::vector<double>(size), std::vector<double>(size)};
    each_weight([&](int64_t, int64_t row, int64_t col, int64_t at) {
      for (int64_t j = 0; row < s.rows && col < s.cols && j < s.n; ++j) {
        const double term = simt::widen(dy[j * s.rows + row]) * static_cast<double>(simt::widen(x[j * s.cols + col]));
        sums.value[static_cast<size_t>(at)] += term;
        sums.magnitude[static_cast<size_t>(at)] += std::abs(term);
      }
    });
    return sums;
  }

  HostStructure structure() const { return {s.rows, s.cols, s.r, s.c, columns.data(), offsets.data()}; }

  Shape s;
  std::mt19937_64 random;
  int64_t down, across, blocks;
  std::vector<int32_t> columns, offsets;
  Array<T> values, x, dy, bias, residual;
};

enum class Op { kForward, kInput, kValues };

/// Runs an op as the adapters do: activations to feature-major, then the product. Returns the output.
template <class T>
Array<T> run_op(const Problem<T>& problem, Op op, Activation activation, bool with_bias, bool with_residual,
                simt::host::Launcher& launcher) {
  using simt::host::Access;
  const auto& s = problem.s;
  auto& memory = launcher.memory;
  const int64_t pitch = feature_major_pitch(s.n);
  Array<T> x(s.cols * pitch), dy(s.rows * pitch);
  const auto turn = [&](const Array<T>& from, Array<T>& to, int64_t features, const char* name) {
    simt::host::GlobalMemory turning;
    turning.add(name, from.data(), from.bytes(), Access::kRead);
    turning.add("feature-major", to.data(), to.bytes(), Access::kWriteAll);
    simt::host::Launcher turner(turning, launcher.options);
    launch_feature_major<T>(turner, {from.data(), features, s.n, features, to.data(), pitch});
    if (!turner.problems().empty()) {
      launcher.report.errors.push_back(turner.problems());
    }
    memory.add(name, to.data(), to.bytes(), Access::kRead);
  };
  memory.add("values", problem.values.data(), problem.values.bytes(), Access::kRead);
  memory.add("columns", problem.columns.data(), problem.columns.size() * 4, Access::kRead);
  memory.add("offsets", problem.offsets.data(), problem.offsets.size() * 4, Access::kRead);
  memory.add("bias", problem.bias.data(), problem.bias.bytes(), Access::kRead);
  memory.add("residual", problem.residual.data(), problem.residual.bytes(), Access::kRead);
  WalkParams walk{problem.values.data(),
                  static_cast<int32_t>(s.r),
                  static_cast<int32_t>(s.c),
                  problem.offsets.data(),
                  problem.columns.data(),
                  nullptr,
                  problem.down,
                  s.cols};
  const Epilogue epilogue{with_bias ? problem.bias.data() : nullptr, with_residual ? problem.residual.data() : nullptr,
                          activation};
  if (op == Op::kValues) {
    turn(problem.x, x, s.cols, "x");
    turn(problem.dy, dy, s.rows, "dy");
    Array<T> gradient(problem.blocks * s.r * s.c);
    memory.add("gradient", gradient.data(), gradient.bytes(), Access::kWriteAll);
    launch_gradient<T>(launcher, GradientParams<Rows>{walk,
                                                      {x.data(), pitch, s.n, s.cols},
                                                      {dy.data(), pitch, s.n, s.rows},
                                                      longest(problem.offsets.data(), problem.down) * s.c,
                                                      gradient.data()});
    return gradient;
  }
  if (op == Op::kForward) {
    turn(problem.x, x, s.cols, "x");
    Array<T> y(s.n * s.rows);
    memory.add("y", y.data(), y.bytes(), Access::kWriteAll);
    const StripParams<Rows> params{
        walk, {x.data(), pitch, s.n, s.rows}, y.data(), s.rows * sizeof(T) % 16 == 0, epilogue};
    launch_forward<T>(launcher, params);
    return y;
  }
  turn(problem.dy, dy, s.rows, "dy");
  Array<T> dx(s.n * s.cols);
  memory.add("dx", dx.data(), dx.bytes(), Access::kWriteAll);
  const auto index = s.c == 1 ? transposed_vectors(problem.structure()) : transposed_blocks(problem.structure());
  memory.add("index", index.offsets.data(), index.offsets.size() * 4, Access::kRead);
  memory.add("index", index.places.data(), index.places.size() * 4, Access::kRead);
  memory.add("index", index.sources.data(), index.sources.size() * 4, Access::kRead);
  walk = {walk.values,
          walk.r,
          walk.c,
          index.offsets.data(),
          index.places.data(),
          index.sources.data(),
          static_cast<int64_t>(index.offsets.size()) - 1,
          s.rows};
  const StripParams<Rows> params{walk, {dy.data(), pitch, s.n, s.cols}, dx.data(), s.cols * sizeof(T) % 16 == 0, {}};
  launch_transposed<T>(launcher, params);
  return dx;
}

/// The first output that is farther from the truth than rounding explains, or an empty text.
template <class T>
std::string difference(const Problem<T>& problem, Op op, Activation activation, bool with_bias, bool with_residual,
                       const Array<T>& y) {
  const auto sums = op == Op::kValues ? problem.gradient() : problem.product(op == Op::kInput);
  const int64_t outputs = op == Op::kInput ? problem.s.cols : problem.s.rows;
  for (size_t i = 0; i < sums.value.size(); ++i) {
    double expected = sums.value[i], size = sums.magnitude[i];
    if (op == Op::kForward) {
      const auto row = static_cast<int64_t>(i) % outputs;
      expected += with_bias ? simt::widen(problem.bias[row]) : 0.0;
      expected += with_residual ? simt::widen(problem.residual[static_cast<int64_t>(i)]) : 0.0;
      size += 4;
      expected = activated(expected, activation);
    }
    const double got = simt::widen(y[static_cast<int64_t>(i)]);
    if (!(std::abs(got - expected) <= tolerance<T>(expected, size, with_residual))) {
      return problem.s.text() + ": output " + std::to_string(i) + ": expected " + std::to_string(expected) + ", got " +
             std::to_string(got);
    }
  }
  return {};
}

}  // namespace jouleprune::cuda::bsr
