// The order in which a layer's units stay (by importance, then by index), kept as histograms instead of a sorted list.
// Memory: the non-empty bins of one 15-bit histogram and a few refined bins per layer, whatever the number of units.
#pragma once
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "select/magnitude.h"
#include "select/together.h"

namespace jouleprune::select {

/// Non-negative finite floats order like their bits, so the bits are the keys. Keys lie in [0, kKeyEnd).
inline constexpr uint32_t kKeyEnd = 0x7f800000u;

/// Key of a score; -0 counts as 0.
inline uint32_t key_of(float score) { return magnitude(score); }
/// Score of a key.
inline float score_of(uint32_t key) { return std::bit_cast<float>(key); }
/// Least key above 0 whose score is at least `cut`; kKeyEnd when no float is.
uint32_t cut_key(double cut);

/// Throws std::invalid_argument naming the first score that is NaN, infinite or negative; `name` says whose.
void check_scores(std::span<const float> scores, std::string_view name);

/// What at_least() does when the cut falls inside a bin of the histogram.
enum class Rounding {
  kExact,  ///< refines the bin by one pass over the layer
  kUp,     ///< counts the whole bin: an upper bound
  kDown,   ///< counts nothing of the bin: a lower bound
};

/// One layer's units. Borrows the scores: they must outlive it and stay as they are.
class Ranking {
 public:
  /// O(units). Throws std::invalid_argument naming the first score that is NaN, infinite or negative; `name` says
  /// whose. `together`: `scores` are the part of this process, and all that is told is of all parts; an error in one is one in all.
  Ranking(std::span<const float> scores, std::string_view name, const Together* together = nullptr);

  int64_t units() const { return units_; }
  /// Of this process.
  std::span<const float> scores() const { return scores_; }
  const Together* together() const { return together_; }
  /// Number of units with a key of at least `key`.
  int64_t at_least(uint32_t key, Rounding rounding = Rounding::kExact);
  /// Key of the unit at `rank` (1 = the most important, units() = the least).
  uint32_t key_at(int64_t rank);
  /// Importance of all units but the `kept` first.
  double lost(int64_t kept);
  /// As lost(), interpolated inside a bin: no pass over the layer; off by at most the spread of one bin (0.8 %) of its
  /// share.
  double lost_about(int64_t kept) const;

 private:
  struct Bin {
    uint32_t top = 0;      // upper 15 bits of its keys
    int64_t at_least = 0;  // units in this bin and above
    double below = 0;      // importance in the bins below
    double sum = 0;        // importance in this bin
  };
  struct Step {
    uint32_t key = 0;
    int64_t at_least = 0;  // units in the bin with this key or a higher one
    double below = 0;      // importance in the bin below this key
  };
  struct Refined {
    size_t bin = 0;
    std::vector<Step> steps;  // distinct keys, ascending
  };

  size_t bin_of_rank(int64_t rank) const;
  int64_t above(size_t bin) const { return bin + 1 < bins_.size() ? bins_[bin + 1].at_least : 0; }
  const std::vector<Step>& refine(size_t bin);
  std::vector<Step> gathered(size_t bin) const;
  std::vector<Step> counted(size_t bin) const;
  void bring_together(std::string_view name);

  std::span<const float> scores_;
  const Together* together_ = nullptr;
  int64_t units_ = 0;
  std::vector<Bin> bins_;         // non-empty ones, ascending
  std::vector<Refined> refined_;  // the last few asked for
  size_t oldest_ = 0;
};

}  // namespace jouleprune::select
