#include "kernels/csr/sampled_dots.h"

#include <algorithm>
#include <vector>

#include "kernels/csr/scratch.h"
#include "kernels/denormals.h"

namespace jouleprune::kernels::csr {
namespace {

constexpr int64_t kChunk = 256;  // columns packed at once: 1 KB of float32 per row, so that a few hundred rows stay in L2
constexpr int64_t kBlockElements = 1 << 17;  // packed activations that rows run over before the next: 512 KB, half an L2
constexpr int64_t kRowsPerFill = 16;

/// Activations come from the L2 cache, a line per kept weight and 16 columns, and that is the limit: 50-53 GFLOP/s with ymm, which
/// touch each line twice, 43-49 with zmm (768 x 768, 192 columns, one core of an AMD Zen 4).
Isa dots_isa(Isa isa) { return isa == Isa::kAvx512 ? Isa::kAvx2 : isa; }

template <class T>
using Fill = std::function<void(const Panel&, int64_t, int64_t, Accumulate<T>*)>;

template <class T>
void fill_all(const Fill<T>& fill, const Panel& panel, int64_t rows, Accumulate<T>* to, const ParallelFor& parallel) {
  parallel(0, (rows + kRowsPerFill - 1) / kRowsPerFill, grain_of(kRowsPerFill * panel.width * 4),
           [&](int64_t begin, int64_t end) {
             const FlushDenormals flush;
             const int64_t first = begin * kRowsPerFill;
             fill(panel, first, std::min(rows, end * kRowsPerFill), to + first * panel.width);
           });
}

}  // namespace

template <class T>
void sampled_dots(const SampledProblem<T>& p, Isa isa, const ParallelFor& parallel) {
  using A = Accumulate<T>;
  const auto dots = vector_kernels<T>(dots_isa(isa)).sampled_dots;
  const int64_t lanes = vector_kernels<T>(isa).lanes;  // the callers fill panels with vectors of `isa`
  const int64_t rows = p.row_end - p.row_begin, base = p.row_offsets[p.row_begin], nnz = p.row_offsets[p.row_end] - base;
  if (nnz == 0) {
    return;
  }
  const int64_t chunk = std::min(kChunk, (p.n + lanes - 1) / lanes * lanes);
  Scratch<A> packed((rows + p.cols) * chunk), sums(nnz);
  std::fill_n(sums.data(), nnz, A{0});
  const int64_t blocks = std::clamp<int64_t>(nnz * chunk / 50'000, 1, rows);
  const auto bounds = balanced_rows(p.row_offsets, p.row_begin, p.row_end, blocks);
  for (int64_t begin = 0; begin < p.n; begin += chunk) {
    const int64_t count = std::min(chunk, p.n - begin);
    const Panel panel{begin, count, (count + lanes - 1) / lanes * lanes};
    A* const row_panel = packed.data();
    A* const col_panel = packed.data() + rows * chunk;
    fill_all<T>(p.fill_rows, panel, rows, row_panel, parallel);
    fill_all<T>(p.fill_cols, panel, p.cols, col_panel, parallel);
    const int64_t col_block = std::max<int64_t>(1, kBlockElements / panel.width);
    parallel(0, blocks, grain_of(nnz * panel.width / blocks), [&](int64_t first, int64_t last) {
      const FlushDenormals flush;
      // Where each row stands: its entries are taken block by block of columns.
      std::vector<int32_t> at(p.row_offsets + bounds[first], p.row_offsets + bounds[last]);
      for (int64_t col_end = col_block; col_end < p.cols + col_block; col_end += col_block) {
        for (int64_t r = bounds[first]; r < bounds[last]; ++r) {
          int32_t& from = at[r - bounds[first]];
          const int32_t* const end = p.col_indices + p.row_offsets[r + 1];
          const auto to = static_cast<int32_t>(std::lower_bound(p.col_indices + from, end, col_end) - p.col_indices);
          dots(row_panel + (r - p.row_begin) * panel.width, col_panel, panel.width, p.col_indices + from, to - from,
               sums.data() + (from - base));
          from = to;
        }
      }
    });
  }
  std::transform(sums.data(), sums.data() + nnz, p.grad_values + base, [](A x) { return narrow<T>(x); });
}

template void sampled_dots(const SampledProblem<float>&, Isa, const ParallelFor&);
template void sampled_dots(const SampledProblem<double>&, Isa, const ParallelFor&);
template void sampled_dots(const SampledProblem<BFloat16>&, Isa, const ParallelFor&);
template void sampled_dots(const SampledProblem<Half>&, Isa, const ParallelFor&);

}  // namespace jouleprune::kernels::csr
