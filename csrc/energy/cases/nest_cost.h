// Cycles and picojoules of a counted loop nest.
#pragma once
#include <array>

#include "energy/cases/loop_nest_case.h"

namespace jouleprune::energy::cases {

/// One tensor at one level, priced.
struct Priced {
  double instance_pj = 0, total_pj = 0;
};

class NestCost {
 public:
  /// `sparse` is looked at where the case makes use of zeros. All must outlive this.
  NestCost(const LoopNestCase& given, const nest::NestCounts& dense, const nest::SparseCounts& sparse);

  int64_t compute_cycles() const { return compute_cycles_; }
  int64_t cycles() const { return cycles_; }
  int64_t stored(size_t level, size_t tensor) const;  ///< most words that an instance holds
  std::array<int64_t, 3> actual(size_t level,
                                size_t tensor) const;   ///< reads, fills, updates that happen, per instance
  double instances(size_t level, size_t tensor) const;  ///< mean of those that hold something
  Priced price(size_t level, size_t tensor) const;
  double leakage_pj(size_t level) const;

 private:
  void find_cycles();
  int64_t throttled(double demand, double ports) const;
  int64_t level_cycles(size_t level, const StorageLevel& storage) const;
  int64_t format_bits(size_t level, size_t tensor, const std::vector<nest::FormatUnits>& units) const;
  double partly_filled(size_t level, size_t tensor, const StorageLevel& storage) const;
  nest::Box tile_box(size_t level, size_t tensor) const;

  const LoopNestCase& given_;
  const nest::NestCounts& dense_;
  const nest::SparseCounts& sparse_;
  int64_t compute_cycles_ = 0, cycles_ = 0;
};

}  // namespace jouleprune::energy::cases
