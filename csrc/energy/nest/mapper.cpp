#include "energy/nest/mapper.h"

#include <algorithm>
#include <limits>
#include <random>

namespace jouleprune::energy::nest {
namespace {

constexpr double kExhaustive = 4096;
constexpr int64_t kExactBelow = 1 << 12;
constexpr int64_t kLargestPrime = 13;  // sizes with a larger factor are cut up as the next ones without

/// Outer to inner: orders of the groups of dimensions, and the dimensions of a group.
constexpr std::array<std::array<size_t, 3>, 6> kOrders = {
    {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}}};
const std::array<std::vector<size_t>, 3> kGroups = {{{kG, kM}, {kC, kR, kS}, {kN, kP, kQ}}};

std::vector<int64_t> primes_of(int64_t size) {
  std::vector<int64_t> primes;
  for (int64_t prime = 2; prime <= kLargestPrime; ++prime) {
    for (; size % prime == 0; size /= prime) primes.push_back(prime);
  }
  if (size > 1) primes.push_back(size);
  return primes;
}

/// Prime factors of `size`, or of the next number that has none above 13; from 2^12 on, of the next with four
/// significant bits.
std::vector<int64_t> factors_of(int64_t size) {
  for (size = size < kExactBelow ? size : rounded_up(size);; ++size) {
    std::vector<int64_t> primes = primes_of(size);
    if (primes.empty() || primes.back() <= kLargestPrime) return primes;
  }
}

/// Where factors may go: the loops of a level, or one of its axes.
struct Slot {
  size_t level = 0;
  LoopKind kind = LoopKind::kTemporal;
  std::array<bool, kDims> allowed{};
  int64_t extent = std::numeric_limits<int64_t>::max();
};

struct State {
  std::vector<Sizes> bounds;   // [slots]
  std::vector<size_t> orders;  // [levels] of kOrders
};

class Search {
 public:
  Search(const Problem& problem, const Device& device, const Prices& prices)
      : problem_(problem), device_(device), prices_(prices), random_(static_cast<uint64_t>(device.seed)) {
    make_slots();
    for (size_t dim = 0; dim < kDims; ++dim) factors_[dim] = factors_of(problem.sizes[dim]);
  }

  Tiling run(size_t evaluations) {
    best_ = outermost();
    best_pj_ = price(best_);
    if (states() <= kExhaustive) {
      State state = outermost();
      for (Sizes& sizes : state.bounds) sizes.fill(1);
      enumerate(state, 0, 0);
    } else {
      descend(evaluations);
    }
    return tiling(best_);
  }

 private:
  void make_slots() {
    for (size_t level = 0; level < device_.levels.size(); ++level) {
      const DeviceLevel& storage = device_.levels[level];
      Slot slot{level};
      slot.allowed.fill(level == 0 || !storage.loops);
      if (level > 0 && storage.loops) {
        for (const size_t dim : *storage.loops) slot.allowed[dim] = true;
      }
      slots_.push_back(slot);
      for (const auto& [fan_out, kind] :
           {std::pair{&storage.x, LoopKind::kSpatialX}, std::pair{&storage.y, LoopKind::kSpatialY}}) {
        if (fan_out->extent <= 1) continue;
        Slot axis{level, kind, {}, fan_out->extent};
        for (const size_t dim : fan_out->dims) axis.allowed[dim] = true;
        slots_.push_back(axis);
      }
    }
    for (size_t level = 0; level < device_.levels.size(); ++level) {
      if (!device_.levels[level].loops) free_orders_.push_back(level);
    }
  }

  State outermost() const {
    State state;
    state.bounds.assign(slots_.size(), Sizes{});
    for (Sizes& sizes : state.bounds) sizes.fill(1);
    for (size_t dim = 0; dim < kDims; ++dim) {
      for (const int64_t factor : factors_[dim]) state.bounds[0][dim] *= factor;
    }
    state.orders.assign(device_.levels.size(), 0);
    return state;
  }

  std::vector<size_t> order_of(const State& state, size_t level) const {
    if (device_.levels[level].loops) return *device_.levels[level].loops;
    std::vector<size_t> order;
    for (const size_t group : kOrders[state.orders[level]]) {
      order.insert(order.end(), kGroups[group].begin(), kGroups[group].end());
    }
    return order;
  }

