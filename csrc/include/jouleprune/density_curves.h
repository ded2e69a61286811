// Joules of a network over the density of its weights, a curve per kernel. Torch-free; every figure is modelled.
// docs/report.md, "Break-even".
#pragma once
#include <jouleprune/energy.h>

#include <optional>
#include <string>
#include <vector>

namespace jouleprune::energy {

/// All layers that the kernel can run at one density; the others dense.
struct DensityCurve {
  std::string kernel, layout;
  int64_t layers = 0;             ///< calls that it can run
  std::vector<double> energy_j;   ///< per `count` of the workload, one per density asked for
  std::optional<double> density;  ///< largest density, in steps of 0.001, at which the network costs no more than dense
};

struct DensityCurves {
  double dense_j = 0, dense_low_j = 0, dense_high_j = 0;
  std::vector<DensityCurve> curves;  ///< none where zeros save nothing and there is no other kernel
};

/// On CPU and GPU a curve per kernel of a sparse layout that runs at least one layer; on accelerators that save on
/// zeros one, "zero-skip". `densities`: shares from 0 to 1. Throws std::invalid_argument for others, or for a malformed
/// entry.
DensityCurves density_curves(const Workload& workload, const Profile& profile, const std::vector<double>& densities);

/// {"dense_j", "dense_low_j", "dense_high_j", "curves": [{kernel, layout, layers, energy_j, density or null}]}
std::string to_json(const DensityCurves& curves);

}  // namespace jouleprune::energy
