#include "energy/nest/loop_nest.h"

#include <algorithm>
#include <cstdlib>
#include <set>
#include <stdexcept>

namespace jouleprune::energy::nest {
namespace {

constexpr int64_t kLargest = int64_t{1} << 53;
constexpr int64_t kLargestArray = int64_t{1} << 20;  // spatial instances whose windows are compared

/// A loop and the level it belongs to.
struct Placed {
  Loop loop;
  size_t level;
  int64_t step;  // of its dimension, per iteration: the product of the inner loops' bounds
};

using Vector = std::vector<int64_t>;

class Counter {
 public:
  Counter(const Workload& workload, const Mapping& mapping) : workload_(workload), mapping_(mapping) {
    place();
    find_extents();
  }

  NestCounts run() {
    NestCounts counts;
    counts.levels.resize(mapping_.levels.size());
    for (const Placed& at : loops_) {
      if (!at.loop.spatial()) {
        counts.steps = product(counts.steps, at.loop.bound);
        continue;
      }
      counts.instances = product(counts.instances, at.loop.bound);
      int64_t& along = at.loop.kind == LoopKind::kSpatialX ? counts.x : counts.y;
      along *= at.loop.bound;
    }
    product(counts.instances, counts.steps);
    count_instances(counts);
    for (size_t tensor = 0; tensor < workload_.tensors.size(); ++tensor) count_tensor(tensor, counts);
    return counts;
  }

 private:
  void place() {
    for (size_t level = 0; level < mapping_.levels.size(); ++level) {
      begin_.push_back(loops_.size());
      for (const Loop& loop : mapping_.levels[level].loops) loops_.push_back({loop, level, 1});
    }
    begin_.push_back(loops_.size());
    Vector reached(workload_.dims.size(), 1);
    for (size_t i = loops_.size(); i-- > 0;) {
      loops_[i].step = reached[loops_[i].loop.dim];
      reached[loops_[i].loop.dim] = product(reached[loops_[i].loop.dim], loops_[i].loop.bound);
    }
    for (size_t dim = 0; dim < reached.size(); ++dim) {
      if (reached[dim] != workload_.bounds[dim]) {
        throw std::invalid_argument("loops over " + workload_.dims[dim] + ": expected bounds whose product is " +
                                    std::to_string(workload_.bounds[dim]) + ", got " + std::to_string(reached[dim]));
      }
    }
  }

  /// extents_[i]: of every dimension, over loop i and all inside.
  void find_extents() {
    extents_.assign(loops_.size() + 1, Vector(workload_.dims.size(), 1));
    for (size_t i = loops_.size(); i-- > 0;) {
      extents_[i] = extents_[i + 1];
      extents_[i][loops_[i].loop.dim] *= loops_[i].loop.bound;
    }
  }

  void count_instances(NestCounts& counts) const {
    int64_t instances = 1, x = 1, y = 1;
    for (size_t level = 0; level < mapping_.levels.size(); ++level) {
      LevelCounts& into = counts.levels[level];
      into.instances = instances;
      into.x = x;
      into.y = y;
      into.tensors.resize(workload_.tensors.size());
      for (const Loop& loop : mapping_.levels[level].loops) {
        if (!loop.spatial()) continue;
        instances *= loop.bound;
        (loop.kind == LoopKind::kSpatialX ? x : y) *= loop.bound;
      }
    }
  }