  Tiling tiling(const State& state) const {
    Tiling tiling;
    tiling.levels.resize(device_.levels.size());
    for (size_t i = 0; i < slots_.size(); ++i) {
      const Slot& slot = slots_[i];
      const DeviceLevel& storage = device_.levels[slot.level];
      Tiling::Cut& cut = tiling.levels[slot.level];
      const bool time = slot.kind == LoopKind::kTemporal, x = slot.kind == LoopKind::kSpatialX;
      const std::vector<size_t> order = time ? order_of(state, slot.level) : x ? storage.x.dims : storage.y.dims;
      std::vector<Step>& steps = time ? cut.loops : x ? cut.x : cut.y;
      for (const size_t dim : order) {
        // The outermost level takes whatever is left, so the order of all its loops counts.
        if (state.bounds[i][dim] > 1 || i == 0) steps.push_back({dim, state.bounds[i][dim]});
      }
    }
    return tiling;
  }

  /// Extents and capacities, without counting accesses.
  bool possible(const State& state) const {
    Sizes extents;
    extents.fill(1);
    for (size_t i = slots_.size(); i-- > 0;) {
      double along = 1;
      for (size_t dim = 0; dim < kDims; ++dim) {
        along *= static_cast<double>(state.bounds[i][dim]);
        extents[dim] *= state.bounds[i][dim];
      }
      if (slots_[i].kind != LoopKind::kTemporal) {
        if (along > static_cast<double>(slots_[i].extent)) return false;
        continue;
      }
      const DeviceLevel& storage = device_.levels[slots_[i].level];
      const double width = storage.word_bits > 0 ? static_cast<double>(storage.word_bits) : prices_.bits;
      if (words(extents, storage) * width > storage.capacity_bits) return false;
    }
    return true;
  }

  double words(const Sizes& e, const DeviceLevel& storage) const {
    const auto all = [&](std::initializer_list<size_t> dims) {
      double product = 1;
      for (const size_t dim : dims) product *= static_cast<double>(e[dim]);
      return product;
    };
    const auto side = [&](size_t axis, size_t taps, size_t outputs) {
      return static_cast<double>(problem_.dilation[axis] * (e[taps] - 1) + problem_.stride[axis] * (e[outputs] - 1) + 1);
    };
    double sum = 0;
    if (storage.keeps[kWeights]) sum += all({kG, kM, kC, kR, kS});
    if (storage.keeps[kInputs]) sum += all({kG, kN, kC}) * side(0, kR, kP) * side(1, kS, kQ);
    if (storage.keeps[kOutputs]) sum += all({kG, kN, kM, kP, kQ});
    return sum;
  }

  double price(const State& state) {
    ++evaluated_;
    const Layout layout = lay_out(problem_, device_, tiling(state));
    return storage_pj(layout, count(layout.workload, layout.mapping), device_, prices_);
  }

  bool better(double pj) const { return pj < best_pj_ * (1 - 1e-12); }

  void consider(const State& state) {
    const double pj = price(state);
    if (!better(pj)) return;
    best_ = state;
    best_pj_ = pj;
  }

  /// Ways to share out all factors and to order all levels.
  double states() const {
    double all = 1;
    for (size_t dim = 0; dim < kDims; ++dim) {
      double places = 0;
      for (const Slot& slot : slots_) places += slot.allowed[dim] ? 1 : 0;
      for (size_t i = 0; i < factors_[dim].size();) {
        // Equal factors are alike: k of them go to `places` in (places + k - 1 over k) ways.
        const int64_t prime = factors_[dim][i];
        for (double k = 1; i < factors_[dim].size() && factors_[dim][i] == prime; ++k, ++i)
          all *= (places - 1 + k) / k;
      }
    }
    for (size_t i = 0; i < free_orders_.size(); ++i) all *= static_cast<double>(kOrders.size());
    return all;
  }

  /// Places factor `at` of dimension `dim` and all after it in every slot; equal factors go to slots in order.
  void enumerate(State& state, size_t dim, size_t at, size_t first_slot = 0) {
    if (dim == kDims) {
      if (possible(state)) enumerate_orders(state, 0);
      return;
    }
    if (at == factors_[dim].size()) {
      enumerate(state, dim + 1, 0);
      return;
    }
    const int64_t factor = factors_[dim][at];
    for (size_t i = first_slot; i < slots_.size(); ++i) {
      if (!slots_[i].allowed[dim]) continue;
      state.bounds[i][dim] *= factor;
      const bool again = at + 1 < factors_[dim].size() && factors_[dim][at + 1] == factor;
      enumerate(state, dim, at + 1, again ? i : 0);
      state.bounds[i][dim] /= factor;
    }
  }

