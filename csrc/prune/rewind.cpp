#include <jouleprune/rewind.h>

#include "prune/module_copy.h"

namespace jouleprune {

Rewind::Rewind(torch::nn::Module& module) : owner_(module.weak_from_this().lock()), module_(&module), state_(prune::copy_of(module)) {}

void Rewind::rewind() { prune::restore(*module_, state_, "Rewind::rewind"); }

void Rewind::rewind(Pruner& pruner) {
  TORCH_CHECK_VALUE(pruner.prunes(*module_), "Rewind::rewind: pruner: expected one of the module that the copy was taken of");
  rewind();
  pruner.keep();
}

}  // namespace jouleprune
