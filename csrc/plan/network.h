// A workload with prunable weights as selection sees it: candidates per layer, curves over kept units, exact totals. All that is
// summed, compared and bounded is in the request's currency: joules per count, or bytes or multiply-adds per forward pass. Names with
// "joules" and "_j" stand for any of them here, except where joules are told apart.
#pragma once
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "plan/candidates.h"
#include "plan/currency.h"
#include "plan/planner.h"
#include "plan/pricer.h"
#include "select/problem.h"
#include "select/units.h"

namespace jouleprune::plan {

/// A prunable weight in one pattern, with all calls that use it.
struct PrunableLayer {
  std::string name, weight, dtype;
  size_t group = 0;             ///< position of the weight in the request; its patterns exclude each other
  std::vector<size_t> entries;  ///< positions in the workload
  MatrixSize matrix;
  int64_t copies = 1;           ///< names that it is stored under
  select::Units units;
  std::vector<Form> forms;    ///< those that run all its entries pruned
  std::vector<Form> unpruned;  ///< those that run them with nothing removed; the first as recorded
  Form whole;                 ///< the cheapest of these
  double min_density = 0;
  int64_t floor = 0;          ///< the units of it
  int64_t last_winning = -1;  ///< most kept units at which a pruned form is below whole_j; below floor when none is
  double dense_j = 0;         ///< as recorded
  double whole_j = 0;         ///< run by `whole`
  select::Hull hull;          ///< of the pruned curve, from the floor to just past last_winning
  select::Hull relaxed;       ///< lower hull of the pruned curve and the dense point

  int64_t count() const { return units.count(); }
  bool can_win() const { return last_winning >= floor; }
};

/// How a layer runs, and what that costs.
struct Choice {
  Form form;
  int64_t nnz = 0;              ///< entries it stores
  double joules = 0;            ///< all entries of the layer
  std::vector<double> entries;  ///< each of them
};

/// Immutable; the curves are sampled once.
class Network {
 public:
  /// Throws core::PatternError, std::invalid_argument.
  Network(Request request, std::shared_ptr<const Pricer> pricer);

  const Request& request() const { return request_; }
  Currency currency() const { return currency_; }
  const Pricer& pricer() const { return *pricer_; }
  /// The patterns of one weight are neighbours.
  const std::vector<PrunableLayer>& layers() const { return layers_; }
  /// Positions in layers() of a weight's patterns: [first, last).
  std::pair<size_t, size_t> layers_of(size_t group) const { return {first_[group], first_[group + 1]}; }
  size_t groups() const { return request_.weights.size(); }
  /// Of every entry with nothing removed; of bytes one more, for all that is stored beside the weights.
  const std::vector<double>& whole_entries() const { return whole_entries_; }
  double dense_j() const { return dense_j_; }
  /// Joules of the network as recorded and unmasked.
  double dense_energy_j() const { return dense_energy_j_; }
  /// Joules of a layer's entries, run as chosen.
  double energy_j(size_t layer, const Choice& choice, const std::string& pattern) const;
  /// Joules of a layer as recorded.
  double dense_energy_j(size_t layer) const;
  /// Bytes of a weight, run as chosen, with the `kept` first units; under all its names.
  double bytes_of(size_t layer, const Choice& choice, const Held& held) const;
  /// Least energy within the floors when only the weights marked in `may_prune` (null: all) are pruned.
  double minimum_j(const std::vector<bool>* may_prune) const;
  /// The layer's entries run by its cheapest pruned form.
  Choice choice(size_t layer, int64_t kept, const select::KeptSizes& sizes) const;
  /// The layer's entries with nothing removed.
  Choice whole(size_t layer) const;
  /// Hash of what the kernels were chosen by.
  std::string tuning() const;

 private:
  void add_weight(const PrunableWeight& weight);
  PrunableLayer layer_of(const PrunableWeight& weight) const;
  Choice priced(const PrunableLayer& layer, const Form& form, int64_t nnz, const std::string& pattern, const Held& held) const;
  Choice priced_whole(const PrunableLayer& layer, const Form& form) const;
  double entry_j(const PrunableLayer& layer, size_t e, const Form& form, int64_t nnz, const std::string& pattern) const;
  void find_whole(PrunableLayer& layer) const;
  void sample(size_t layer);

  Request request_;
  std::shared_ptr<const Pricer> pricer_;
  Currency currency_;
  std::vector<PrunableLayer> layers_;
  std::vector<size_t> first_;  // of each group, and the end
  std::vector<double> whole_entries_;
  double dense_j_ = 0, dense_energy_j_ = 0;
};

/// The network as it will run; remembers the choices of one selection.
class NetworkJoules : public select::Joules {
 public:
  /// `sizes`: of each of the network's layers.
  NetworkJoules(const Network& network, std::vector<select::KeptSizes> sizes);
  double dense(size_t layer) override { return network_.layers()[layer].whole_j; }
  double pruned(size_t layer, int64_t kept) override { return choice(layer, kept).joules; }
  /// The sum over entries in workload order, exactly as estimate() adds them.
  double total(const select::Counts& counts) override;
  const Choice& choice(size_t layer, int64_t kept);
  const select::KeptSizes& sizes(size_t layer) const { return sizes_[layer]; }

 private:
  const Network& network_;
  std::vector<select::KeptSizes> sizes_;
  std::vector<double> entries_;
  std::vector<std::pair<size_t, int64_t>> now_;  // by group: the layer that entries_ holds, and its count
  std::vector<std::unordered_map<int64_t, Choice>> known_;
};

/// Joules on the hull between dense and pruned: what a step of a schedule is compared with.
class RelaxedJoules : public select::Joules {
 public:
  explicit RelaxedJoules(const Network& network);
  double dense(size_t layer) override { return network_.layers()[layer].whole_j; }
  double pruned(size_t layer, int64_t kept) override { return network_.layers()[layer].relaxed.at(kept); }
  double total(const select::Counts& counts) override;

 private:
  const Network& network_;
  double rest_j_ = 0;  // entries without a prunable weight
};

/// Of the layer's group the one that is pruned; `none` when all are dense.
inline constexpr size_t kNone = static_cast<size_t>(-1);
size_t pruned_of(const Network& network, size_t group, const select::Counts& counts);

}  // namespace jouleprune::plan
