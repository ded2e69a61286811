#include "energy/nest/density.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <mutex>
#include <stdexcept>

namespace jouleprune::energy::nest {
namespace {

using Chances = std::vector<std::pair<int64_t, double>>;  // ascending

double share_of(double count, double exact) {
  const double below = std::floor(exact), up = exact - below;
  if (count == below) return 1 - up;
  return count == std::ceil(exact) ? up : 0;
}

class FixedStructured final : public Density {
 public:
  explicit FixedStructured(double density) : density_(density) {}

  double probability(const Box& tile, int64_t occupancy, const Known* known) const override {
    const double density =
        known ? static_cast<double>(known->occupancy) / static_cast<double>(known->tile.words) : density_;
    return share_of(static_cast<double>(occupancy), static_cast<double>(tile.words) * density);
  }

  Chances distribution(const Box& tile) const override {
    const double exact = expected(tile);
    const auto below = static_cast<int64_t>(std::floor(exact));
    Chances chances;
    for (const int64_t occupancy : {below, below + 1}) {
      const double chance = share_of(static_cast<double>(occupancy), exact);
      if (chance > 0) chances.emplace_back(occupancy, chance);
    }
    return chances;
  }

  int64_t most(const Box& tile) const override { return static_cast<int64_t>(std::ceil(expected(tile))); }
  double expected(const Box& tile) const override { return static_cast<double>(tile.words) * density_; }

 private:
  double density_;
};

/// Chance of `k` marked ones among `n` drawn from `all`, of which `marked` are marked.
double drawn(int64_t k, int64_t n, int64_t marked, int64_t all) {
  if (k < 0 || k > n || k > marked || n - k > all - marked) return 0;
  if (k == 0) {
    // A product of ratios keeps more digits than logarithms; by symmetry the shorter one.
    const int64_t factors = std::min(n, marked), others = std::max(n, marked);
    if (factors <= (int64_t{1} << 16)) {
      long double chance = 1;
      for (int64_t i = 0; i < factors; ++i)
        chance *= static_cast<long double>(all - others - i) / static_cast<long double>(all - i);
      return static_cast<double>(chance);
    }
  }
  const auto log_factorial = [](int64_t m) {
    int sign = 0;  // the reentrant form: lgamma() writes a global
    return lgammal_r(static_cast<long double>(m) + 1, &sign);
  };
  const auto log_choose = [&](int64_t m, int64_t of) {
    return log_factorial(m) - log_factorial(of) - log_factorial(m - of);
  };
  return static_cast<double>(expl(log_choose(marked, k) + log_choose(all - marked, n - k) - log_choose(all, n)));
}

constexpr double kWidest = 1 << 15;

class Hypergeometric final : public Density {
 public:
  Hypergeometric(double density, int64_t words)
      : words_(words), nonzero_(static_cast<int64_t>(std::ceil(density * static_cast<double>(words)))) {}

  double probability(const Box& tile, int64_t occupancy, const Known* known) const override {
    if (known) return drawn(occupancy, std::min(tile.words, known->tile.words), known->occupancy, known->tile.words);
    return drawn(occupancy, std::min(tile.words, words_), nonzero_, words_);
  }

  Chances distribution(const Box& tile) const override {
    const int64_t n = std::min(tile.words, words_);
    const double mean = expected(tile), share = static_cast<double>(nonzero_) / static_cast<double>(words_);
    // Beyond 10 standard deviations and 50 there is less than 2^-64. Of tiles with so many non-zeros that this is wide,
    // the spread is a thousandth of the mean or less: their mean stands for all.
    const double reach = 10 * std::sqrt(mean * (1 - share)) + 50;
    if (reach > kWidest) return FixedStructured(mean / static_cast<double>(tile.words)).distribution(tile);
    const auto first = std::max({int64_t{0}, n - (words_ - nonzero_), static_cast<int64_t>(mean - reach)});
    const auto last = std::min({n, nonzero_, static_cast<int64_t>(mean + reach)});
    Chances chances;
    for (int64_t occupancy = first; occupancy <= last; ++occupancy) {
      const double chance = drawn(occupancy, n, nonzero_, words_);
      if (chance > 0) chances.emplace_back(occupancy, chance);
    }
    return chances;
  }

  int64_t most(const Box& tile) const override { return std::min(tile.words, nonzero_); }
  double expected(const Box& tile) const override {
    return static_cast<double>(std::min(tile.words, words_)) * static_cast<double>(nonzero_) /
           static_cast<double>(words_);
  }

 private:
  int64_t words_, nonzero_;
};

class ActualData final : public Density {
 public:
  ActualData(std::vector<int64_t> shape, std::string_view nonzero) : shape_(std::move(shape)) {
    // Sums over the box from the origin to each place, so that a box costs 2^axes look-ups.
    strides_.assign(shape_.size(), 1);
    int64_t places = 1;
    for (size_t axis = shape_.size(); axis-- > 0;) {
      strides_[axis] = places;
      places *= shape_[axis] + 1;
    }
    sums_.assign(static_cast<size_t>(places), 0);
    std::vector<int64_t> at(shape_.size(), 0);
    for (const char bit : nonzero) {
      int64_t place = 0;
      for (size_t axis = 0; axis < at.size(); ++axis) place += (at[axis] + 1) * strides_[axis];
      sums_[static_cast<size_t>(place)] = bit == '1';
      for (size_t axis = at.size(); axis-- > 0;) {
        if (++at[axis] < shape_[axis]) break;
        at[axis] = 0;
      }
    }
    for (size_t axis = 0; axis < shape_.size(); ++axis) {
      const int64_t stride = strides_[axis];
      for (int64_t i = stride; i < places; ++i) {
        const bool first = (i / stride) % (shape_[axis] + 1) == 0;
        if (!first) sums_[static_cast<size_t>(i)] += sums_[static_cast<size_t>(i - stride)];
      }
    }
  }

