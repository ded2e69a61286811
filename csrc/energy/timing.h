// Time of a call as it was measured: a formula per family of calls, corrected near the shapes that were measured.
//
//   seconds = launch_s + (sum of count x seconds of one) x ratio
//   ratio   = exp(sum of w_i log(measured_i / formula_i) / (sum of w_i + pull)),   w_i = exp(-distance_i^2 / (2 reach^2))
//
// Nadaraya (1964) and Watson (1964) with a prior: far from all measured shapes the formula stands alone, near them their own error is
// taken out. Distances are Euclidean in octaves of the sizes. The counts of a family never fall when kept weights are added, and kept
// weights are no coordinate: neither does the time.
#pragma once
#include <array>
#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "energy/kernel_cost.h"
#include "energy/profile_data.h"

namespace jouleprune::energy {

class Node;

/// What a family's formula counts. "row": of results, along their last axis; "narrow_mac": MACs over the columns that share a load of a weight, up to 16; "lone_mac": MACs over the
/// sums that can be under way at a time; "step": of a recurrent layer, per step in time; "unfolded": values of the unfolded image, and
/// rows of it that are copied as one. "far": of operands that fill more than the second innermost cache; "large", "fresh": of results
/// that the allocator gives back to the system at times, or always.
enum class Timed : size_t {
  kCall, kImage, kRow, kStep, kMac, kNarrowMac, kLoneMac, kStepMac, kWeight, kStepWeight, kStream, kInput, kOutput, kUnfolded, kUnfoldedRow, kLoad,
  kOperation, kFar, kLarge, kFresh
};
/// Their names in profiles, in the order of Timed.
inline constexpr std::array<std::string_view, 20> kTimedNames = {
    "call", "image", "row", "step", "mac", "narrow_mac", "lone_mac", "step_mac", "weight_byte", "step_weight_byte", "stream_byte",
    "input_byte", "output_byte", "unfolded", "unfolded_row", "loaded_value", "operation", "far_byte", "large_byte", "fresh_byte"};
using TimedCounts = std::array<double, kTimedNames.size()>;

/// A call as the formula of its family sees it.
struct TimeView {
  std::string family;   ///< "linear float32", "csr convolution float32", "elementwise clamp"
  std::string general;  ///< the family of all calls of its op, for those whose own was not measured; may be empty
  TimedCounts counts{};
  std::vector<double> at;  ///< sizes in octaves
};

/// `done`: the counts of entry.kernel. Nothing for calls whose time the family's sizes do not tell (an image that was not told, ops that
/// are not swept): a roofline times them.
std::optional<TimeView> time_view(const Entry& entry, const ProfileData& profile, const KernelCounts& done);

/// Seconds besides profile.launch_s; nothing where the profile has no family for the call.
std::optional<double> family_seconds(const Entry& entry, const ProfileData& profile, const KernelCounts& done, Corner corner);

/// The family of `profile` that times the entry; empty where a roofline does.
std::string timed_as(const Entry& entry, const ProfileData& profile);

/// Log of the ratio at a place, from places and logs of ratios that were measured.
double correction(const std::vector<std::vector<double>>& places, const std::vector<double>& logs, const std::vector<double>& at,
                  double reach, double pull);

/// `/timing/NAME` of a profile; `quantity` reads a number with its interval and provenance. Refuses a NAME of no family, which would time
/// nothing, and shapes of other sizes than its calls have, which would correct nothing.
TimeFamily read_family(const Node& node, const std::string& name, const std::function<Quantity(const Node&)>& quantity);

}  // namespace jouleprune::energy
