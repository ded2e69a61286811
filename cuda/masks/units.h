// Units of r x c entries of a weight [rows, cols] on the device: their norms, and masks of weights from masks of units.
// The definitions are those of csrc/select/blocks.h: the last units may reach beyond the weight, a norm is a mean over
// the entries inside. Sums are in double, as there: a pass over the scores is bound by memory even on GPUs with one
// double unit for 64 float ones. The order of additions is fixed; in units of at most 64 entries it is the CPU's.
#pragma once
#include <cmath>

#include "simt/elements.h"

namespace jouleprune::cuda::masks {

enum class Norm : int32_t { kOne, kTwo, kLargest, kPower };

struct UnitParams {
  int64_t rows, cols;  // of the weight
  int64_t r, c;        // of a unit; at most the weight's
  const bool* left;    // [rows, cols]; null: all entries are
};

JP_ANYWHERE int64_t units_across(const UnitParams& p) { return simt::ceil_div(p.cols, p.c); }
JP_ANYWHERE int64_t units_of(const UnitParams& p) { return simt::ceil_div(p.rows, p.r) * units_across(p); }

struct UnitNormsParams {
  UnitParams units;
  const void* scores;  // [rows, cols]
  Norm norm;
  double power;      // of kPower
  double* norms;     // [units], row by row
  bool* units_left;  // [units]: whether any entry is left
};

/// What is known of a unit while its entries are read.
struct UnitFold {
  double sum;
  uint32_t left;
};

JP_BODY double folded(Norm norm, double power, double sum, double score) {
  switch (norm) {
    case Norm::kOne: return sum + score;
    case Norm::kTwo: return sum + score * score;
    case Norm::kLargest: return sum >= score ? sum : (sum != sum ? sum : score);  // a NaN stays
    case Norm::kPower: break;
  }
  return sum + ::pow(score, power);
}

JP_BODY double finished(Norm norm, double power, double sum, double entries) {
  switch (norm) {
    case Norm::kOne: return sum / entries;
    case Norm::kTwo: return ::sqrt(sum / entries);
    case Norm::kLargest: return sum;
    case Norm::kPower: break;
  }
  return ::pow(sum / entries, 1 / power);
}

/// Rows and columns of a unit inside the weight.
struct UnitExtent {
  int64_t row, col, rows, cols;
};
JP_BODY UnitExtent extent_of(const UnitParams& p, int64_t unit) {
  const int64_t row = unit / units_across(p) * p.r, col = unit % units_across(p) * p.c;
  return {row, col, row + p.r < p.rows ? p.r : p.rows - row, col + p.c < p.cols ? p.c : p.cols - col};
}

template <class T, class Ctx>
JP_BODY void fold_entry(const Ctx& ctx, const UnitNormsParams& p, int64_t row, int64_t col, UnitFold& fold) {
  const int64_t at = row * p.units.cols + col;
  if (p.units.left != nullptr && !ctx.load(p.units.left + at)) return;
  fold.left = 1;
  fold.sum = folded(p.norm, p.power, fold.sum, ::fabs(static_cast<double>(simt::widen(ctx.load(static_cast<const T*>(p.scores) + at)))));
}

template <class Ctx>
JP_BODY void store_unit(const Ctx& ctx, const UnitNormsParams& p, int64_t unit, const UnitExtent& extent, const UnitFold& fold) {
  ctx.store(p.norms + unit, finished(p.norm, p.power, fold.sum, static_cast<double>(extent.rows * extent.cols)));
  ctx.store(p.units_left + unit, fold.left != 0);
}

/// A thread per unit: neighbouring threads have neighbouring units of a row.
template <class T>
struct SmallUnitNorms {
  using Params = UnitNormsParams;
  static constexpr int kThreads = 256;
  static constexpr uint32_t kShared = 0;

  static simt::Grid grid(const Params& p) { return {simt::ceil_div<int64_t>(units_of(p.units), kThreads), 1}; }

  template <class Ctx>
  static JP_BODY void run(const Ctx& ctx, const Params& p) {
    const int64_t unit = ctx.block_x() * kThreads + ctx.thread();
    if (unit >= units_of(p.units)) return;
    const UnitExtent extent = extent_of(p.units, unit);
    UnitFold fold{0, 0};
    for (int64_t row = extent.row; row < extent.row + extent.rows; ++row) {
      for (int64_t col = extent.col; col < extent.col + extent.cols; ++col) fold_entry<T>(ctx, p, row, col, fold);
    }
    store_unit(ctx, p, unit, extent, fold);
  }
};

/// A warp per unit, its lanes along the entries.
template <class T>
struct UnitNorms {
  using Params = UnitNormsParams;
  static constexpr int kThreads = 256, kWarps = kThreads / simt::kLanes;
  static constexpr uint32_t kShared = 0;

  static simt::Grid grid(const Params& p) { return {simt::ceil_div<int64_t>(units_of(p.units), kWarps), 1}; }

  template <class Ctx>
  static JP_BODY void run(const Ctx& ctx, const Params& p) {
    const int64_t unit = ctx.block_x() * kWarps + ctx.warp();
    if (unit >= units_of(p.units)) return;  // a whole warp
    const UnitExtent extent = extent_of(p.units, unit);
    UnitFold fold{0, 0};
    // From one entry of a lane to its next, 32 further, without a division each.
    const int64_t step_rows = simt::kLanes / extent.cols, step_cols = simt::kLanes % extent.cols;
    int64_t row = ctx.lane() / extent.cols, col = ctx.lane() % extent.cols;
    while (row < extent.rows) {
      fold_entry<T>(ctx, p, extent.row + row, extent.col + col, fold);
      row += step_rows;
      col += step_cols;
      if (col >= extent.cols) {
        col -= extent.cols;
        ++row;
      }
    }
    for (int mask = simt::kLanes / 2; mask > 0; mask /= 2) {
      const double other = ctx.shuffle_xor(fold.sum, mask);
      fold.sum = p.norm == Norm::kLargest ? folded(p.norm, p.power, fold.sum, other) : fold.sum + other;
    }
    fold.left = ctx.ballot(fold.left != 0);
    if (ctx.lane() == 0) store_unit(ctx, p, unit, extent, fold);
  }
};

struct SpreadUnitsParams {
  UnitParams units;
  const bool* kept;  // [units]
  bool* mask;        // [rows, cols]
};

/// mask = the unit of the entry is kept, and the entry is left; a thread per entry.
struct SpreadUnits {
  using Params = SpreadUnitsParams;
  static constexpr int kThreads = 256;
  static constexpr uint32_t kShared = 0;

  static simt::Grid grid(const Params& p) {
    return {simt::ceil_div<int64_t>(p.units.rows * p.units.cols, kThreads), 1};
  }

  template <class Ctx>
  static JP_BODY void run(const Ctx& ctx, const Params& p) {
    const int64_t at = ctx.block_x() * kThreads + ctx.thread();
    if (at >= p.units.rows * p.units.cols) return;
    const int64_t unit = at / p.units.cols / p.units.r * units_across(p.units) + at % p.units.cols / p.units.c;
    ctx.store(p.mask + at, ctx.load(p.kept + unit) && (p.units.left == nullptr || ctx.load(p.units.left + at)));
  }
};

}  // namespace jouleprune::cuda::masks
