// A workload with prunable weights as selection sees it: candidates per layer, curves over kept weights, exact totals.
#pragma once
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "plan/planner.h"
#include "plan/pricer.h"
#include "select/problem.h"

namespace jouleprune::plan {

/// A prunable weight with all calls that use it.
struct PrunableLayer {
  std::string name, weight, dtype;
  std::vector<size_t> entries;       ///< positions in the workload
  std::vector<std::string> kernels;  ///< those that run all its entries pruned
  std::string dense_kernel;
  int64_t units = 0;
  double min_density = 0;
  int64_t floor = 0;     ///< the units of it
  int64_t last_winning = -1;  ///< most kept weights at which a pruned kernel is below dense; below floor when none is
  double dense_j = 0;
  select::Hull hull;     ///< of the pruned curve, from the floor to just past last_winning
  select::Hull relaxed;  ///< lower hull of the pruned curve and the dense point

  bool can_win() const { return last_winning >= floor; }
};

/// The cheapest pruned kernel at one count.
struct Choice {
  size_t kernel = 0;
  double joules = 0;            ///< all entries of the layer
  std::vector<double> entries;  ///< each of them
};

/// Immutable; the curves are sampled once.
class Network {
 public:
  /// Throws core::PatternError, std::invalid_argument.
  Network(Request request, std::shared_ptr<const Pricer> pricer);

  const Request& request() const { return request_; }
  const Pricer& pricer() const { return *pricer_; }
  const std::vector<PrunableLayer>& layers() const { return layers_; }
  const std::vector<double>& dense_entries() const { return dense_entries_; }
  double dense_j() const { return dense_j_; }
  /// Least energy within the floors when only the weights marked in `may_prune` (null: all) are pruned.
  double minimum_j(const std::vector<bool>* may_prune) const;
  /// The layer's entries run by its cheapest pruned kernel.
  Choice choice(size_t layer, int64_t kept) const;
  /// Entry `position` as it runs with this kernel and so many weights.
  Entry configured(size_t position, const std::string& kernel, int64_t nnz, bool pruned) const;
  /// Hash of what the kernels were chosen by.
  std::string tuning() const;

 private:
  void add_layer(const PrunableWeight& weight);
  void find_kernels(PrunableLayer& layer) const;
  void sample(size_t layer);

  Request request_;
  std::shared_ptr<const Pricer> pricer_;
  std::vector<PrunableLayer> layers_;
  std::vector<double> dense_entries_;  // joules of every entry, prunable weights dense
  double dense_j_ = 0;
};

/// Joules of the network as it will run; remembers the choices of one selection.
class NetworkJoules : public select::Joules {
 public:
  explicit NetworkJoules(const Network& network);
  double dense(size_t layer) override { return network_.layers()[layer].dense_j; }
  double pruned(size_t layer, int64_t kept) override { return choice(layer, kept).joules; }
  /// The sum over entries in workload order, exactly as estimate() adds them.
  double total(const select::Counts& counts) override;
  const Choice& choice(size_t layer, int64_t kept);

 private:
  const Network& network_;
  std::vector<double> entries_;
  select::Counts now_;  // what entries_ holds
  std::vector<std::unordered_map<int64_t, Choice>> known_;
};

/// Joules on the hull between dense and pruned: what a step of a schedule is compared with.
class RelaxedJoules : public select::Joules {
 public:
  explicit RelaxedJoules(const Network& network);
  double dense(size_t layer) override { return network_.layers()[layer].dense_j; }
  double pruned(size_t layer, int64_t kept) override { return network_.layers()[layer].relaxed.at(kept); }
  double total(const select::Counts& counts) override;

 private:
  const Network& network_;
  double rest_j_ = 0;  // entries without a prunable weight
};

}  // namespace jouleprune::plan
