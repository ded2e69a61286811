#include "kernels/csr/panels.h"

#include <algorithm>

#include "formats/ceil_div.h"
#include "kernels/csr/scratch.h"
#include "kernels/denormals.h"

namespace jouleprune::kernels::csr {
namespace {

constexpr int64_t kWaveElements = 1 << 18;  // packed panels alive at once: 1 MB of float32, about half an L2
constexpr int64_t kTileElements = 1 << 16;  // sums between blocks of columns: 256 KB of float32, a part of the L2 cache
constexpr int64_t kRowsPerStore = 16;       // finished rows between multiply and store: a cache line of each output row
constexpr int64_t kColsPerFill = 64;
constexpr int64_t kParts = 64;  // of the rows, with about equal work: what threads share

/// As few panels as the widest allow, of about equal width.
std::vector<Panel> make_panels(int64_t n, int64_t lanes, int64_t widest) {
  const int64_t vectors = ceil_div(n, lanes), count = ceil_div(vectors, widest);
  std::vector<Panel> panels;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t begin = vectors * i / count * lanes, end = vectors * (i + 1) / count * lanes;
    panels.push_back({begin, std::min(end, n) - begin, end - begin});
  }
  return panels;
}

template <class T>
class PanelMultiply {
 public:
  using A = Accumulate<T>;
  PanelMultiply(const PanelProblem<T>& problem, const VectorKernels<T>& kernels, const PanelChoice& choice, int64_t parts)
      : p_(problem), kernels_(kernels), weight_(problem.weight, problem.row_begin, problem.row_end, choice),
        order_(*weight_.order), rows_(choice.rows),
        bounds_(balanced_rows(problem.weight.csr.row_offsets, problem.row_begin, problem.row_end, parts)),
        start_(order_.groups() * rows_) {
    for (int64_t& bound : bounds_) {
      bound = ceil_div(bound - problem.row_begin, rows_);
    }
    const int64_t rows = problem.row_end - problem.row_begin;
    std::fill_n(start_.data(), order_.groups() * rows_, A{0});
    for (int64_t r = 0; problem.weight.bias != nullptr && r < rows; ++r) {
      start_.data()[r] = widen(problem.weight.bias[problem.row_begin + r]);
    }
  }

  /// Parts [part_begin, part_end) of the rows, which have about equal work, times one panel.
  void run(const Panel& panel, const A* packed, int64_t part_begin, int64_t part_end) const {
    const FlushDenormals flush;
    const int64_t first = bounds_[part_begin], last = bounds_[part_end];
    const int64_t chunk = std::max<int64_t>(1, kTileElements / (panel.width * rows_));
    Scratch<A> tile(std::min(chunk, last - first) * rows_ * panel.width);
    for (int64_t begin = first; begin < last; begin += chunk) {
      const int64_t end = std::min(last, begin + chunk);
      for (int64_t block = 0; block + 1 < order_.blocks(); ++block) {
        multiply(panel, packed, block, begin, end, tile.data());
      }
      finish(panel, packed, begin, end, tile.data());
    }
  }

 private:
  /// The last block of columns, a few rows at a time, which go on to their place from the L1 cache.
  void finish(const Panel& panel, const A* packed, int64_t first, int64_t last, A* tile) const {
    const int64_t step = std::max<int64_t>(1, kRowsPerStore / rows_);
    for (int64_t begin = first; begin < last; begin += step) {
      const int64_t end = std::min(last, begin + step);
      const int64_t row_begin = p_.row_begin + begin * rows_, row_end = std::min(p_.row_end, p_.row_begin + end * rows_);
      A* const at = tile + (begin - first) * rows_ * panel.width;
      if (p_.prepare_store) {
        p_.prepare_store(panel, row_begin, row_end);
      }
      multiply(panel, packed, order_.blocks() - 1, begin, end, at);
      if (const auto activation = p_.weight.activation; activation != Activation::kRelu) {
        kernels_.activate(activation, at, (row_end - row_begin) * panel.width);
      }
      p_.store(panel, row_begin, row_end, at);
    }
  }

  void multiply(const Panel& panel, const A* packed, int64_t block, int64_t begin, int64_t end, A* tile) const {
    const bool relu = p_.weight.activation == Activation::kRelu && block + 1 == order_.blocks();
    kernels_.multiply_unit({order_.stream(), weight_.values->values.data(), block, begin, end, packed, panel.width,
                            start_.data(), relu, tile});
  }