  void enumerate_orders(State& state, size_t at) {
    if (at == free_orders_.size()) {
      consider(state);
      return;
    }
    for (size_t order = 0; order < kOrders.size(); ++order) {
      state.orders[free_orders_[at]] = order;
      enumerate_orders(state, at + 1);
    }
    state.orders[free_orders_[at]] = 0;
  }

  size_t draw(size_t below) { return static_cast<size_t>(random_() % below); }

  /// One factor to another slot, or another order of one level. False where nothing changed.
  bool move(State& state) {
    if (!free_orders_.empty() && draw(4) == 0) {
      size_t& order = state.orders[free_orders_[draw(free_orders_.size())]];
      order = (order + 1 + draw(kOrders.size() - 1)) % kOrders.size();
      return true;
    }
    const size_t dim = movable_[draw(movable_.size())];
    const int64_t factor = factors_[dim][draw(factors_[dim].size())];
    const size_t from = draw(slots_.size()), to = draw(slots_.size());
    if (from == to || !slots_[to].allowed[dim] || state.bounds[from][dim] % factor != 0) return false;
    state.bounds[from][dim] /= factor;
    state.bounds[to][dim] *= factor;
    return true;
  }

  /// Factors put inside in random order as long as they fit: good mappings fill what there is.
  State packed() {
    State state = outermost();
    for (const size_t level : free_orders_) state.orders[level] = draw(kOrders.size());
    std::vector<std::pair<size_t, int64_t>> left;
    for (size_t dim = 0; dim < kDims; ++dim) {
      for (const int64_t factor : factors_[dim]) left.emplace_back(dim, factor);
    }
    while (!left.empty()) {
      std::swap(left[draw(left.size())], left.back());
      const auto [dim, factor] = left.back();
      left.pop_back();
      for (int attempt = 0; attempt < 3; ++attempt) {
        const size_t to = 1 + draw(slots_.size() - 1);
        if (!slots_[to].allowed[dim]) continue;
        state.bounds[0][dim] /= factor;
        state.bounds[to][dim] *= factor;
        if (possible(state)) break;
        state.bounds[0][dim] *= factor;
        state.bounds[to][dim] /= factor;
      }
    }
    return state;
  }

  /// The best so far, a few moves away.
  State shaken() {
    State state = best_;
    for (int kick = 0; kick < 6; ++kick) {
      State other = state;
      if (move(other) && possible(other)) state = std::move(other);
    }
    return state;
  }

  void descend(size_t evaluations) {
    for (size_t dim = 0; dim < kDims; ++dim) {
      if (!factors_[dim].empty()) movable_.push_back(dim);
    }
    State now = best_;
    double now_pj = best_pj_;
    size_t since = kPatience;  // last improvement: the first start is a packed one
    // Moves that do not fit are cheap, but not free.
    for (size_t tries = 0; evaluated_ < evaluations && tries < 100 * evaluations; ++tries) {
      State next = now;
      // Several moves at once swap factors where one alone does not fit.
      const size_t moves = 1 + draw(3);
      bool moved = false;
      for (size_t i = 0; i < moves; ++i) moved = move(next) || moved;
      if (!moved || !possible(next)) continue;
      const double pj = price(next);
      if (pj < now_pj) {
        now = std::move(next);
        now_pj = pj;
        since = 0;
        if (better(now_pj)) {
          best_ = now;
          best_pj_ = now_pj;
        }
      } else if (++since > kPatience) {
        now = draw(2) == 0 ? packed() : shaken();
        now_pj = price(now);
        if (better(now_pj)) {
          best_ = now;
          best_pj_ = now_pj;
        }
        since = 0;
      }
    }
  }

  static constexpr size_t kPatience = 60;

  const Problem& problem_;
  const Device& device_;
  const Prices& prices_;
  std::mt19937_64 random_;
  std::vector<Slot> slots_;  // outer to inner
  std::vector<size_t> free_orders_, movable_;
  std::array<std::vector<int64_t>, kDims> factors_;
  size_t evaluated_ = 0;
  State best_;
  double best_pj_ = 0;
};

}  // namespace

int64_t rounded_up(int64_t size) {
  int64_t unit = 1;
  while (size > 16 * unit) unit *= 2;
  return (size + unit - 1) / unit * unit;
}

Tiling find_tiling(const Problem& problem, const Device& device, const Prices& prices, size_t evaluations) {
  return Search(problem, device, prices).run(evaluations);
}

}  // namespace jouleprune::energy::nest
