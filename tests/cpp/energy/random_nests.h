// Random loop nests, small enough to be walked.
#pragma once
#include <algorithm>
#include <random>
#include <string>

#include "energy/nest/loop_nest.h"

namespace jouleprune::test {

struct RandomNest {
  energy::nest::Workload workload;
  energy::nest::Mapping mapping;
};

/// 2 to 4 dimensions; tensors with and without windows, strides and dilations; 1 to 4 levels with bypass; loops in any
/// order, a fifth of them spatial. The last tensor accumulates; each of its axes is one dimension.
inline RandomNest random_nest(std::mt19937& random) {
  using namespace energy::nest;
  const auto pick = [&random](int64_t from, int64_t to) {
    return from + static_cast<int64_t>(random() % static_cast<uint64_t>(to - from + 1));
  };
  RandomNest nest;
  const auto dims = static_cast<size_t>(pick(2, 4));
  for (size_t dim = 0; dim < dims; ++dim) nest.workload.dims.push_back(std::string(1, static_cast<char>('A' + dim)));
  nest.workload.bounds.assign(dims, 1);
  const auto tensors = static_cast<size_t>(pick(2, 3));
  for (size_t t = 0; t < tensors; ++t) {
    Tensor tensor;
    tensor.name = "T" + std::to_string(t);
    tensor.read_write = t + 1 == tensors;
    std::vector<size_t> free;
    for (size_t dim = 0; dim < dims; ++dim) {
      if (random() % 3 != 0) free.push_back(dim);
    }
    while (!free.empty()) {
      Axis axis{{free.back(), tensor.read_write ? 1 : pick(1, 3)}};
      free.pop_back();
      if (!tensor.read_write && !free.empty() && random() % 2 == 0) {
        axis.push_back({free.back(), random() % 8 == 0 ? -1 : pick(1, 2)});
        free.pop_back();
      }
      tensor.axes.push_back(axis);
    }
    nest.workload.tensors.push_back(std::move(tensor));
  }
  const auto levels = static_cast<size_t>(pick(1, 4));
  int64_t steps = 1;
  for (size_t level = 0; level < levels; ++level) {
    MappingLevel read;
    read.name = "L" + std::to_string(level);
    for (size_t t = 0; t < tensors; ++t) read.keeps.push_back(level == 0 || random() % 3 != 0);
    for (int64_t left = pick(0, 3); left > 0; --left) {
      Loop loop{static_cast<size_t>(pick(0, static_cast<int64_t>(dims) - 1)), pick(1, 4), LoopKind::kTemporal};
      if (random() % 5 == 0) loop.kind = random() % 2 == 0 ? LoopKind::kSpatialX : LoopKind::kSpatialY;
      if (steps * loop.bound > 600) continue;
      steps *= loop.bound;
      nest.workload.bounds[loop.dim] *= loop.bound;
      read.loops.push_back(loop);
    }
    // Copies in space are below what a level does in time.
    std::stable_partition(read.loops.begin(), read.loops.end(), [](const Loop& loop) { return !loop.spatial(); });
    nest.mapping.levels.push_back(std::move(read));
  }
  return nest;
}

}  // namespace jouleprune::test
