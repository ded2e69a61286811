// Who wins: the layers that joules have not decided.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "prune/candidates.h"

namespace jouleprune::prune {

/// Times dense against csr on the recorded shapes, or asks the cost entries (JOULEPRUNE_TUNE=off). By weight; those of one module share
/// a race. The candidates have no obstacle.
std::map<std::string, Race> run_races(torch::nn::Module& module, const std::vector<Candidate>& candidates, const Workload& workload,
                                      const Forward& forward, const Timer& timer);

/// A call of the layer, its input sizes left open.
RaceCase case_of(const Candidate& candidate, const LayerView& layer);

/// Kept entries of the rows that a recorded call uses: attention may multiply by thirds of a weight.
int64_t kept_in(const Entry& entry, const Candidate& candidate);

}  // namespace jouleprune::prune
