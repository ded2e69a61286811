// Budget and plan: what the user asks for, and the decision per layer as plain data. Torch-free.
#pragma once
#include <jouleprune/energy.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace jouleprune {

/// The constraint on the network as it will run: joules per `count`, absolute or relative to the unmasked dense model.
class Budget {
 public:
  /// Throws core::BudgetError unless positive and finite.
  static Budget joules(double energy_j);
  /// Throws core::BudgetError unless above 0 and at most 100.
  static Budget percent(double percent);
  /// "60%" or a number of joules ("1.2e-3"). Throws core::BudgetError.
  static Budget parse(std::string_view text);
  /// Joules, given the dense energy; or bytes or multiply-adds ("bytes", "multiply-adds") given those of the dense network. Throws
  /// core::BudgetError when that is not positive or the budget is above it.
  double resolve(double dense, std::string_view unit = "J") const;
  std::string to_string() const;

 private:
  Budget(double value, bool relative) : value_(value), relative_(relative) {}
  double value_;
  bool relative_;
};

/// What happens to one prunable weight.
struct LayerPlan {
  std::string name;    ///< layer
  std::string weight;  ///< parameter
  std::string pattern = "dense", layout = "dense", dtype = "float32", kernel = "dense";
  int64_t units = 0;       ///< units the pattern can remove: weights, or blocks ("16x1"); of "2:4" two weights of each four
  int64_t kept = 0;        ///< units kept
  double density = 1;      ///< weights kept / weights
  double min_density = 0;  ///< the least that was allowed
  double energy_j = 0;     ///< all calls of the layer, per count
  double dense_j = 0;
  double importance_lost = 0;
  std::string reason;      ///< one sentence for people
};

/// The next unit that would come back if there were budget for it.
struct NextUnit {
  std::string weight;
  int64_t index = -1;    ///< flat index in the weight, or the block's number, row by row of blocks
  double energy_j = 0;   ///< what putting it back would add, joules per count
};

/// From this density on the kernel lost to dense on this machine, so the plan does not choose it there.
struct MeasuredLimit {
  std::string weight, kernel, dtype;
  double below = 1;
};

/// What a plan that was not made for joules spends of bytes or multiply-adds, per forward pass.
struct Amounts {
  double budget = 0;
  double used = 0;     ///< at most the budget
  double dense = 0;    ///< of the unmasked network
  double minimum = 0;  ///< the least that can be reached
  double slack = 0;    ///< budget - used
  std::optional<double> next{};  ///< what putting the next unit back would add
};

struct Plan {
  /// What the budget counts: "joules"; "bytes" of the stored network; "macs", multiply-adds with kept weights. Where it is not joules,
  /// `amounts` holds it, budget_j and minimum_j equal energy_j, and slack_j is 0: joules are told, not bounded.
  std::string prune_for = "joules";
  std::optional<Amounts> amounts{};
  /// Of the file that Python's save(convert(model, plan=plan), packed=True) writes, its tensors alone; empty where nobody told how many
  /// bytes there are beside the weights of `layers`.
  std::optional<double> stored_bytes{};
  std::string profile, profile_hash, per = "inference";
  std::string pattern = "unstructured";  ///< as asked for: "unstructured", "16x1", "2:4", "auto"; that of a layer is in its line
  std::string importance, budget;
  int64_t batch = 1, count = 1;
  double budget_j = 0, energy_j = 0, dense_j = 0, minimum_j = 0;
  std::string tuning;      ///< hash of the table the kernels were chosen by
  std::vector<MeasuredLimit> measured;  ///< what of it was measured on the machine that made the plan
  bool maximal = false;    ///< putting back any single removed unit would exceed the budget
  double slack_j = 0;      ///< budget_j - energy_j
  /// Importance lost beyond a bound below which no choice of patterns and counts can be (Lagrangian relaxation, of the joule
  /// curves as they are sampled); empty where there was one pattern to choose from.
  std::optional<double> duality_gap;
  std::optional<NextUnit> next_unit;
  std::vector<LayerPlan> layers;
  std::vector<bool> decided;  ///< per layer: whether it is pruned; what the steps of a schedule take as `frozen`
  Workload workload;       ///< as it will run: kernels and kept counts set; estimate(workload) gives energy_j

  /// Layers that keep no weight, or fewer than one for ten outputs: nothing passes through them any more. In call order.
  std::vector<std::string> emptied() const;

  std::string to_json() const;
  /// Throws std::invalid_argument with the JSON pointer of what is wrong.
  static Plan parse(std::string_view json);
};

}  // namespace jouleprune
