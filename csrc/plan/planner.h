// From a recorded workload and importance scores to masks under a budget of joules, bytes or multiply-adds. Torch-free.
// Rule and algorithm (docs/selection.md): what is spent <= budget always, and above 99 % of it or maximal.
#pragma once
#include <jouleprune/plan.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace jouleprune::select {
struct Together;
}

namespace jouleprune::plan {

class Pricer;

/// A weight the caller allows to be pruned.
struct PrunableWeight {
  std::string name;                  ///< as in Entry::weight
  double min_density = 0;            ///< floor, 0..1
  std::string pattern = "";          ///< its own; empty: the request's
  std::vector<std::string> layouts = {};  ///< sparse layouts that the caller can run; empty: all
  std::vector<std::string> dtypes = {};   ///< number types allowed beside its own
  int64_t copies = 1;                     ///< names that the weight is stored under
};

struct Request {
  Workload workload;  ///< recorded from the model; nnz of prunable weights is ignored (dense_j means unmasked)
  Profile profile;
  std::string pattern = "unstructured";  ///< as select::Pattern::parse, or "auto": the best for each weight
  std::string importance = "lamp";      ///< only written into the plan
  std::vector<PrunableWeight> weights;  ///< in the order that breaks ties
  std::vector<MeasuredLimit> measured = {};  ///< of the machine that will run the network (csrc/plan/limits.h)
  std::string prune_for = "joules";          ///< what budgets count; or "bytes", "macs"
  std::optional<int64_t> other_bytes = {};   ///< stored beside `weights`; "bytes" needs it
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

  double dense() const;    ///< all prunable weights unmasked, in the request's currency
  double minimum_j() const;  ///< the least within the floors, in that currency too
  double dense_j() const;  ///< joules of the unmasked network, whatever the currency
  const Request& request() const;
  /// The plan that prunes nothing: dense_j, minimum_j and every prunable layer, before any importance is known.
  Plan dense_plan() const;
  /// Throws core::BudgetError when the budget is not positive, above dense() or below minimum_j() (with `frozen`: of
  /// those weights), which the error carries.
  void check_budget(double budget, const std::vector<bool>* frozen = nullptr) const;

  /// Masks of least importance lost that spend at most the budget.
  /// `importance`: one span per Request::weights, one non-negative finite score per weight; higher = keep. A unit is worth
  /// the sum of its members.
  /// `frozen`: when given, only the weights it marks true may be pruned (the decision of an earlier round of a
  /// schedule). Throws core::BudgetError when budget < minimum_j(); std::invalid_argument when a score is NaN, infinite
  /// or negative (names the weight and the index). Pure: same input, same masks.
  /// `together`: `importance` is the part of this process (pattern "unstructured" alone), all processes call alike, and masks are of the
  /// part; the plan is of the whole, with the bits that one process would find.
  Result select(std::span<const std::span<const float>> importance, double budget,
                const std::vector<bool>* frozen = nullptr, const select::Together* together = nullptr) const;

  /// As select, for a step on the way of a schedule: masks whose energy on the convex hull between dense and sparse is
  /// at most `target`, pruning only what `frozen` marks (a kernel that wins only below a break-even density has no
  /// joules to offer before it; the hull gives each step its share of the removal). The plan's budget_j is the target and
  /// its energy_j the true one, which may be higher: slack_j is then negative, and layers that do not win yet keep a
  /// dense kernel. Where zeros save by themselves, and of bytes and multiply-adds, there is no break-even to wait for, and no more than
  /// `target` is spent. At the final budget use select.
  Result select_relaxed(std::span<const std::span<const float>> importance, double target,
                        const std::vector<bool>& frozen, const select::Together* together = nullptr) const;

 private:
  struct Impl;
  std::shared_ptr<const Impl> impl_;
};

}  // namespace jouleprune::plan
