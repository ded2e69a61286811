#include "select/hull.h"

#include <algorithm>

namespace jouleprune::select {
namespace {
constexpr int64_t kEvenSamples = 128;

double rise(const Point& a, const Point& b) { return (b.joules - a.joules) / static_cast<double>(b.kept - a.kept); }
}  // namespace

Hull::Hull(const std::vector<Point>& points) {
  for (const Point& point : points) {
    while (corners_.size() >= 2 &&
           rise(corners_[corners_.size() - 2], corners_.back()) >= rise(corners_.back(), point)) {
      corners_.pop_back();
    }
    corners_.push_back(point);
  }
  for (size_t i = 0; i + 1 < corners_.size(); ++i) {
    slopes_.push_back(std::max({0.0, rise(corners_[i], corners_[i + 1]), i == 0 ? 0.0 : slopes_.back()}));
  }
}

double Hull::at(int64_t kept) const {
  const auto after =
      std::upper_bound(corners_.begin(), corners_.end(), kept, [](int64_t k, const Point& p) { return k < p.kept; });
  if (after == corners_.begin()) return corners_.front().joules;
  const Point& before = *std::prev(after);
  if (after == corners_.end() || before.kept == kept) return before.joules;
  return before.joules +
         slopes_[static_cast<size_t>(after - corners_.begin()) - 1] * static_cast<double>(kept - before.kept);
}

std::vector<int64_t> sample_counts(int64_t least, int64_t units) {
  std::vector<int64_t> counts;
  const int64_t range = units - least;
  if (range <= 2 * kEvenSamples) {
    for (int64_t kept = least; kept <= units; ++kept) counts.push_back(kept);
    return counts;
  }
  // range / 128 * i + ... : exact in integers and free of overflow
  for (int64_t i = 0; i <= kEvenSamples; ++i) {
    counts.push_back(least + range / kEvenSamples * i + range % kEvenSamples * i / kEvenSamples);
  }
  for (int64_t step = 1; step < range; step *= 2) {
    counts.push_back(least + step);
    counts.push_back(units - step);
  }
  std::sort(counts.begin(), counts.end());
  counts.erase(std::unique(counts.begin(), counts.end()), counts.end());
  return counts;
}

int64_t last_below(int64_t least, int64_t units, double bound, const std::function<double(int64_t)>& curve) {
  if (curve(units) < bound) return units;
  int64_t below = least, not_below = units;
  while (not_below - below > 1) {
    const int64_t middle = below + (not_below - below) / 2;
    (curve(middle) < bound ? below : not_below) = middle;
  }
  return below;
}

}  // namespace jouleprune::select
