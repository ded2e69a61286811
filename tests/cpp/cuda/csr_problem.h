// Random products with csr weights for the emulated kernels, and what they give in double.
#pragma once
#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "csr/index.h"
#include "csr/launch.h"
#include "cuda/values.h"
#include "simt/host/launcher.h"

namespace jouleprune::cuda::csr {

struct Shape {
  int64_t rows, cols, n;
  double density;

  std::string text() const {
    return std::to_string(rows) + "x" + std::to_string(cols) + " n " + std::to_string(n) + " density " +
           std::to_string(density);
  }
};

template <class T>
class Problem {
 public:
  Problem(const Shape& shape, uint64_t seed) : s(shape), random(seed) {
    std::bernoulli_distribution kept(s.density), empty(0.1);
    offsets = {0};
    for (int64_t i = 0; i < s.rows; ++i) {
      const bool none = empty(random) && s.density < 1;
      for (int64_t j = 0; j < s.cols && !none; ++j) {
        if (kept(random)) {
          columns.push_back(static_cast<int32_t>(j));
        }
      }
      offsets.push_back(static_cast<int32_t>(columns.size()));
    }
    nnz = static_cast<int64_t>(columns.size());
    values = random_values<T>(random, nnz);
    bias = random_values<T>(random, std::max(s.rows, s.cols));
    residual = random_values<T>(random, s.n * std::max(s.rows, s.cols));
    inputs[0] = random_values<T>(random, s.n * s.cols);
    inputs[1] = random_values<T>(random, s.n * s.rows);
    turned[0] = turn(inputs[0], s.cols);
    turned[1] = turn(inputs[1], s.rows);
  }

  int64_t pitch() const { return feature_major_pitch(s.n); }
  HostStructure structure() const { return {s.rows, s.cols, nnz, columns.data(), offsets.data()}; }

  struct Sums {
    std::vector<double> value, magnitude;
  };
  Sums product(bool transposed) const {
    const int64_t outputs = transposed ? s.cols : s.rows, inner = transposed ? s.rows : s.cols;
    Sums sums{std::vector<double>(static_cast<size_t>(s.n * outputs)),
              std::vector<double>(static_cast<size_t>(s.n * outputs))};
    for (int64_t row = 0; row < s.rows; ++row) {
      for (int32_t k = offsets[static_cast<size_t>(row)]; k < offsets[static_cast<size_t>(row) + 1]; ++k) {
        const int64_t col = columns[static_cast<size_t>(k)], out = transposed ? col : row, in = transposed ? row : col;
        for (int64_t j = 0; j < s.n; ++j) {
          const double term =
              static_cast<double>(simt::widen(values[k])) * simt::widen(inputs[transposed ? 1 : 0][j * inner + in]);
          sums.value[static_cast<size_t>(j * outputs + out)] += term;
          sums.magnitude[static_cast<size_t>(j * outputs + out)] += std::abs(term);
        }
      }
    }
    return sums;
  }

  Shape s;
  std::mt19937_64 random;
  int64_t nnz = 0;
  std::vector<int32_t> columns, offsets;
  Array<T> values, bias, residual;
  Array<T> inputs[2], turned[2];  // [n, cols] and [n, rows], and feature-major

