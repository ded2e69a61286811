// What storage of a fixed-nest device moves, and what that costs.
#pragma once
#include <array>
#include <vector>

#include "energy/nest/problem.h"

namespace jouleprune::energy::nest {

/// What a search minimises, beside the arithmetic that all mappings share.
struct Prices {
  std::vector<double> read_pj_per_bit, write_pj_per_bit;  ///< [device levels]
  double step_pj = 0;                                     ///< static energy of one step of the array
  int bits = 16;                                          ///< of an element
};

/// Bits of {reads, fills and updates} at one level of one tensor, all instances, in whole blocks.
std::array<double, 2> moved_bits(const std::array<int64_t, 3>& accesses, const DeviceLevel& storage, int bits,
                                 double instances);

/// Picojoules of all storage and of the steps, zeros not counted.
double storage_pj(const Layout& layout, const NestCounts& counts, const Device& device, const Prices& prices);

}  // namespace jouleprune::energy::nest
