// What the two sides of a race run.
#pragma once
#include <functional>
#include <utility>

#include "prune/race.h"

namespace jouleprune::prune {

/// One call of the layer, dense and by the kernel. Both hold their tensors. Throws c10::ValueError on an unknown op or kernel.
std::pair<std::function<void()>, std::function<void()>> works_of(const RaceCase& call);

}  // namespace jouleprune::prune
