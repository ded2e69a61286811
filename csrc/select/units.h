// The units of a weight under a pattern: what they hold, what they are worth, and the mask of those that stay.
#pragma once
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "select/pattern.h"

namespace jouleprune::select {

/// What is counted of the units that stay.
enum class Measure {
  kWeights,  ///< entries of the weight
  kStored,   ///< entries that blocks store: the last ones reach beyond the weight
  kQuads,    ///< entries of the 1 x 4 blocks that hold them, as int8 stores them
};

/// Scores of units, in unit order. Borrows the weight's scores where each weight is a unit.
struct UnitScores {
  std::vector<float> own;
  std::span<const float> scores;
  double forced = 0;  ///< importance of the weights that no mask of the pattern keeps
};

/// Units of a weight W[rows, cols], row-major; a convolution's W is its weight [out, in / groups, kh, kw] with the last three
/// as one, which is the order of im2col: each input (channel) has `taps` = kh x kw columns. In number:
///   unstructured  rows x cols: single weights
///   block         ceil(rows / r) x ceil(cols / taps / c) x taps: blocks of r outputs and c neighbouring inputs at one tap, the
///                 last ones smaller where r or c does not divide
///   n:m           per row and group of m columns the n most important weights (the last group may be smaller); the others
///                 go with the decision to prune at all
class Units {
 public:
  Units() = default;
  /// `taps` divides cols.
  Units(Pattern pattern, int64_t rows, int64_t cols, int64_t taps = 1);

  const Pattern& pattern() const { return pattern_; }
  int64_t count() const { return count_; }
  int64_t weights() const { return rows_ * cols_; }
  /// Whether all units hold as much: their number then says all.
  bool alike() const;
  int64_t size(int64_t unit, Measure measure) const;
  /// Of all units. kStored and kQuads never count more than the weight has entries: the padding costs nothing more.
  int64_t total(Measure measure) const;
  /// Of the largest unit.
  int64_t largest(Measure measure) const;
  /// Least number of units that hold `least` weights whichever they are; count() + 1 when all do not.
  int64_t units_for(int64_t least) const;

  /// Sums over the members. `importance`: one score per weight. Throws std::invalid_argument naming the first that is NaN,
  /// infinite or negative; `name` says whose.
  UnitScores scores(std::span<const float> importance, std::string_view name) const;
  /// Bits of the weights that stay when the units marked in `kept` (bits) do. `importance`: as for scores().
  std::vector<uint8_t> mask(const std::vector<uint8_t>& kept, std::span<const float> importance) const;
  /// Where a unit is found: flat index of the weight, or, of a block, its number in row-major order.
  int64_t index(int64_t unit, std::span<const float> importance) const;

 private:
  /// Inputs are `taps_` columns apart; `col` is that of the first.
  struct Extent {
    int64_t row = 0, col = 0, rows = 0, inputs = 0;
  };
  Extent extent(int64_t unit) const;  // of a block, within the weight
  /// Of n:m: calls `visit(first weight of the row, which of the row's weights are units)`, row by row.
  template <typename Visit>
  void for_each_row(std::span<const float> importance, Visit visit) const;

  Pattern pattern_;
  int64_t inputs() const { return cols_ / taps_; }

  int64_t rows_ = 0, cols_ = 0, taps_ = 1, count_ = 0;
  int64_t across_ = 0;  // blocks (those of an input at all taps side by side), or groups of m, in a row
};

/// What the `kept` first units of a ranking hold.
class KeptSizes {
 public:
  KeptSizes() = default;
  /// Whichever stay: exact when units are alike, else the most they may hold.
  explicit KeptSizes(const Units& units) : units_(units) {}
  /// Exact, for these scores (of units).
  KeptSizes(const Units& units, std::span<const float> scores);
  int64_t at(int64_t kept, Measure measure) const;
  /// The same with all padding: may be more than the weight has entries.
  int64_t padded(int64_t kept, Measure measure) const;

 private:
  Units units_;
  std::vector<int64_t> weights_, quads_;  // by count; empty when units are alike
};

}  // namespace jouleprune::select
