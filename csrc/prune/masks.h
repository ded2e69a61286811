// Masks as bits beside a module: they zero weights in place and mask gradients, while the modules stay ordinary.
#pragma once
#include <ATen/core/Tensor.h>
#include <torch/nn/module.h>

#include <map>
#include <memory>
#include <string>

namespace jouleprune::prune {

/// What a gradient hook looks at; undefined bits let every gradient pass.
struct HookedMask {
  at::Tensor bits;
};

/// Bits (op pack_mask) by parameter name; a parameter without a mask is dense.
class MaskSet {
 public:
  explicit MaskSet(torch::nn::Module& module) : module_(&module) {}
  ~MaskSet() { clear(); }
  MaskSet(const MaskSet&) = delete;
  MaskSet& operator=(const MaskSet&) = delete;

  /// Takes new masks for old; weights that are free again keep their (zero) values.
  void replace(const std::map<std::string, at::Tensor>& bits);
  /// Zeroes what is pruned, in weights and in gradients that are already there, and keeps the hooks in place. Parameters that
  /// are gone (their layer runs sparse now) are passed over.
  void apply();
  /// Drops all masks and hooks; zeros stay zeros until something changes them.
  void clear();

 private:
  struct Hooked {
    at::Tensor parameter;
    std::shared_ptr<HookedMask> mask;
  };
  void hook(const std::string& name, const at::Tensor& parameter, const at::Tensor& bits);
  static void unhook(Hooked& hooked);

  torch::nn::Module* module_;
  std::map<std::string, at::Tensor> bits_;
  std::map<std::string, Hooked> hooked_;
};

}  // namespace jouleprune::prune
