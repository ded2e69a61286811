#include "plan/limits.h"

#include <algorithm>
#include <map>
#include <stdexcept>
#include <utility>

#include "plan/pricer.h"

namespace jouleprune::plan {
namespace {
constexpr const char* kDenseKernel = "dense";
constexpr const char* kTorchInt8 = "torch-int8";  // told beside the others, never a choice

/// By kernel: the lowest density at which it lost with no win above it.
std::map<std::string, double> lost_from(const std::map<double, std::map<std::string, double>>& measured) {
  std::map<std::string, double> below;
  for (const auto& [density, seconds] : measured) {  // ascending
    const auto dense = seconds.find(kDenseKernel);
    if (dense == seconds.end()) continue;
    for (const auto& [kernel, time] : seconds) {
      if (kernel == kDenseKernel || kernel == kTorchInt8) continue;
      if (time * kMargin < dense->second) {
        below.erase(kernel);
      } else {
        below.emplace(kernel, density);
      }
    }
  }
  return below;
}
}  // namespace

TunedCall linear_call(const Entry& entry, int threads) {
  TunedCall call;
  call.op = entry.op;
  call.dtype = entry.dtype;
  call.rows = entry.rows;
  call.cols = entry.cols;
  call.n = entry.n;
  call.groups = entry.groups;
  call.threads = threads;
  return call;
}

std::vector<MeasuredLimit> measured_limits(const Workload& workload, const std::vector<std::string>& weights,
                                           const TuningTable& table, int threads) {
  std::map<std::pair<std::string, std::string>, MeasuredLimit> limits;
  for (const Entry& entry : workload.entries) {
    const bool wanted = entry.op == "linear" && entry.groups == 1 &&
                        std::find(weights.begin(), weights.end(), entry.weight) != weights.end();
    if (!wanted) continue;
    for (const auto& [kernel, below] : lost_from(table.by_density(linear_call(entry, threads)))) {
      const std::string dtype = kernel == kInt8Kernel ? "int8" : entry.dtype;
      MeasuredLimit& limit =
          limits.try_emplace({entry.weight, kernel}, MeasuredLimit{entry.weight, kernel, dtype, below}).first->second;
      limit.below = std::min(limit.below, below);
    }
  }
  std::vector<MeasuredLimit> found;
  for (const auto& [key, limit] : limits) found.push_back(limit);
  return found;
}

std::vector<MeasuredLimit> limits_here(const Workload& workload, const std::vector<std::string>& weights,
                                       const Profile& profile, int threads) {
  const std::string path = tuning_path();
  if (path.empty() || profile.kind() != "cpu") return {};
  TuningTable table(this_machine());
  try {
    table.load(path);
  } catch (const std::invalid_argument&) {  // measured anew when a layer is converted
    return {};
  }
  return measured_limits(workload, weights, table, threads);
}

}  // namespace jouleprune::plan
