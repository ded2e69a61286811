// int8 for convert() with dtype "int8": which pruned Linear and Conv2d layers gain by it, and the scales of their inputs.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "prune/candidates.h"

namespace jouleprune::prune {

/// A pruned layer in int8: what takes its place, and what the alternatives take (seconds per forward pass).
struct Int8Layer {
  Twin twin = nn::SparseLinear(nullptr);
  bool wanted = false;
  std::string reason;
  std::optional<double> dense_s, sparse_s;
};

/// The int8 twins of the candidates that are Linear or Conv2d layers on the CPU, by weight, with the decision for each: int8 wins when it is
/// 3 % faster than dense and csr. With force int8 whatever its speed; nothing is timed. Throws c10::ValueError for a calibration
/// that runs none of them, or where one sees NaN or infinity.
std::map<std::string, Int8Layer> int8_layers(torch::nn::Module& module, const std::vector<Candidate>& candidates,
                                             const Workload& workload, const Forward& forward, const ConvertOptions& options);

/// Puts the layer into a decision: it runs in int8, or why it does not.
void tell(const Int8Layer& layer, Decision& decision);

}  // namespace jouleprune::prune
