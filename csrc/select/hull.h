// Lower convex hull of a layer's joules over its kept units: the price per unit that the threshold compares importance
// with.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

namespace jouleprune::select {

/// A point of a layer's curve.
struct Point {
  int64_t kept = 0;
  double joules = 0;
};

/// Convex, non-decreasing, piecewise linear in the kept units.
class Hull {
 public:
  Hull() = default;
  /// `points` ascending in kept, at least one. Where joules fall with more units, the hull is flat: such units cost
  /// nothing.
  explicit Hull(const std::vector<Point>& points);

  const std::vector<Point>& corners() const { return corners_; }
  size_t segments() const { return corners_.empty() ? 0 : corners_.size() - 1; }
  /// Joules per unit between corners i and i + 1; non-decreasing in i, never negative.
  double slope(size_t segment) const { return slopes_[segment]; }
  /// Joules at `kept`, linear between corners, constant outside.
  double at(int64_t kept) const;

 private:
  std::vector<Point> corners_;
  std::vector<double> slopes_;
};

/// Counts at which a curve between `least` and `units` is looked at: all of them when there are few, else 128 even ones
/// and powers of two from both ends, where steps of real curves (empty rows, cache sizes) crowd.
std::vector<int64_t> sample_counts(int64_t least, int64_t units);

/// Largest count in [least, units] with curve(count) < bound, given curve(least) < bound; for non-decreasing curves.
int64_t last_below(int64_t least, int64_t units, double bound, const std::function<double(int64_t)>& curve);

}  // namespace jouleprune::select
