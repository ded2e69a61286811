// Counts of the energy model, by themselves: published cases, and what their devices count.
// Torch-free. The model and the case files: docs/energy_model.md.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace jouleprune::energy {

/// What a case file describes, computed from its inputs alone.
struct CaseCounts {
  std::string json;                     ///< an object with the keys of the file's `expected`
  std::vector<std::string> deviations;  ///< one line per expected value that is further off than the file's tolerance
  std::vector<std::string> assumptions; ///< one line per value that the file does not give and the counts rest on, with its place
};

/// Counts a case file (JSON text) of kind "loop-nest", "systolic-array-model" or "energy-budget-projection". `origin`
/// is named in errors. Throws jouleprune::ProfileError with the JSON pointer of what is malformed.
CaseCounts count(std::string_view json, const std::string& origin);

/// The same for the torch-free core, which throws core::ProfileError.
CaseCounts count_case(std::string_view json, const std::string& origin);

}  // namespace jouleprune::energy