  const PanelProblem<T>& p_;
  const VectorKernels<T>& kernels_;
  OrderedWeight<T> weight_;
  const PanelOrder& order_;
  int64_t rows_;                 // of a group
  std::vector<int64_t> bounds_;  // [parts + 1], in groups
  Scratch<A> start_;             // bias of each row, and of those that fill up the last group
};

}  // namespace

std::vector<int64_t> balanced_rows(const int32_t* row_offsets, int64_t row_begin, int64_t row_end, int64_t blocks) {
  // Bounds ascend from row_begin to row_end whatever the offsets hold: these are the caller's, which may have changed since they were
  // checked, and only balance the work.
  constexpr int64_t kRowWork = 4;  // storing a row costs about as much as this many kept weights
  const auto work_before = [&](int64_t row) {
    return int64_t{row_offsets[row]} - row_offsets[row_begin] + kRowWork * (row - row_begin);
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
void multiply_panels(const PanelProblem<T>& problem, Isa isa, const ParallelFor& parallel) {
  using A = Accumulate<T>;
  const auto& csr = problem.weight.csr;
  const int64_t rows = problem.row_end - problem.row_begin;
  if (rows <= 0 || problem.n <= 0) {
    return;
  }
  const auto& kernels = vector_kernels<T>(isa);
  const auto panels = make_panels(problem.n, kernels.lanes, kernels.panel_vectors);
  const int64_t count = static_cast<int64_t>(panels.size());
  const int64_t width = ceil_div(ceil_div(problem.n, kernels.lanes), count) * kernels.lanes, panel_elements = csr.cols * width;
  const int64_t nnz = int64_t{csr.row_offsets[problem.row_end]} - csr.row_offsets[problem.row_begin];
  const double density = static_cast<double>(nnz) / (static_cast<double>(rows) * std::max<double>(1, csr.cols));
  const int64_t parts = std::min(rows, kParts);
  // The first panel is the narrowest and the last the widest, by one vector at most.
  std::vector<PanelMultiply<T>> narrow_and_wide;
  for (const int64_t each : {panels.front().width, width}) {
    if (narrow_and_wide.empty() || each != panels.front().width) {
      const auto choice = choose_panel_loop(density, each / kernels.lanes, kernels.lanes, sizeof(A), isa);
      narrow_and_wide.emplace_back(problem, kernels, choice, parts);
    }
  }

  const int64_t wave = std::clamp<int64_t>(kWaveElements / std::max<int64_t>(panel_elements, 1), 1, count);
  const int64_t fills = ceil_div(csr.cols, kColsPerFill);
  Scratch<A> scratch(wave * panel_elements);
  bool alone = false;  // one thread fills: then panel by panel, so that a panel is still in the L2 cache when it is used
  for (int64_t first = 0, present = 0; first < count; first += present) {
    present = std::min(wave, count - first);
    const auto fill = [&](int64_t begin, int64_t end) {
      const FlushDenormals flush;
      for (int64_t unit = begin; unit < end; ++unit) {
        const Panel& panel = panels[first + unit / fills];
        const int64_t col = unit % fills * kColsPerFill;
        problem.fill(panel, col, std::min(csr.cols, col + kColsPerFill),
                     scratch.data() + unit / fills * panel_elements + col * panel.width);
      }
    };
    if (!alone) {
      parallel(0, present * fills, grain_of(kColsPerFill * width * 4), [&](int64_t begin, int64_t end) {
        if (begin == 0 && end == present * fills) {
          alone = true;
        } else {
          fill(begin, end);
        }
      });
    }
    if (alone) {
      present = 1;
      fill(0, fills);
    }
    // Each thread gets a range of (panel, part of the rows), which it runs through panel by panel.
    parallel(0, present * parts, grain_of((nnz + 4 * rows) * width / parts), [&](int64_t begin, int64_t end) {
      for (int64_t panel = begin / parts; panel * parts < end; ++panel) {
        const Panel& of = panels[first + panel];
        const auto& multiply = of.width == width ? narrow_and_wide.back() : narrow_and_wide.front();
        multiply.run(of, scratch.data() + panel * panel_elements, std::max(begin - panel * parts, int64_t{0}),
                     std::min(end - panel * parts, parts));
      }
    });
  }
}

template void multiply_panels(const PanelProblem<float>&, Isa, const ParallelFor&);
template void multiply_panels(const PanelProblem<double>&, Isa, const ParallelFor&);
template void multiply_panels(const PanelProblem<BFloat16>&, Isa, const ParallelFor&);
template void multiply_panels(const PanelProblem<Half>&, Isa, const ParallelFor&);

}  // namespace jouleprune::kernels::csr
