// From a recorded workload and importance scores to masks under a joule budget. Torch-free.
// Rule and algorithm (docs/selection.md): energy_j <= budget always, and above 99 % of it or maximal.
#pragma once
#include <jouleprune/plan.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace jouleprune::plan {

class Pricer;

/// A weight the caller allows to be pruned.
struct PrunableWeight {
  std::string name;                  ///< as in Entry::weight
  double min_density = 0;            ///< floor, 0..1
  std::string pattern = "";          ///< its own; empty: the request's
  std::vector<std::string> layouts = {};  ///< sparse layouts that the caller can run; empty: all
  std::vector<std::string> dtypes = {};   ///< number types allowed beside its own
};

struct Request {
  Workload workload;  ///< recorded from the model; nnz of prunable weights is ignored (dense_j means unmasked)
  Profile profile;
  std::string pattern = "unstructured";  ///< as select::Pattern::parse, or "auto": the best for each weight
  std::string importance = "lamp";      ///< only written into the plan
  std::vector<PrunableWeight> weights;  ///< in the order that breaks ties
  std::vector<MeasuredLimit> measured = {};  ///< of the machine that will run the network (csrc/plan/limits.h)
};

/// One bit per weight, flat index i at byte i / 8, bit i % 8 (least significant first); 1 = kept. Empty = nothing is
/// removed.
using MaskBits = std::vector<uint8_t>;

struct Result {
  Plan plan;
  std::vector<MaskBits> masks;  ///< same order as Request::weights
};

class Planner {
 public:
  /// Prices dense and sparse candidates of every prunable weight. Throws core::PatternError, std::invalid_argument
  /// (unknown weight name).
  explicit Planner(Request request);
  /// As above with another energy model (csrc/plan/pricer.h); request.profile is not looked at.
  Planner(Request request, std::shared_ptr<const Pricer> pricer);

  double dense_j() const;    ///< all prunable weights unmasked
  double minimum_j() const;  ///< least energy within the floors
  const Request& request() const;
  /// The plan that prunes nothing: dense_j, minimum_j and every prunable layer, before any importance is known.
  Plan dense_plan() const;
  /// Throws core::BudgetError when the budget is not positive, above dense_j or below minimum_j (with `frozen`: of
  /// those weights).
  void check_budget(double budget_j, const std::vector<bool>* frozen = nullptr) const;

  /// Masks of least importance lost with energy <= budget_j.
  /// `importance`: one span per Request::weights, one non-negative finite score per weight; higher = keep. A unit is worth
  /// the sum of its members.
  /// `frozen`: when given, only the weights it marks true may be pruned (the decision of an earlier round of a
  /// schedule). Throws core::BudgetError when budget_j < minimum_j; std::invalid_argument when a score is NaN, infinite
  /// or negative (names the weight and the index). Pure: same input, same masks.
  Result select(std::span<const std::span<const float>> importance, double budget_j,
                const std::vector<bool>* frozen = nullptr) const;

  /// As select, for a step on the way of a schedule: masks whose energy on the convex hull between dense and sparse is
  /// at most `target_j`, pruning only what `frozen` marks (a kernel that wins only below a break-even density has no
  /// joules to offer before it; the hull gives each step its share of the removal). The plan's budget_j is target_j and
  /// its energy_j the true one, which may be higher: slack_j is then negative, and layers that do not win yet keep a
  /// dense kernel. Where zeros save
  /// by themselves there is no break-even to wait for, and energy_j <= target_j. At target_j == final budget use
  /// select.
  Result select_relaxed(std::span<const std::span<const float>> importance, double target_j,
                        const std::vector<bool>& frozen) const;

 private:
  struct Impl;
  std::shared_ptr<const Impl> impl_;
};

}  // namespace jouleprune::plan
