#include "select/blocks.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>

namespace jouleprune::select {
namespace {
constexpr int64_t kEntriesPerTask = 1 << 15;

int64_t block_rows_per_task(const Blocks& blocks) {
  return std::max<int64_t>(1, kEntriesPerTask / std::max<int64_t>(1, blocks.r * blocks.cols));
}

/// Folds one row of entries into the units that it crosses.
template <class Score, class Fold>
void fold_row(const Score* scores, const bool* left, const Blocks& blocks, double* norms, bool* units_left, Fold fold) {
  for (int64_t unit = 0, col = 0; unit < blocks.across(); ++unit) {
    for (const int64_t end = std::min(col + blocks.c, blocks.cols); col < end; ++col) {
      if (left != nullptr && !left[col]) continue;
      units_left[unit] = true;
      norms[unit] = fold(norms[unit], std::abs(static_cast<double>(scores[col])));
    }
  }
}

/// `fold(norm so far, |score|)` over all entries of each unit, then `finish(folded, entries of the unit)`.
template <class Score, class Fold, class Finish>
void fold_units(const Score* scores, const bool* left, const Blocks& blocks, double* norms, bool* units_left,
                const kernels::ParallelFor& parallel, Fold fold, Finish finish) {
  const int64_t across = blocks.across();
  parallel(0, blocks.down(), block_rows_per_task(blocks), [&](int64_t begin, int64_t end) {
    std::fill(norms + begin * across, norms + end * across, 0.0);
    std::fill(units_left + begin * across, units_left + end * across, false);
    for (int64_t down = begin; down < end; ++down) {
      const int64_t first = down * blocks.r, last = std::min(first + blocks.r, blocks.rows);
      for (int64_t row = first; row < last; ++row) {
        fold_row(scores + row * blocks.cols, left == nullptr ? nullptr : left + row * blocks.cols, blocks,
                 norms + down * across, units_left + down * across, fold);
      }
      for (int64_t unit = 0; unit < across; ++unit) {
        const int64_t width = std::min(blocks.c, blocks.cols - unit * blocks.c);
        double& norm = norms[down * across + unit];
        norm = finish(norm, static_cast<double>((last - first) * width));
      }
    }
  });
}
}  // namespace

template <class Score>
void unit_norms(const Score* scores, const bool* left, const Blocks& blocks, double p, double* norms, bool* units_left,
                const kernels::ParallelFor& parallel) {
  if (!(p > 0)) throw std::invalid_argument("norm: expected a number above 0, got " + std::to_string(p));
  const auto run = [&](auto fold, auto finish) {
    fold_units(scores, left, blocks, norms, units_left, parallel, fold, finish);
  };
  if (p == 1) {
    run([](double sum, double score) { return sum + score; }, [](double sum, double entries) { return sum / entries; });
  } else if (p == 2) {
    run([](double sum, double score) { return sum + score * score; },
        [](double sum, double entries) { return std::sqrt(sum / entries); });
  } else if (p == std::numeric_limits<double>::infinity()) {
    // Written so that a NaN stays: std::max would drop it.
    run([](double most, double score) { return most >= score ? most : (std::isnan(most) ? most : score); },
        [](double most, double) { return most; });
  } else {
    run([p](double sum, double score) { return sum + std::pow(score, p); },
        [p](double sum, double entries) { return std::pow(sum / entries, 1 / p); });
  }
}

template void unit_norms(const float*, const bool*, const Blocks&, double, double*, bool*, const kernels::ParallelFor&);
template void unit_norms(const double*, const bool*, const Blocks&, double, double*, bool*,
                         const kernels::ParallelFor&);

void spread_units(const bool* units, const bool* left, const Blocks& blocks, bool* kept,
                  const kernels::ParallelFor& parallel) {
  const int64_t across = blocks.across();
  parallel(0, blocks.rows, std::max<int64_t>(1, kEntriesPerTask / std::max<int64_t>(1, blocks.cols)),
           [&](int64_t begin, int64_t end) {
             for (int64_t row = begin; row < end; ++row) {
               const bool* mine = units + row / blocks.r * across;
               bool* to = kept + row * blocks.cols;
               for (int64_t unit = 0, col = 0; unit < across; ++unit) {
                 const int64_t stop = std::min(col + blocks.c, blocks.cols);
                 std::fill(to + col, to + stop, mine[unit]);
                 col = stop;
               }
               if (left == nullptr) continue;
               for (int64_t col = 0; col < blocks.cols; ++col) to[col] = to[col] && left[row * blocks.cols + col];
             }
           });
}

}  // namespace jouleprune::select