  void count_tensor(size_t index, NestCounts& counts) const {
    const Tensor& tensor = workload_.tensors[index];
    std::vector<size_t> chain;
    for (size_t level = 0; level < mapping_.levels.size(); ++level) {
      if (mapping_.levels[level].keeps[index]) chain.push_back(level);
    }
    if (chain.empty())
      throw std::invalid_argument("tensor " + tensor.name + ": expected a level that keeps it, got none");
    int64_t shared = 0;  // what each instance gets from outside, visit by visit
    for (size_t i = 0; i < chain.size(); ++i) {
      const size_t level = chain[i];
      TensorCounts& into = counts.levels[level].tensors[index];
      into.kept = true;
      into.tile = box_words(tensor, extents_[begin_[level]]);
      into.partition = partition(tensor, begin_[level]);
      const bool innermost = i + 1 == chain.size();
      const size_t child = innermost ? loops_.size() : begin_[chain[i + 1]];
      const int64_t wanted = innermost ? counts.steps : delivered(tensor, child);
      const int64_t content = product(wanted, distinct_copies(tensor, begin_[level], child));
      if (tensor.read_write) {
        into.accesses = {std::max(content - into.partition, int64_t{0}),
                         i == 0 ? 0 : std::max(shared - into.partition, int64_t{0}), content};
      } else {
        into.accesses = {content, shared, 0};
      }
      shared = wanted;
    }
  }

  /// Words of the part of a tensor that one instance of the tile beginning at loop `begin` meets over all time.
  int64_t partition(const Tensor& tensor, size_t begin) const {
    int64_t part = box_words(tensor, extents_[0]);
    size_t i = 0;
    while (i < begin) {
      size_t end = i + 1;
      if (loops_[i].loop.spatial()) {
        while (end < begin && same_block(i, end)) ++end;
        const int64_t inside = box_words(tensor, extents_[end]), all = box_words(tensor, extents_[i]);
        part = static_cast<int64_t>(static_cast<__int128>(part) * inside / all);
      }
      i = end;
    }
    return part;
  }

  bool same_block(size_t i, size_t j) const {
    return loops_[j].loop.spatial() == loops_[i].loop.spatial() && loops_[j].level == loops_[i].level;
  }

  /// How far a tensor's box moves per iteration of a loop, on each axis.
  Vector translation(const Tensor& tensor, const Placed& at) const {
    Vector moved(tensor.axes.size(), 0);
    for (size_t axis = 0; axis < tensor.axes.size(); ++axis) {
      for (const Term& term : tensor.axes[axis]) {
        if (term.dim == at.loop.dim) moved[axis] += term.coefficient * at.step;
      }
    }
    return moved;
  }

  /// New words when a box moves: what was not there before if it moved along one axis, else all.
  static int64_t fetched(const Vector& sides, int64_t words, const Vector& moved) {
    size_t axis = sides.size();
    for (size_t i = 0; i < sides.size(); ++i) {
      if (moved[i] == 0) continue;
      if (axis != sides.size()) return words;
      axis = i;
    }
    if (axis == sides.size()) return 0;
    return words / sides[axis] * std::min(std::abs(moved[axis]), sides[axis]);
  }

  /// Words that come into one instance of the tile beginning at loop `begin`, over all time.
  int64_t delivered(const Tensor& tensor, size_t begin) const {
    Vector sides;
    int64_t words = 1;
    for (const Axis& axis : tensor.axes) {
      int64_t side = 1;
      for (const Term& term : axis) side += std::abs(term.coefficient) * (extents_[begin][term.dim] - 1);
      sides.push_back(side);
      words *= side;
    }
    // From the inside: how often each loop advances, and how far the box is carried back when the inner ones restart.
    int64_t total = words, outer = 1;
    std::vector<int64_t> advances(begin, 0);
    for (size_t i = 0; i < begin; ++i) {
      if (loops_[i].loop.spatial()) continue;
      advances[i] = product(loops_[i].loop.bound - 1, outer);
      outer = product(outer, loops_[i].loop.bound);
    }
    Vector back(tensor.axes.size(), 0);
    bool restarted = false;  // a loop inside
    for (size_t i = begin; i-- > 0;) {
      if (loops_[i].loop.spatial() || loops_[i].loop.bound == 1) continue;
      const Vector moved = translation(tensor, loops_[i]);
      Vector net = moved;
      bool same = true;
      for (size_t axis = 0; axis < net.size(); ++axis) {
        net[axis] -= back[axis];
        same = same && net[axis] == 0;
        back[axis] += moved[axis] * (loops_[i].loop.bound - 1);
      }
      const int64_t cost = same ? 0 : restarted ? words : fetched(sides, words, net);
      total = sum(total, product(advances[i], cost));
      restarted = true;
    }
    return total;
  }