  double probability(const Box& tile, int64_t occupancy, const Known* known) const override {
    if (known) return within(tile, *known, occupancy);
    return chance_of(occupancy, distribution(tile));
  }

  Chances distribution(const Box& tile) const override {
    const std::lock_guard lock(mutex_);
    auto& chances = known_[tile.sides];
    if (chances.empty()) {
      std::map<int64_t, int64_t> histogram;
      walk(std::vector<int64_t>(shape_.size(), 0), shape_, tile.sides,
           [&](const std::vector<int64_t>& from) { ++histogram[inside(from, tile.sides)]; });
      chances = shares(histogram);
    }
    return chances;
  }

  int64_t most(const Box& tile) const override { return distribution(tile).back().first; }
  double expected(const Box& tile) const override {
    double mean = 0;
    for (const auto& [count, chance] : distribution(tile)) mean += static_cast<double>(count) * chance;
    return mean;
  }

 private:
  template <class Visit>
  static void walk(const std::vector<int64_t>& from, const std::vector<int64_t>& sides,
                   const std::vector<int64_t>& step, const Visit& visit) {
    std::vector<int64_t> at = from;
    for (;;) {
      visit(at);
      size_t axis = at.size();
      while (axis > 0) {
        --axis;
        at[axis] += step[axis];
        if (at[axis] < from[axis] + sides[axis]) break;
        at[axis] = from[axis];
        if (axis == 0) return;
      }
      if (at.empty()) return;
    }
  }

  /// Non-zeros of the box; by inclusion and exclusion of its corners.
  int64_t inside(const std::vector<int64_t>& from, const std::vector<int64_t>& sides) const {
    int64_t sum = 0;
    for (size_t corner = 0; corner < (size_t{1} << shape_.size()); ++corner) {
      int64_t place = 0, sign = 1;
      for (size_t axis = 0; axis < shape_.size(); ++axis) {
        const bool low = (corner >> axis) & 1;
        place += std::min(from[axis] + (low ? 0 : sides[axis]), shape_[axis]) * strides_[axis];
        sign = low ? -sign : sign;
      }
      sum += sign * sums_[static_cast<size_t>(place)];
    }
    return sum;
  }

  static Chances shares(const std::map<int64_t, int64_t>& histogram) {
    double all = 0;
    for (const auto& [count, times] : histogram) all += static_cast<double>(times);
    Chances chances;
    for (const auto& [count, times] : histogram) chances.emplace_back(count, static_cast<double>(times) / all);
    return chances;
  }

  static double chance_of(int64_t occupancy, const Chances& chances) {
    const auto found = std::lower_bound(chances.begin(), chances.end(), std::pair{occupancy, 0.0});
    return found != chances.end() && found->first == occupancy ? found->second : 0;
  }

  /// Among the tiles inside those larger tiles that have the known occupancy.
  double within(const Box& tile, const Known& known, int64_t occupancy) const {
    const std::lock_guard lock(mutex_);
    auto& by_outer = inside_[{known.tile.sides, tile.sides}];
    if (by_outer.empty()) {
      std::map<int64_t, std::map<int64_t, int64_t>> histograms;
      walk(std::vector<int64_t>(shape_.size(), 0), shape_, known.tile.sides, [&](const std::vector<int64_t>& from) {
        auto& histogram = histograms[inside(from, known.tile.sides)];
        walk(from, known.tile.sides, tile.sides,
             [&](const std::vector<int64_t>& sub) { ++histogram[inside(sub, tile.sides)]; });
      });
      for (const auto& [outer, histogram] : histograms) by_outer[outer] = shares(histogram);
    }
    const auto found = by_outer.find(known.occupancy);
    return found == by_outer.end() ? 0 : chance_of(occupancy, found->second);
  }

  std::vector<int64_t> shape_, strides_, sums_;
  mutable std::mutex mutex_;
  mutable std::map<std::vector<int64_t>, Chances> known_;
  mutable std::map<std::pair<std::vector<int64_t>, std::vector<int64_t>>, std::map<int64_t, Chances>> inside_;
};

}  // namespace

std::shared_ptr<const Density> fixed_structured(double density) { return std::make_shared<FixedStructured>(density); }

std::shared_ptr<const Density> hypergeometric(double density, int64_t words) {
  return std::make_shared<Hypergeometric>(density, words);
}

std::shared_ptr<const Density> actual_data(std::vector<int64_t> shape, std::string_view nonzero) {
  int64_t words = 1;
  for (const int64_t side : shape) words *= side;
  if (static_cast<int64_t>(nonzero.size()) != words) {
    throw std::invalid_argument("nonzero: expected " + std::to_string(words) + " digits, got " +
                                std::to_string(nonzero.size()));
  }
  return std::make_shared<ActualData>(std::move(shape), nonzero);
}

}  // namespace jouleprune::energy::nest
