// What this machine's measured times say of a kernel: from which density on dense is faster.
#pragma once
#include <jouleprune/plan.h>

#include <string>
#include <vector>

#include "plan/tuning.h"

namespace jouleprune::plan {

/// Sparse must win by so much: below that the difference drowns in noise (as in the races that fill the table).
inline constexpr double kMargin = 1.03;

/// A recorded call of op "linear" as the table names it, of density 1.
TunedCall linear_call(const Entry& entry, int threads);

/// For each of `weights` and each kernel that lost to dense on one of its calls: the density from which on it is not to be run.
/// Linear calls alone: of a convolution the workload does not tell what its time depends on. A loss is forgotten where the kernel
/// won at a higher density.
std::vector<MeasuredLimit> measured_limits(const Workload& workload, const std::vector<std::string>& weights,
                                           const TuningTable& table, int threads);

/// Those of this machine's table (tuning_path()); none with JOULEPRUNE_TUNE=off, on profiles that are no CPU, or where the file is
/// damaged.
std::vector<MeasuredLimit> limits_here(const Workload& workload, const std::vector<std::string>& weights,
                                       const Profile& profile, int threads);

}  // namespace jouleprune::plan