  static int64_t sum(int64_t a, int64_t b) {
    if (a > kLargest - b) throw std::invalid_argument("expected counts of at most 2^53, got more");
    return a + b;
  }

  /// Different tiles among the spatial copies below loop `begin` and above loop `child`, block by block.
  int64_t distinct_copies(const Tensor& tensor, size_t begin, size_t child) const {
    int64_t copies = 1;
    size_t i = begin;
    while (i < child) {
      size_t end = i + 1;
      if (loops_[i].loop.spatial()) {
        while (end < child && same_block(i, end)) ++end;
        copies = product(copies, distinct_in_block(tensor, i, end));
      }
      i = end;
    }
    return copies;
  }

  int64_t distinct_in_block(const Tensor& tensor, size_t begin, size_t end) const {
    std::vector<Vector> moves;
    std::vector<int64_t> bounds;
    std::vector<int> users(tensor.axes.size(), 0);
    int64_t copies = 1;
    bool overlapping = false;
    for (size_t i = begin; i < end; ++i) {
      Vector moved = translation(tensor, loops_[i]);
      bool moves_box = false;
      for (size_t axis = 0; axis < moved.size(); ++axis) {
        if (moved[axis] == 0) continue;
        moves_box = true;
        overlapping = ++users[axis] > 1 || overlapping;
      }
      if (!moves_box) continue;
      copies = product(copies, loops_[i].loop.bound);
      moves.push_back(std::move(moved));
      bounds.push_back(loops_[i].loop.bound);
    }
    if (!overlapping) return copies;
    if (copies > kLargestArray) {
      throw std::invalid_argument("expected at most 2^20 spatial copies that share an axis, got " +
                                  std::to_string(copies));
    }
    std::set<Vector> seen;
    std::vector<int64_t> index(bounds.size(), 0);
    Vector at(tensor.axes.size(), 0);
    for (;;) {
      seen.insert(at);
      size_t loop = bounds.size();
      while (loop-- > 0) {
        const int64_t step = ++index[loop] == bounds[loop] ? 1 - bounds[loop] : 1;
        if (step != 1) index[loop] = 0;
        for (size_t axis = 0; axis < at.size(); ++axis) at[axis] += step * moves[loop][axis];
        if (index[loop] != 0) break;
      }
      if (loop == static_cast<size_t>(-1)) break;
    }
    return static_cast<int64_t>(seen.size());
  }

  const Workload& workload_;
  const Mapping& mapping_;
  std::vector<Placed> loops_;  // outer to inner
  std::vector<size_t> begin_;  // first loop of each level
  std::vector<Vector> extents_;
};

}  // namespace

bool Tensor::uses(size_t dim) const {
  return std::any_of(axes.begin(), axes.end(), [dim](const Axis& axis) {
    return std::any_of(axis.begin(), axis.end(), [dim](const Term& term) { return term.dim == dim; });
  });
}

int64_t product(int64_t a, int64_t b) {
  if (a != 0 && b > kLargest / a) throw std::invalid_argument("expected counts of at most 2^53, got more");
  return a * b;
}

int64_t box_words(const Tensor& tensor, const std::vector<int64_t>& extents) {
  int64_t words = 1;
  for (const Axis& axis : tensor.axes) {
    int64_t side = 1;
    for (const Term& term : axis) side += product(std::abs(term.coefficient), extents[term.dim] - 1);
    words = product(words, side);
  }
  return words;
}

NestCounts count(const Workload& workload, const Mapping& mapping) { return Counter(workload, mapping).run(); }

}  // namespace jouleprune::energy::nest
