// What else could run a pruned layer, and how long that would take. Torch-free.
#pragma once
#include <jouleprune/energy.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "plan/tuning.h"

namespace jouleprune::plan {

/// One way to run a layer. Seconds per forward pass, all its calls.
struct Alternative {
  std::string what;                    ///< "csr float32", "torch dense int8", ...
  double predicted_s = 0;              ///< by cost entries
  std::optional<double> measured_s{};  ///< on this machine; empty where some call has no time
  /// "csr float32: 12.3 us predicted, not measured"
  std::string to_string() const;
};

/// What a weight keeps, counted in entries as each kind of kernel stores them.
struct KeptEntries {
  std::string pattern;                ///< as it was pruned: "unstructured", "16x1", ...
  int64_t weights = 0;                ///< by themselves
  std::optional<int64_t> in_blocks{};  ///< in blocks of the pattern; empty for a pattern without blocks
  std::optional<int64_t> in_quads{};   ///< in blocks of 1 x 4, as int8 stores a matrix; empty for other weights
};

/// What could run the `calls` of a weight (recorded dense, not empty): dense, the sparse kernels that take all of them, and torch's
/// dense products in bfloat16 and int8. `profile` predicts; `times` has what was measured here with `threads` (nullptr: nothing).
std::vector<Alternative> alternatives(std::span<const Entry> calls, const KeptEntries& kept, const Profile& profile,
                                      const TuningTable* times, int threads);

/// The built-in profile that comes nearest to this machine's processor: "xeon-amx" where matrix tiles are in use, else "generic-cpu".
const char* host_profile();

/// The profile that predicts times here: `device` where it is a CPU or GPU, else host_profile().
Profile predicting_profile(const std::optional<Profile>& device);

}  // namespace jouleprune::plan
