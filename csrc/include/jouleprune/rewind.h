// Lottery tickets: kept weights go back to what they were at an earlier step.
#pragma once
#include <jouleprune/prune.h>

#include <map>
#include <memory>
#include <string>

namespace jouleprune {

/// A copy of all parameters and buffers of a module, taken now (at step 0, or k). rewind() brings them back under the masks of a pruner:
/// kept weights have the values of then, removed ones are zero. The optimizer's state belongs to the weights that are gone: make a new
/// optimizer. The module must outlive it unless it is held by a shared_ptr, which is then shared.
/// Sources: Frankle and Carbin, The Lottery Ticket Hypothesis, ICLR 2019 (step 0); Frankle et al., Linear Mode Connectivity and the
/// Lottery Ticket Hypothesis, ICML 2020 (step k).
class Rewind {
 public:
  explicit Rewind(torch::nn::Module& module);
  /// Back to the copy. Throws c10::ValueError when the module has other parameters by now; nothing has changed then.
  void rewind();
  /// Back to the copy, under the masks of a pruner of the same module. Throws c10::ValueError when it prunes another one.
  void rewind(Pruner& pruner);

 private:
  std::shared_ptr<torch::nn::Module> owner_;
  torch::nn::Module* module_;
  std::map<std::string, at::Tensor> state_;
};

}  // namespace jouleprune
