// Dynamic masks at constant joules: weights are dropped by magnitude and others grown in their place while training.
#pragma once
#include <jouleprune/prune.h>

#include <memory>
#include <string>

namespace jouleprune {

struct RegrowOptions {
  int64_t end_step = 0;           ///< required: from there on masks stay; in calls of step(), from 0
  int64_t frequency = 100;        ///< masks change every so many steps, first at `frequency`
  double share = 0.3;             ///< of the kept weights that move at the beginning, in (0, 1)
  std::string grow = "gradient";  ///< or "random"
  int64_t seed = 0;               ///< of "random"
};

/// Every `frequency` steps each pruned layer drops the share of its kept weights that are smallest and grows as many where the gradient
/// of the whole layer is largest (RigL), or at random (SET). Grown weights start at zero; as many are kept as before, so the joules stay
/// those of the plan. The share falls from `share` to 0 at `end_step` along half a cosine (RigL, section 3). The pruner must outlive it,
/// in its place.
/// Sources: Evci et al., Rigging the Lottery, ICML 2020, algorithm 1; Mocanu et al., SET, Nature Communications 2018.
class Regrow {
 public:
  /// Throws c10::ValueError: the pruner is not done or has another pattern than "unstructured", or numbers are out of range.
  Regrow(Pruner& pruner, const RegrowOptions& options);
  ~Regrow();  ///< As remove().
  Regrow(Regrow&&) noexcept;
  Regrow& operator=(Regrow&&) noexcept;

  /// Call it after optimizer.step() in place of the pruner's: keeps pruned weights at zero; moves masks when it is time. Throws
  /// c10::ValueError when it is time to grow by gradient, and no backward pass reached a pruned layer since.
  void step();
  /// Stops watching gradients; masks stay as they are.
  void remove();

  /// {"schema": 1, "step"}: with the pruner's state enough to go on after a restart, given the same options. As Python's.
  c10::IValue state_dict() const;
  /// Throws c10::ValueError when it is no such state.
  void load_state_dict(const c10::IValue& state);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace jouleprune
