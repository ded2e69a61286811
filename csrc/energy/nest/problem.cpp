#include "energy/nest/problem.h"

#include <algorithm>

namespace jouleprune::energy::nest {
namespace {

int64_t divided_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

int64_t product_of(const std::vector<int64_t>& sizes, size_t begin, size_t end) {
  int64_t all = 1;
  for (size_t i = begin; i < end; ++i) all = product(all, sizes[i]);
  return all;
}

/// Weight [out, in / groups, taps...] and image sizes that agree with rows, cols and n.
bool tells_windows(const Entry& entry) {
  const size_t axes = entry.image.size();
  if (axes == 0 || axes > 3 || entry.shape.size() != axes + 2 || !entry.op.starts_with("conv")) return false;
  for (const auto* moves : {&entry.stride, &entry.dilation}) {
    if (!moves->empty() && moves->size() != axes) return false;
    if (std::any_of(moves->begin(), moves->end(), [](int64_t step) { return step < 1; })) return false;
  }
  for (const auto* sizes : {&entry.shape, &entry.image}) {
    if (std::any_of(sizes->begin(), sizes->end(), [](int64_t size) { return size < 1; })) return false;
  }
  const int64_t pixels = product_of(entry.image, 0, axes);
  return product_of(entry.shape, 1, axes + 2) == entry.cols && entry.n % pixels == 0 && entry.n > 0;
}

Workload workload_of(const Problem& problem, const Sizes& bounds) {
  Workload workload;
  workload.dims.assign(kDimNames.begin(), kDimNames.end());
  workload.bounds.assign(bounds.begin(), bounds.end());
  const auto axis = [](Dim dim) { return Axis{{dim, 1}}; };
  workload.tensors = {
      {"weights", {axis(kG), axis(kM), axis(kC), axis(kR), axis(kS)}, false},
      {"inputs",
       {axis(kG),
        axis(kN),
        axis(kC),
        {{kR, problem.dilation[0]}, {kP, problem.stride[0]}},
        {{kS, problem.dilation[1]}, {kQ, problem.stride[1]}}},
       false},
      {"outputs", {axis(kG), axis(kN), axis(kM), axis(kP), axis(kQ)}, true}};
  return workload;
}

/// Gives loops their bounds from the inside out; `reached`: what is covered so far.
std::vector<Loop> bounded(const std::vector<Step>& steps, LoopKind kind, bool outermost, const Sizes& sizes,
                          Sizes& reached) {
  std::vector<Loop> loops;
  for (size_t i = steps.size(); i-- > 0;) {
    const auto [dim, bound] = steps[i];
    const int64_t left = divided_up(sizes[dim], reached[dim]);
    const int64_t taken = outermost ? left : std::min(bound, left);
    if (taken == 1) continue;
    reached[dim] *= taken;
    loops.push_back({dim, taken, kind});
  }
  std::reverse(loops.begin(), loops.end());
  return loops;
}

}  // namespace

Problem problem_of(const Entry& entry) {
  Problem problem;
  problem.sizes[kG] = entry.groups;
  problem.sizes[kM] = entry.rows;
  if (!tells_windows(entry)) {
    problem.sizes[kC] = entry.cols;
    problem.sizes[kN] = entry.n;
    return problem;
  }
  const size_t axes = entry.image.size(), last = axes - 1;
  const auto step = [&](const std::vector<int64_t>& steps, size_t axis) { return steps.empty() ? 1 : steps[axis]; };
  problem.sizes[kC] = entry.shape[1];
  problem.sizes[kN] = entry.n / product_of(entry.image, 0, axes);
  problem.sizes[kS] = entry.shape[2 + last];
  problem.sizes[kQ] = entry.image[last];
  problem.stride[1] = step(entry.stride, last);
  problem.dilation[1] = step(entry.dilation, last);
  if (axes == 1) return problem;
  problem.sizes[kR] = entry.shape[1 + last];
  problem.sizes[kP] = entry.image[last - 1];
  problem.stride[0] = step(entry.stride, last - 1);
  problem.dilation[0] = step(entry.dilation, last - 1);
  if (axes == 2) return problem;
  problem.sizes[kC] *= entry.shape[2];
  problem.sizes[kN] *= entry.image[0];
  return problem;
}

Layout lay_out(const Problem& problem, const Device& device, const Tiling& tiling) {
  Sizes reached;
  reached.fill(1);
  Layout layout;
  std::vector<MappingLevel> inside_out;
  const std::vector<bool> none(kTensors, false);
  for (size_t level = device.levels.size(); level-- > 0;) {
    const Tiling::Cut& cut = tiling.levels[level];
    const DeviceLevel& storage = device.levels[level];
    for (const auto& [steps, kind] : {std::pair{&cut.y, LoopKind::kSpatialY}, std::pair{&cut.x, LoopKind::kSpatialX}}) {
      std::vector<Loop> loops = bounded(*steps, kind, false, problem.sizes, reached);
      if (!loops.empty()) inside_out.push_back({"", none, std::move(loops)});
    }
    std::vector<Loop> loops = bounded(cut.loops, LoopKind::kTemporal, level == 0, problem.sizes, reached);
    if (level == 0) {
      for (const size_t dim : {kQ, kP, kS, kR, kC, kM, kN, kG}) {
        const int64_t left = divided_up(problem.sizes[dim], reached[dim]);
        if (left > 1) loops.insert(loops.begin(), {dim, left, LoopKind::kTemporal});
        reached[dim] *= left;
      }
    }
    inside_out.push_back({"", std::vector<bool>(storage.keeps.begin(), storage.keeps.end()), std::move(loops)});
    layout.level_of.push_back(inside_out.size() - 1);
  }
  std::reverse(layout.level_of.begin(), layout.level_of.end());
  for (size_t& level : layout.level_of) level = inside_out.size() - 1 - level;
  layout.mapping.levels.assign(std::make_move_iterator(inside_out.rbegin()), std::make_move_iterator(inside_out.rend()));
  layout.workload = workload_of(problem, reached);
  const auto share = [&](std::initializer_list<size_t> dims) {
    double all = 1;
    for (const size_t dim : dims) all *= static_cast<double>(problem.sizes[dim]) / static_cast<double>(reached[dim]);
    return all;
  };
  layout.share[kWeights] = share({kG, kM, kC, kR, kS});
  layout.share[kInputs] = share({kG, kN, kC});  // windows overlap, so that rows and columns are no shares
  layout.share[kOutputs] = share({kG, kN, kM, kP, kQ});
  return layout;
}

bool fits(const Layout& layout, const NestCounts& counts, const Device& device, int bits) {
  for (size_t level = 0; level < device.levels.size(); ++level) {
    const DeviceLevel& storage = device.levels[level];
    double words = 0;
    for (const TensorCounts& tensor : counts.levels[layout.level_of[level]].tensors) {
      if (tensor.kept) words += static_cast<double>(tensor.tile);
    }
    const double width = storage.word_bits > 0 ? static_cast<double>(storage.word_bits) : bits;
    if (words * width > storage.capacity_bits) return false;
  }
  return true;
}

}  // namespace jouleprune::energy::nest
