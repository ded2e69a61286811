// The slow reference of loop nests: walks every loop and keeps sets of words.
#pragma once
#include <algorithm>
#include <cstdint>
#include <set>
#include <vector>

#include "energy/nest/loop_nest.h"

namespace jouleprune::test {

using energy::nest::Loop;
using energy::nest::Mapping;
using energy::nest::Tensor;
using energy::nest::Workload;

class Walker {
 public:
  using Point = std::vector<int64_t>;
  using Box = std::set<Point>;

  Walker(const Workload& workload, const Mapping& mapping, size_t tensor)
      : workload_(workload), tensor_(workload.tensors[tensor]) {
    for (size_t level = 0; level < mapping.levels.size(); ++level) {
      begin_.push_back(loops_.size());
      for (const Loop& loop : mapping.levels[level].loops) loops_.push_back({loop, level});
      if (mapping.levels[level].keeps[tensor]) chain_.push_back(level);
    }
  }

  struct Counts {
    int64_t reads = 0, fills = 0, updates = 0, tile = 0;
  };

  /// [levels that keep the tensor], outer to inner.
  std::vector<Counts> run() const {
    std::vector<Counts> counts(chain_.size());
    for (size_t i = 0; i < chain_.size(); ++i) {
      const size_t begin = begin_[chain_[i]];
      const bool innermost = i + 1 == chain_.size();
      const size_t child = innermost ? loops_.size() : begin_[chain_[i + 1]];
      const Stream inside = stream(child, innermost);
      int64_t copies = 1;
      for (size_t at = begin; at < child;) {
        size_t end = at + 1;
        while (end < child && loops_[end].loop.spatial() && loops_[at].loop.spatial() &&
               loops_[end].level == loops_[at].level)
          ++end;
        if (loops_[at].loop.spatial()) copies *= static_cast<int64_t>(different_tiles(at, end));
        at = end;
      }
      counts[i].tile = static_cast<int64_t>(box(Point(loops_.size(), 0), begin).size());
      if (tensor_.read_write) {
        counts[i].updates = inside.moved * copies;
        // All that came in from inside is added to what is there, but for the first visit of each word.
        counts[i].reads = counts[i].updates - static_cast<int64_t>(words_met(begin).size());
        if (i > 0) counts[i].fills = stream(begin, false).again;
      } else {
        counts[i].reads = inside.moved * copies;
        if (i > 0) counts[i].fills = stream(begin, false).moved;
      }
    }
    return counts;
  }

 private:
  struct Placed {
    Loop loop;
    size_t level;
  };
  struct Stream {
    int64_t moved = 0;  // words that come to one instance
    int64_t again = 0;  // of tiles that were there before
  };

  /// Advances the temporal loops above `end`; false at the end. `outermost`: the loop that advanced.
  bool advance(Point& index, size_t end, size_t& outermost) const {
    for (size_t i = end; i-- > 0;) {
      if (loops_[i].loop.spatial()) continue;
      outermost = i;
      if (++index[i] < loops_[i].loop.bound) return true;
      index[i] = 0;
    }
    return false;
  }

  /// Corner of the bounding box, or all its points, of the loops from `begin` on, the outer ones at `index`.
  Box box(const Point& index, size_t begin) const {
    Point low(workload_.dims.size(), 0), extent(workload_.dims.size(), 1);
    for (size_t i = loops_.size(); i-- > 0;) {
      const size_t dim = loops_[i].loop.dim;
      if (i < begin) low[dim] += index[i] * extent[dim];
      extent[dim] *= loops_[i].loop.bound;
    }
    Point inner(workload_.dims.size(), 1);
    for (size_t i = begin; i < loops_.size(); ++i) inner[loops_[i].loop.dim] *= loops_[i].loop.bound;
    std::vector<std::pair<int64_t, int64_t>> sides;
    for (const auto& axis : tensor_.axes) {
      int64_t from = 0, to = 0;
      for (const auto& term : axis) {
        const int64_t first = term.coefficient * low[term.dim];
        const int64_t last = term.coefficient * (low[term.dim] + inner[term.dim] - 1);
        from += std::min(first, last);
        to += std::max(first, last);
      }
      sides.emplace_back(from, to);
    }
    Box points;
    Point at;
    for (const auto& side : sides) at.push_back(side.first);
    for (;;) {
      points.insert(at);
      size_t axis = at.size();
      while (axis > 0 && ++at[axis - 1] > sides[axis - 1].second) {
        at[axis - 1] = sides[axis - 1].first;
        --axis;
      }
      if (axis == 0) return points;
    }
  }

  /// What one instance of the tile at `begin` gets while the loops above it run; a word per step at arithmetic.
  Stream stream(size_t begin, bool arithmetic) const {
    Stream stream;
    Point index(loops_.size(), 0);
    Box there;
    std::set<Point> seen;  // first corners of tiles
    size_t advanced = 0;
    bool first = true;
    for (;;) {
      const Box now = box(index, begin);
      if (arithmetic) {
        ++stream.moved;
      } else if (first || now != there) {
        const bool known = !seen.insert(*now.begin()).second;
        int64_t words = static_cast<int64_t>(now.size());
        if (!first && !inner_loops(advanced, begin) && axes_moved(*there.begin(), *now.begin()) == 1) {
          words = std::count_if(now.begin(), now.end(), [&](const Point& point) { return !there.contains(point); });
        }
        stream.moved += words;
        if (known) stream.again += words;
        there = now;
      }
      first = false;
      if (!advance(index, begin, advanced)) return stream;
    }
  }

  /// Whether loops between `loop` and `end` started again when `loop` advanced.
  bool inner_loops(size_t loop, size_t end) const {
    for (size_t i = loop + 1; i < end; ++i) {
      if (!loops_[i].loop.spatial() && loops_[i].loop.bound > 1) return true;
    }
    return false;
  }

  static int axes_moved(const Point& a, const Point& b) {
    int moved = 0;
    for (size_t axis = 0; axis < a.size(); ++axis) moved += a[axis] != b[axis];
    return moved;
  }

  /// Tiles that differ among the spatial copies of loops [begin, end).
  size_t different_tiles(size_t begin, size_t end) const {
    std::set<Point> corners;
    Point index(loops_.size(), 0);
    for (;;) {
      corners.insert(*box(index, end).begin());
      size_t i = end;
      while (i > begin && ++index[i - 1] == loops_[i - 1].loop.bound) index[--i] = 0;
      if (i == begin) return corners.size();
    }
  }

  /// All words that one instance of the tile at `begin` meets.
  Box words_met(size_t begin) const {
    Box met;
    Point index(loops_.size(), 0);
    size_t advanced = 0;
    do {
      met.merge(box(index, begin));
    } while (advance(index, begin, advanced));
    return met;
  }

  const Workload& workload_;
  const Tensor& tensor_;
  std::vector<Placed> loops_;
  std::vector<size_t> begin_, chain_;
};

}  // namespace jouleprune::test
