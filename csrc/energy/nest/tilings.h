// The tilings that a profile offers for a layer: the given one, or those that a search found once.
#pragma once
#include <memory>
#include <vector>

#include "energy/nest/mapper.h"
#include "energy/profile_data.h"

namespace jouleprune::energy::nest {

struct Tilings {
  bool given = false;
  std::vector<Tiling> choices;
};

/// A given mapping that does not fit the layer counts as none. Searches are for channels and groups rounded up to four
/// significant bits, a few batches and all widths from `bits` up to 64, the same for all layers that differ in batch
/// or width only; so a price that is the least of the choices never falls when the batch or the width grows. Results are kept per
/// profile and sizes, at most 4,096 of them. Thread-safe.
std::shared_ptr<const Tilings> tilings_for(const Problem& problem, const std::string& op, const ProfileData& profile,
                                           int bits);

/// Energy of storage and steps at the middle of every interval.
Prices prices_of(const ProfileData& profile, const DtypeCost& cost);

/// Arithmetic units that the array has.
double units_of(const Device& device);

}  // namespace jouleprune::energy::nest
