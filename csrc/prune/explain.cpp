// explain(): what each pruned layer runs, and why.
#include <jouleprune/prune.h>

#include <algorithm>

#include "prune/candidates.h"

namespace jouleprune {

std::string explain(const torch::nn::Module& module) {
  auto& root = const_cast<torch::nn::Module&>(module);  // walked, not changed
  for (const auto& place : prune::modules_of(root)) {
    const auto* explained = dynamic_cast<const nn::Explained*>(place.module);
    if (explained != nullptr && explained->decisions != nullptr) {
      return prune::lines(*explained->decisions);
    }
  }
  // No layer carries decisions: say at least which pruned layers could not run sparse, and why.
  std::vector<Decision> found;
  for (const auto& parameter : root.named_parameters()) {
    const auto places = prune::places_of(root, parameter.value());
    if (std::none_of(places.begin(), places.end(), prune::holds_weight)) {
      continue;
    }
    const auto kept = parameter.value().detach().ne(0).sum().item<int64_t>();
    if (kept == parameter.value().numel()) {
      continue;
    }
    const auto why = prune::obstacle(root, parameter.value(), /*replace_in_lists=*/false);
    Decision decision;
    decision.name = prune::layer_of(parameter.key());
    decision.weight = parameter.key();
    decision.density = static_cast<double>(kept) / static_cast<double>(parameter.value().numel());
    decision.reason = "dense: " + (why.empty() ? std::string("not converted, or dense ran faster (convert() returns the times)") : why);
    found.push_back(std::move(decision));
  }
  return found.empty() ? "every layer runs dense and holds no zeros" : prune::lines(found);
}

}  // namespace jouleprune
