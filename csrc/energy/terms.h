// The sum that is an entry's energy, term by term: price() adds the terms up, explain() shows them.
#pragma once
#include "energy/engine.h"
#include "energy/profile_data.h"

namespace jouleprune::energy {

/// What a term counts.
enum class Counted { kMacs, kOps, kIndices, kReads, kWrites, kMetadata, kSeconds, kLaunchSeconds, kLaunches };

/// One product `count x coefficient`. Coefficients of energy are in pJ, but for watts and for joules of a launch.
struct Term {
  Counted counted;
  size_t level;  ///< of reads, writes and metadata
  double count;  ///< per forward pass: MACs, operations, indices, bits, seconds, launches
  double coefficient;
  double scale;  ///< joules of one unit of the coefficient
  double joules(double per) const { return scale * count * coefficient / per; }
};

/// Calls visit(Term) for every term at one corner, always the same ones in the same order, which is the order in which
/// those of a part are added.
template <typename Visit>
void each_term(const Counts& counts, const ProfileData& profile, const DtypeCost& cost, Corner corner, Visit visit) {
  constexpr double kPico = 1e-12;
  visit(Term{Counted::kMacs, 0, counts.macs_charged, cost.mac_pj.at(corner), kPico});
  visit(Term{Counted::kOps, 0, counts.ops, cost.op_pj.at(corner), kPico});
  visit(Term{Counted::kIndices, 0, counts.index_decodes, profile.index_decode_pj.at(corner), kPico});
  for (size_t i = 0; i < profile.levels.size(); ++i) {
    const double read_pj = profile.levels[i].read_pj_per_bit.at(corner);
    visit(Term{Counted::kReads, i, counts.levels[i].read_bits, read_pj, kPico});
    visit(Term{Counted::kWrites, i, counts.levels[i].write_bits, profile.levels[i].write_pj_per_bit.at(corner), kPico});
    visit(Term{Counted::kMetadata, i, counts.levels[i].metadata_bits, read_pj, kPico});
  }
  const double watts = profile.static_w.at(corner);
  visit(Term{Counted::kSeconds, 0, counts.seconds, watts, 1});
  visit(Term{Counted::kLaunchSeconds, 0, profile.launch_s.at(corner), watts, 1});
  visit(Term{Counted::kLaunches, 0, 1, profile.launch_j.at(corner), 1});
}

/// The part of the energy that a term belongs to.
inline double& part_of(Parts& parts, Counted counted) {
  switch (counted) {
    case Counted::kMacs:
    case Counted::kOps:
      return parts.compute_j;
    case Counted::kReads:
    case Counted::kWrites:
      return parts.memory_j;
    case Counted::kIndices:
    case Counted::kMetadata:
      return parts.metadata_j;
    case Counted::kSeconds:
    case Counted::kLaunchSeconds:
    case Counted::kLaunches:
      break;
  }
  return parts.static_j;
}

/// The engine of the profile's dataflow.
Engine engine_of(const ProfileData& profile);

}  // namespace jouleprune::energy
