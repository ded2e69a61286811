#include "kernels/csr/panels.h"

#include <algorithm>

#include "kernels/csr/scratch.h"

namespace jouleprune::kernels::csr {
namespace {

constexpr int64_t kWaveElements = 1 << 18;  // packed panels alive at once: 1 MB of float32, about half an L2
constexpr int64_t kTileElements = 1 << 12;  // results between multiply and store: 16 KB of float32, in L1
constexpr int64_t kUnitWork = 50'000;       // multiply-adds of a unit: small enough to balance, large enough to ignore calls
constexpr int64_t kColsPerFill = 64;

std::vector<Panel> make_panels(int64_t n, int64_t lanes) {
  std::vector<Panel> panels;
  const int64_t full = kMaxVectors * lanes;
  for (int64_t begin = 0; begin < n; begin += full) {
    const int64_t count = std::min(full, n - begin);
    panels.push_back({begin, count, (count + lanes - 1) / lanes * lanes});
  }
  return panels;
}

template <class T>
void multiply_unit(const PanelProblem<T>& problem, const VectorKernels<T>& kernels, const Panel& panel,
                   const Accumulate<T>* packed, int64_t row_begin, int64_t row_end) {
  alignas(64) Accumulate<T> tile[kTileElements];
  const int64_t rows_per_tile = kTileElements / panel.width;
  for (int64_t r = row_begin; r < row_end; r += rows_per_tile) {
    const int64_t end = std::min(row_end, r + rows_per_tile);
    kernels.multiply(problem.weight, r, end, packed, panel.width, tile);
    problem.store(panel, r, end, tile);
  }
}

}  // namespace

std::vector<int64_t> balanced_rows(const int32_t* row_offsets, int64_t row_begin, int64_t row_end, int64_t blocks) {
  constexpr int64_t kRowWork = 4;  // storing a row costs about as much as this many kept weights
  const auto work_before = [&](int64_t row) {
    return row_offsets[row] - row_offsets[row_begin] + kRowWork * (row - row_begin);
  };
  std::vector<int64_t> bounds = {row_begin};
  for (int64_t block = 1; block < blocks; ++block) {
    const int64_t target = work_before(row_end) / blocks * block;
    int64_t low = bounds.back(), high = row_end;
    while (low < high) {
      const int64_t middle = low + (high - low) / 2;
      if (work_before(middle) < target) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    bounds.push_back(low);
  }
  bounds.push_back(row_end);
  return bounds;
}

template <class T>
void multiply_panels(const PanelProblem<T>& problem, const VectorKernels<T>& kernels, const ParallelFor& parallel) {
  const int64_t rows = problem.row_end - problem.row_begin;
  if (rows <= 0 || problem.n <= 0) {
    return;
  }
  const auto panels = make_panels(problem.n, kernels.lanes);
  const int64_t width = panels.front().width, panel_elements = problem.cols * width;
  const int64_t nnz = problem.weight.row_offsets[problem.row_end] - problem.weight.row_offsets[problem.row_begin];
  const int64_t panel_work = (nnz + rows) * width;
  const int64_t blocks = std::clamp<int64_t>(panel_work / kUnitWork, 1, (rows + 7) / 8);
  const auto bounds = balanced_rows(problem.weight.row_offsets, problem.row_begin, problem.row_end, blocks);

  const int64_t count = static_cast<int64_t>(panels.size());
  const int64_t wave = std::clamp<int64_t>(kWaveElements / std::max<int64_t>(panel_elements, 1), 1, count);
  const int64_t fills = (problem.cols + kColsPerFill - 1) / kColsPerFill;
  Scratch<Accumulate<T>> scratch(wave * panel_elements);
  for (int64_t first = 0; first < count; first += wave) {
    const int64_t present = std::min(wave, count - first);
    parallel(0, present * fills, grain_of(kColsPerFill * width * 4), [&](int64_t begin, int64_t end) {
      for (int64_t unit = begin; unit < end; ++unit) {
        const Panel& panel = panels[first + unit / fills];
        const int64_t col = unit % fills * kColsPerFill;
        problem.fill(panel, col, std::min(problem.cols, col + kColsPerFill),
                     scratch.data() + unit / fills * panel_elements + col * panel.width);
      }
    });
    parallel(0, present * blocks, grain_of(panel_work / blocks), [&](int64_t begin, int64_t end) {
      for (int64_t unit = begin; unit < end; ++unit) {
        multiply_unit(problem, kernels, panels[first + unit / blocks], scratch.data() + unit / blocks * panel_elements,
                      bounds[unit % blocks], bounds[unit % blocks + 1]);
      }
    });
  }
}

template void multiply_panels(const PanelProblem<float>&, const VectorKernels<float>&, const ParallelFor&);
template void multiply_panels(const PanelProblem<double>&, const VectorKernels<double>&, const ParallelFor&);
template void multiply_panels(const PanelProblem<BFloat16>&, const VectorKernels<BFloat16>&, const ParallelFor&);
template void multiply_panels(const PanelProblem<Half>&, const VectorKernels<Half>&, const ParallelFor&);

}  // namespace jouleprune::kernels::csr
