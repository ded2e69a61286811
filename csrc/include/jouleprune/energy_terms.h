// Where a modelled joule comes from: counts x coefficients, and the source of every coefficient. Torch-free.
// docs/report.md, "Explaining one number".
#pragma once
#include <jouleprune/energy.h>

#include <string>
#include <vector>

namespace jouleprune::energy {

/// One product of the sum. Terms that are 0 by their count or coefficient are left out.
struct EnergyTerm {
  std::string part;    ///< "compute", "memory", "metadata", "static"
  std::string what;    ///< "multiply-accumulates", "reads of DRAM", "time", ...
  double count = 0;    ///< per forward pass
  std::string unit;    ///< of the count: "MACs", "operations", "indices", "bits", "s", "launches"
  std::string pointer;  ///< JSON pointer of the coefficient in the profile
  double coefficient = 0, low = 0, high = 0;  ///< as used: pJ, W or J per unit
  std::string coefficient_unit;
  double energy_j = 0, low_j = 0, high_j = 0;  ///< per `count` of the report; the ends have counts of their own
  std::vector<std::string> behind;             ///< pointers of the profile's numbers that shaped the count
};

/// One number of the profile and its source.
struct Coefficient {
  std::string pointer;
  double value = 0, low = 0, high = 0;  ///< as the profile lists them
  std::string kind, source, date;       ///< "published", "measured", "fitted", "memory", "assumed"
  std::string note;                     ///< how the number was changed before use; empty when it was not
};

/// Adding `energy_j` of a part's terms in their order gives that part of `layer` exactly (0 for a part without terms),
/// and compute + memory + metadata + static, in this order, give `layer.energy_j` exactly.
struct LayerExplanation {
  LayerEnergy layer;
  double seconds = 0;  ///< modelled time of the call, without its launch
  std::vector<EnergyTerm> terms;
  std::vector<Coefficient> coefficients;  ///< all that `terms` name, in the order of their first mention
};

/// Explains the price of one call; joules are divided by `count` as in a report.
/// Throws std::invalid_argument as an estimate of the entry does.
LayerExplanation explain(const Entry& entry, const Profile& profile, int64_t count);

/// {"layer", "seconds", "terms", "coefficients"}; the names of the members above.
std::string to_json(const LayerExplanation& explanation);

}  // namespace jouleprune::energy
