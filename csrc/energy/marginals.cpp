#include <jouleprune/marginals.h>

#include <algorithm>
#include <stdexcept>

#include "energy/kernel_cost.h"
#include "energy/price.h"
#include "energy/profile_data.h"

namespace jouleprune::energy {
namespace {

constexpr int64_t kLongestStep = 4096;  // no array is wider

double joules(const Entry& entry, const Profile& profile) { return price(entry, profile, 1).energy_j; }

/// `value` with `left` of `all` parts; exact where `all` divides it, as it does for all sizes of a layer.
int64_t part(int64_t value, int64_t left, int64_t all) {
  return static_cast<int64_t>(static_cast<__int128>(value) * left / all);
}

/// Columns of W that one input feature or channel stands for.
int64_t columns_per_input(const Entry& entry) {
  int64_t taps = 1;
  for (size_t i = 2; i < entry.shape.size(); ++i) taps *= entry.shape[i];
  return taps > 0 && entry.cols % taps == 0 ? taps : 1;
}

}  // namespace

Unit unit_of(const std::string& name) {
  if (name == "weight") return Unit::kWeight;
  if (name == "output") return Unit::kOutput;
  if (name == "input") return Unit::kInput;
  throw std::invalid_argument("unit: expected one of weight, output, input, got '" + name + "'");
}

int64_t units(const Entry& entry, Unit unit) {
  if (entry.weight_elements == 0) return 0;
  switch (unit) {
    case Unit::kWeight:
      return entry.nnz;
    case Unit::kOutput:
      return entry.rows;
    case Unit::kInput:
      return entry.cols / columns_per_input(entry);
  }
  return 0;
}

Entry without(const Entry& entry, Unit unit, int64_t count) {
  const int64_t all = units(entry, unit);
  if (count < 0 || count > all) {
    throw std::invalid_argument("entry '" + entry.name + "': count: expected an integer from 0 to " +
                                std::to_string(all) + ", got " + std::to_string(count));
  }
  Entry smaller = entry;
  if (unit == Unit::kWeight) {
    smaller.nnz -= count;
    return smaller;
  }
  const int64_t left = all - count;
  const bool outputs = unit == Unit::kOutput;
  (outputs ? smaller.rows : smaller.cols) = outputs ? left : left * columns_per_input(entry);
  for (int64_t* size : {&smaller.macs, &smaller.weight_elements, &smaller.nnz}) *size = part(*size, left, all);
  int64_t& activations = outputs ? smaller.output_elements : smaller.input_elements;
  activations = part(activations, left, all);
  if (outputs) smaller.ops = part(entry.ops, left, all);
  const size_t axis = outputs ? 0 : 1;
  if (axis < smaller.shape.size()) smaller.shape[axis] = part(entry.shape[axis], left, all);
  return smaller;
}

Marginal marginal(const Entry& entry, const Profile& profile, Unit unit) {
  Marginal found;
  found.units = units(entry, unit);
  if (found.units == 0) return found;
  const double before = joules(entry, profile);
  const auto saved = [&](int64_t count) { return before - joules(without(entry, unit, count), profile); };
  const int64_t half = std::max(found.units / 2, int64_t{1});
  found.exact_j = saved(1);
  found.relaxed_j = saved(half) / static_cast<double>(half);
  // Differences of sums: what is missing by rounding alone is there.
  const double rounding = 1e-12 * before;
  found.step = std::min(found.units, kLongestStep);
  for (int64_t step = 1; step < found.step; ++step) {
    if (saved(step) + rounding >= static_cast<double>(step) * found.relaxed_j) found.step = step;
  }
  found.step_j = saved(found.step);
  return found;
}

std::vector<BreakEven> break_evens(const Entry& entry, const Profile& profile) {
  std::vector<BreakEven> found;
  if (entry.weight_elements == 0 || profile.data().dataflow != "cache-tiled") return found;
  Entry dense = entry;
  dense.nnz = dense.weight_elements;
  dense.layout = dense.kernel = dense.pattern = "dense";
  const double limit = joules(dense, profile);
  for (const KernelCost& kernel : kernels()) {
    if (kernel.layout == "dense" || !kernel.supports(entry)) continue;
    Entry pruned = dense;
    pruned.kernel = kernel.name;
    pruned.layout = kernel.layout;
    pruned.pattern = kernel.pattern == "block" ? "16x16" : "unstructured";  // blocks of another height run as csr
    const auto wins = [&](int64_t nnz) {
      pruned.nnz = nnz;
      return joules(pruned, profile) <= limit;
    };
    BreakEven& row = found.emplace_back(BreakEven{std::string(kernel.name), std::string(kernel.layout), std::nullopt});
    if (!wins(0)) continue;
    // Prices never fall when weights are added.
    int64_t low = 0, high = dense.weight_elements;
    while (low < high) {
      const int64_t middle = high - (high - low) / 2;
      if (wins(middle)) {
        low = middle;
      } else {
        high = middle - 1;
      }
    }
    row.density = static_cast<double>(low) / static_cast<double>(dense.weight_elements);
  }
  return found;
}

}  // namespace jouleprune::energy