 private:
  Array<T> turn(const Array<T>& from, int64_t features) const {
    Array<T> to(features * pitch());
    for (int64_t f = 0; f < features; ++f) {
      for (int64_t j = 0; j < pitch(); ++j) {
        to[f * pitch() + j] = j < s.n ? from[j * features + f] : T{};
      }
    }
    return to;
  }
};

enum class Kernels { kByEntries, kByTokens, kTiles };

/// One product through one kind of kernels; batch-major output.
template <class T>
Array<T> run_product(const Problem<T>& problem, Kernels kernels, bool transposed, int32_t splits,
                     const Epilogue& epilogue, simt::host::Launcher& launcher) {
  using simt::host::Access;
  const auto& s = problem.s;
  auto& memory = launcher.memory;
  const int64_t rows = transposed ? s.cols : s.rows, cols = transposed ? s.rows : s.cols;
  const auto index = csr::transposed(problem.structure());
  const auto& columns = transposed ? index.columns : problem.columns;
  const auto& offsets = transposed ? index.offsets : problem.offsets;
  const auto add_list = [&](const char* name, const auto& list) {
    memory.add(name, list.data(), list.size() * sizeof(list[0]), Access::kRead);
  };
  memory.add("values", problem.values.data(), problem.values.bytes(), Access::kRead);
  memory.add("x", problem.inputs[transposed].data(), problem.inputs[transposed].bytes(), Access::kRead);
  memory.add("x", problem.turned[transposed].data(), problem.turned[transposed].bytes(), Access::kRead);
  memory.add("bias", problem.bias.data(), problem.bias.bytes(), Access::kRead);
  memory.add("residual", problem.residual.data(), problem.residual.bytes(), Access::kRead);
  Array<T> y(s.n * rows);
  if constexpr (sizeof(T) == 2) {
    if (kernels == Kernels::kTiles) {
      const HostStructure structure{rows, cols, problem.nnz, columns.data(), offsets.data()};
      const auto tiles = tiles_of(structure, transposed ? index.sources.data() : nullptr);
      Array<T> packed(static_cast<int64_t>(tiles.order.size()));
      Array<float> partial(partial_sums(rows, s.n, splits));
      Array<uint8_t> headers(static_cast<int64_t>(tiles.headers.size()));
      std::copy(tiles.headers.begin(), tiles.headers.end(), headers.data());
      memory.add("headers", headers.data(), headers.bytes(), Access::kRead);
      add_list("starts", tiles.starts);
      add_list("order", tiles.order);
      memory.add("packed", packed.data(), packed.bytes(), Access::kReadWrite);
      memory.add("partial", partial.data(), partial.bytes(), Access::kReadWrite);
      memory.add("y", y.data(), y.bytes(), Access::kWriteAll);
      launch_kernel<PackTiles<T>>(launcher, {problem.values.data(), tiles.order.data(), packed.data(), packed.size()});
      launch_tiles<T, BitmapGroups>(
          launcher, {headers.data(), tiles.starts.data(), packed.data(), rows, cols, problem.turned[transposed].data(),
                     problem.pitch(), y.data(), s.n, rows % 8 == 0, epilogue, splits, partial.data()});
      return y;
    }
  }
  const auto order = longest_first(offsets.data(), rows);
  add_list("columns", columns);
  add_list("offsets", offsets);
  add_list("sources", index.sources);
  add_list("order", order);
  const Matrix matrix{problem.values.data(),
                      columns.data(),
                      offsets.data(),
                      transposed ? index.sources.data() : nullptr,
                      order.data(),
                      rows,
                      cols};
  if (kernels == Kernels::kByEntries) {
    memory.add("y", y.data(), y.bytes(), Access::kWriteAll);
    launch_by_entries<T>(launcher, {matrix, problem.inputs[transposed].data(), cols, y.data(), 0, s.n, epilogue});
    return y;
  }
  Array<T> turned(rows * problem.pitch());
  memory.add("turned y", turned.data(), turned.bytes(), Access::kWriteOnce);
  launch_by_tokens<T>(launcher, {matrix, problem.turned[transposed].data(), problem.pitch(), turned.data(),
                                 problem.pitch(), s.n, epilogue});
  for (int64_t j = 0; j < s.n; ++j) {
    for (int64_t row = 0; row < rows; ++row) {
      y[j * rows + row] = turned[row * problem.pitch() + j];
    }
  }
  return y;
}

template <class T>
std::string difference(const Problem<T>& problem, bool transposed, const Epilogue& epilogue, const Array<T>& y) {
  const auto sums = problem.product(transposed);
  const int64_t rows = transposed ? problem.s.cols : problem.s.rows;
  for (size_t i = 0; i < sums.value.size(); ++i) {
    const auto at = static_cast<int64_t>(i);
    double expected = sums.value[i];
    expected += epilogue.bias != nullptr ? simt::widen(problem.bias[at % rows]) : 0.0;
    expected += epilogue.residual != nullptr ? simt::widen(problem.residual[at]) : 0.0;
    expected = activated(expected, epilogue.activation);
    const double got = simt::widen(y[at]);
    if (!(std::abs(got - expected) <= tolerance<T>(expected, sums.magnitude[i] + 4, epilogue.residual != nullptr))) {
      return problem.s.text() + ": output " + std::to_string(i) + ": expected " + std::to_string(expected) + ", got " +
             std::to_string(got);
    }
  }
  return {};
}

}  // namespace jouleprune::cuda::csr
