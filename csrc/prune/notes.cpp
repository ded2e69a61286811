#include "prune/notes.h"

#include <c10/util/Exception.h>

#include <algorithm>

namespace jouleprune::prune {
namespace {

thread_local int quiet = 0;

/// What to do about scores that were compared between layers as they are.
std::string advice(const std::string& importance) {
  if (importance == "lamp" || importance == "importance_scores" || importance.find('/') != std::string::npos) return "";
  return "importance = \"" + importance + "/sum\" makes its scores comparable between layers; ";
}

}  // namespace

void warn_emptied(const Plan& plan, const std::vector<std::string>& told) {
  if (quiet > 0) return;
  std::string names;
  for (const auto& name : plan.emptied()) {
    if (std::find(told.begin(), told.end(), name) == told.end()) names += (names.empty() ? "" : ", ") + name;
  }
  if (names.empty()) return;
  TORCH_WARN("the plan leaves no weights, or next to none, in ", names, ": nothing passes through them any more; ",
             advice(plan.importance), "min_density sets a floor per layer");
}

QuietAboutEmptied::QuietAboutEmptied() { ++quiet; }
QuietAboutEmptied::~QuietAboutEmptied() { --quiet; }

}  // namespace jouleprune::prune
