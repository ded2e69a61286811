// Plans and masks that come from files: they fit each other, and the module.
#pragma once
#include <jouleprune/prune.h>
#include <torch/nn/module.h>

#include <string>

namespace jouleprune::prune {

/// The plan's weights are the module's, of the sizes that it says; the layers that it prunes have masks, and these keep what it says.
/// `where` opens error messages. Throws c10::ValueError.
void check_fit(const MaskedPlan& plan, const torch::nn::Module& module, const std::string& where);

}  // namespace jouleprune::prune
