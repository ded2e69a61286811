// What people must know of a plan beyond its joules: layers that it empties.
#pragma once
#include <jouleprune/plan.h>

#include <string>
#include <vector>

namespace jouleprune::prune {

/// Warns (TORCH_WARN) of layers that the plan empties and that are not among `told`.
void warn_emptied(const Plan& plan, const std::vector<std::string>& told);

/// While one lives, this thread does not warn: for searches that try budgets on purpose at which layers are empty.
class QuietAboutEmptied {
 public:
  QuietAboutEmptied();
  ~QuietAboutEmptied();
  QuietAboutEmptied(const QuietAboutEmptied&) = delete;
  QuietAboutEmptied& operator=(const QuietAboutEmptied&) = delete;
};

}  // namespace jouleprune::prune
