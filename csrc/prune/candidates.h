// Layers with removed weights: found in a plan or in the weights, and what convert() decides for each.
#pragma once
#include <ATen/core/Tensor.h>
#include <jouleprune/prune.h>

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "prune/race.h"
#include "prune/units.h"

namespace jouleprune::prune {

struct Candidate {
  std::string weight;
  at::Tensor parameter;
  std::optional<at::Tensor> mask;  // bool, of the weight's shape; empty: the zeros of the weight
  bool wanted = false;             // joules have decided for the layout
  bool open = true;                // joules decide nothing here: the clock does
  Unit unit{};                     // set where nothing stands in the way
  std::string pattern = "unstructured", layout = "csr", kernel = "csr";  // how it runs where it is wanted
  int64_t nnz = 0;
  std::string obstacle;
  Decision decision;
};

/// Layers that hold zeros. On a CPU or GPU profile joules decide between dense and csr.
std::vector<Candidate> candidates_with_zeros(torch::nn::Module& module, const Workload& workload,
                                             const std::optional<Profile>& profile);

/// Counts kept entries and finds where each layer sits and what stands in the way.
void locate(torch::nn::Module& module, bool replace_in_lists, std::vector<Candidate>& candidates);

/// Fills in the decision: the layout that joules want, or csr when it won its race or is forced.
void decide(Candidate& candidate, bool force, const std::map<std::string, Race>& races);

/// One line per decision, and one for each way to run its layer.
std::string lines(const std::vector<Decision>& decisions);

}  // namespace jouleprune::prune
