// Layers that a plan empties.
#include <jouleprune/plan.h>

#include <algorithm>

#include "plan/emptied.h"

namespace jouleprune {
namespace plan {

bool passes_next_to_nothing(double kept, int64_t rows) { return kept < kNextToNone * static_cast<double>(rows); }

}  // namespace plan

std::vector<std::string> Plan::emptied() const {
  std::vector<std::string> names;
  for (const LayerPlan& layer : layers) {
    const auto call = std::find_if(workload.entries.begin(), workload.entries.end(),
                                   [&](const Entry& entry) { return entry.weight == layer.weight; });
    if (layer.pattern == "dense" || call == workload.entries.end()) continue;
    const double kept = layer.density * static_cast<double>(call->weight_elements);
    if (plan::passes_next_to_nothing(kept, call->rows)) names.push_back(layer.name);
  }
  return names;
}

}  // namespace jouleprune
