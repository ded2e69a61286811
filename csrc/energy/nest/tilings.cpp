#include "energy/nest/tilings.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <tuple>

namespace jouleprune::energy::nest {
namespace {

constexpr size_t kKept = 4096, kEvaluations = 2400, kLeastEvaluations = 300;

/// Widths for which tiles are searched: those from `bits` on, where some capacity depends on it.
std::vector<int> widths_from(int bits, const ProfileData& profile) {
  const auto& levels = profile.nest->levels;
  const bool depends = std::any_of(levels.begin(), levels.end(), [](const DeviceLevel& level) {
    return level.word_bits == 0 && level.capacity_bits < std::numeric_limits<double>::infinity();
  });
  if (!depends || !profile.runs_as.empty()) return {bits};
  std::vector<int> widths;
  for (const int width : {8, 16, 32, 64}) {
    if (width >= bits) widths.push_back(width);
  }
  if (widths.empty()) widths.push_back(bits);
  return widths;
}

std::vector<Tiling> search(const Problem& problem, const ProfileData& profile, int bits) {
  Problem wanted = problem;
  for (const Dim dim : {kG, kM, kC}) wanted.sizes[dim] = rounded_up(wanted.sizes[dim]);
  // Batches of images already have many outputs to share a weight among.
  const std::vector<int64_t> batches =
      problem.windows() ? std::vector<int64_t>{1, 8} : std::vector<int64_t>{1, 8, 64, 512};
  const std::vector<int> widths = widths_from(bits, profile);
  // As many for each width whatever the layer's own is, so that a wider type's choices are a narrower one's, too.
  const size_t searches = batches.size() * widths_from(1, profile).size();
  const size_t evaluations = std::max(kLeastEvaluations, kEvaluations / searches);
  std::vector<Tiling> choices;
  for (const int width : widths) {
    DtypeCost cost = profile.dtypes.front();
    cost.bits = width;
    const Prices prices = prices_of(profile, cost);
    for (const int64_t batch : batches) {
      wanted.sizes[kN] = batch;
      Tiling found = find_tiling(wanted, *profile.nest, prices, evaluations);
      const bool known = std::any_of(choices.begin(), choices.end(),
                                     [&](const Tiling& choice) { return choice.levels == found.levels; });
      if (!known) choices.push_back(std::move(found));
    }
  }
  return choices;
}

bool holds(const Tiling& tiling, const Problem& problem, const Device& device, int bits) {
  const Layout layout = lay_out(problem, device, tiling);
  return fits(layout, count(layout.workload, layout.mapping), device, bits);
}

}  // namespace

std::shared_ptr<const Tilings> tilings_for(const Problem& problem, const std::string& op, const ProfileData& profile,
                                           int bits) {
  const Device& device = *profile.nest;
  auto mapping = device.mappings.find(op);
  if (mapping == device.mappings.end()) mapping = device.mappings.find("");
  if (mapping != device.mappings.end() && holds(mapping->second, problem, device, bits))
    return std::make_shared<const Tilings>(Tilings{true, {mapping->second}});

  using Key = std::tuple<std::string, Sizes, std::array<int64_t, 2>, std::array<int64_t, 2>, int>;
  Sizes sizes = problem.sizes;
  for (const Dim dim : {kG, kM, kC}) sizes[dim] = rounded_up(sizes[dim]);
  sizes[kN] = 1;
  const Key key{profile.hash, sizes, problem.stride, problem.dilation, bits};
  static std::mutex mutex;
  static std::map<Key, std::shared_ptr<const Tilings>> kept;
  {
    const std::lock_guard lock(mutex);
    if (const auto found = kept.find(key); found != kept.end()) return found->second;
  }
  auto found = std::make_shared<const Tilings>(Tilings{false, search(problem, profile, bits)});
  const std::lock_guard lock(mutex);
  if (kept.size() >= kKept) kept.clear();
  return kept.emplace(key, std::move(found)).first->second;
}

Prices prices_of(const ProfileData& profile, const DtypeCost& cost) {
  Prices prices;
  for (const Level& level : profile.levels) {
    prices.read_pj_per_bit.push_back(level.read_pj_per_bit.value);
    prices.write_pj_per_bit.push_back(level.write_pj_per_bit.value);
  }
  prices.bits = cost.bits;
  if (cost.macs_s.value > 0)
    prices.step_pj = 1e12 * profile.static_w.value * units_of(*profile.nest) / cost.macs_s.value;
  return prices;
}

double units_of(const Device& device) {
  double units = 1;
  for (const DeviceLevel& level : device.levels)
    units *= static_cast<double>(level.x.extent) * static_cast<double>(level.y.extent);
  return units;
}

}  // namespace jouleprune::energy::nest
