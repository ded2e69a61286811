// Training towards sparsity: the proximal step of an L1 or group-lasso penalty, scaled by joules.
#pragma once
#include <jouleprune/prune.h>

#include <array>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace jouleprune {

struct ProximalOptions {
  std::optional<Profile> profile{};          ///< required
  double strength = 0;                       ///< of the penalty, at least 0, per weight of average joules
  std::string pattern = "unstructured";      ///< or blocks "RxC"
  std::vector<std::string> ignored_layers{}; ///< as in PrunerOptions
  ActivationDensity activation_density = 1.0;
  bool replace_in_lists = false;
};

/// Pulls the units of a pattern towards zero while the module trains: minimises loss + strength x sum over units of joules(u) sqrt(size(u))
/// |u|_2, where joules(u) is the unit's share of what its layer's dense weights cost, relative to the mean over all weights. With
/// "unstructured" that is the L1 norm, weighted by joules. Units shrink to exactly zero; a plan or a Pruner finds them there. The module
/// must outlive it unless it is held by a shared_ptr, which is then shared.
/// Sources: Parikh and Boyd, Proximal Algorithms, 2014, sections 4.2 and 6.5; Yuan and Lin, group lasso, 2006. The scale by joules is ours.
class Proximal {
 public:
  /// Throws c10::ValueError, PatternError, ProfileError; the message names the argument.
  Proximal(torch::nn::Module& module, const Forward& forward, const ProximalOptions& options);

  /// Shrinks each unit's L2 norm by lr x strength x joules x sqrt(size). Once per training step with the learning rate, after
  /// optimizer.step() (the forward-backward splitting for which the step is exact) or before it. Throws c10::ValueError unless `lr` is a
  /// finite number of at least 0.
  void step(double lr);
  /// Relative joules of one weight, by name of the weight: what its penalty is multiplied by.
  const std::map<std::string, double>& scales() const { return scales_; }

 private:
  std::shared_ptr<torch::nn::Module> owner_;
  torch::nn::Module* module_;
  double strength_;
  std::array<int64_t, 2> block_;
  std::map<std::string, double> scales_;
  std::map<std::string, at::Tensor> root_sizes_;  // [down, across]: the root of the number of entries of each unit
};

}  // namespace jouleprune
