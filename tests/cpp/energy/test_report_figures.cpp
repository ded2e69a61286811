// Use of a device, and curves over the density.
#include <gtest/gtest.h>
#include <jouleprune/density_curves.h>
#include <jouleprune/device_use.h>
#include <jouleprune/macs.h>

#include <cmath>

#include "energy/cases.h"

namespace jouleprune::test {
namespace {

Workload two_layers(int64_t batch = 4) {
  Workload workload;
  workload.entries = {conv2d(16, 8, 3, 10, batch), linear(300, 200, batch)};
  workload.entries[1].name = "head";
  workload.batch = workload.count = batch;
  return workload;
}

TEST(DeviceUse, TimeLiesBetweenItsEnds) {
  for (const std::string& name : Profile::names()) {
    const Profile profile = energy::load_profile(name);
    for (const int64_t batch : {1, 8, 32, 256}) {
      const auto use = energy::device_use(two_layers(batch), profile);
      EXPECT_LE(use.low_s, use.latency_s) << name << " batch " << batch;
      EXPECT_GE(use.high_s, use.latency_s) << name << " batch " << batch;
    }
  }
}

TEST(DeviceUse, AddsUpTheLayersOfTheReport) {
  for (const std::string& name : Profile::names()) {
    const Profile profile = energy::load_profile(name);
    const EnergyReport report = estimate(two_layers(), profile);
    const auto use = energy::device_use(two_layers(), profile);
    EXPECT_DOUBLE_EQ(use.latency_s, report.latency_s);
    EXPECT_LE(use.low_s, use.latency_s);
    EXPECT_GE(use.high_s, use.latency_s);
    double macs = 0;
    std::map<std::string, double> bytes;
    for (const LayerEnergy& layer : report.layers()) {
      macs += layer.macs_issued;
      for (const auto& [level, moved] : layer.bytes) bytes[level] += moved;
    }
    EXPECT_EQ(use.macs, macs);
    ASSERT_EQ(use.levels.size(), bytes.size());
    for (const auto& level : use.levels) {
      EXPECT_DOUBLE_EQ(level.bytes, bytes.at(level.name)) << name << level.name;
      if (level.fill) {
        EXPECT_TRUE(*level.fill > 0 && *level.fill <= 1) << name << level.name;
      }
      if (level.bandwidth_share) {
        EXPECT_LE(*level.bandwidth_share, 1 + 1e-12) << name << level.name;
      }
    }
    if (use.multiplier_share) {
      EXPECT_TRUE(*use.multiplier_share > 0 && *use.multiplier_share <= 1 + 1e-12) << name;
    }
    EXPECT_EQ(use.multiplier_share.has_value(), use.latency_s > 0);
  }
}

TEST(Macs, WholeAndHalved) {
  Workload workload = two_layers();
  workload.entries.push_back(workload.entries[1]);  // the head is called twice
  const EnergyReport report = estimate(workload, energy::load_profile("eyeriss-65nm"));
  const auto whole = macs(report), halved = macs(report, MacForm::kHalved);
  ASSERT_EQ(whole.size(), 2u);
  EXPECT_EQ(whole.at("head"), 2.0 * 300 * 200 * 4);
  EXPECT_EQ(whole.at(report.layers()[0].name), 16.0 * 8 * 9 * 10 * 10 * 4);
  for (const auto& [name, count] : whole) EXPECT_EQ(halved.at(name), count / 2) << name;
}

TEST(DeviceUse, ByHand) {
  Json json = example_profile();
  json["compute"]["int8"]["macs_s"] = number(100);
  json["levels"][0]["capacity_bytes"] = number(64);
  json["levels"][0]["bytes_s"] = number(2);
  Workload workload;
  workload.entries = {linear(4, 4, 2, "int8")};  // 32 MACs; 16 weights read, 8 inputs and 8 outputs held
  const auto use = energy::device_use(workload, profile_of(json));
  EXPECT_DOUBLE_EQ(use.latency_s, 8);  // 16 bytes at 2 a second
  EXPECT_DOUBLE_EQ(use.multiplier_share.value(), 32.0 / 100 / 8);
  EXPECT_DOUBLE_EQ(use.levels[0].bandwidth_share.value(), 1);
  EXPECT_DOUBLE_EQ(use.levels[0].fill.value(), 0.5);
  EXPECT_DOUBLE_EQ(use.levels[0].capacity_bytes.value(), 64);
  const Json text = Json::parse(energy::to_json(energy::device_use(workload, profile_of(example_profile()))));
  EXPECT_TRUE(text["multiplier_share"].is_null());
  EXPECT_TRUE(text["levels"][0]["fill"].is_null());
}

/// The network with both layers at `density` on a kernel.
double at(const std::string& kernel, const Profile& profile, double density) {
  Workload workload = two_layers();
  for (Entry& entry : workload.entries) {
    const bool runs = kernel != "bsr" || entry.op == "linear";
    if (!runs) continue;
    entry = with_kernel(entry, kernel == "zero-skip" ? "dense" : kernel,
                        std::llround(density * static_cast<double>(entry.weight_elements)));
    if (kernel == "bsr") entry.layout = "bsr", entry.pattern = "16x16";
  }
  return estimate(workload, profile).energy_j;
}

TEST(DensityCurves, AreEstimatesAtThatDensity) {
  const std::vector<double> densities = {0, 0.1, 0.5, 1};
  for (const std::string& name : Profile::names()) {
    const Profile profile = energy::load_profile(name);
    const auto found = energy::density_curves(two_layers(), profile, densities);
    const EnergyReport dense = estimate(two_layers(), profile);
    EXPECT_DOUBLE_EQ(found.dense_j, dense.energy_j);
    EXPECT_DOUBLE_EQ(found.dense_low_j, dense.low_j);
    EXPECT_DOUBLE_EQ(found.dense_high_j, dense.high_j);
    EXPECT_EQ(found.curves.empty(), profile.kind() == "asic" && !energy::zeros_save(profile)) << name;
    for (const auto& curve : found.curves) {
      EXPECT_EQ(curve.layers, curve.kernel == "bsr" ? 1 : 2);
      for (size_t i = 0; i < densities.size(); ++i) {
        EXPECT_NEAR(curve.energy_j[i], at(curve.kernel, profile, densities[i]), 1e-12 * found.dense_j)
            << name << " " << curve.kernel;
      }
      if (!curve.density) continue;
      EXPECT_LE(at(curve.kernel, profile, *curve.density), found.dense_j * (1 + 1e-9)) << name << curve.kernel;
      if (*curve.density < 1) {
        EXPECT_GT(at(curve.kernel, profile, *curve.density + 0.001), found.dense_j);
      }
    }
  }
}

TEST(DensityCurves, PrunedInputsGiveTheSameCurves) {
  Workload pruned = two_layers();
  pruned.entries[1] = with_kernel(pruned.entries[1], "csr", 17);
  const Profile profile = energy::load_profile("generic-cpu");
  EXPECT_EQ(energy::to_json(energy::density_curves(pruned, profile, {0.3})),
            energy::to_json(energy::density_curves(two_layers(), profile, {0.3})));
}

TEST(DensityCurves, RefusesWhatIsNoShare) {
  const Profile profile = energy::load_profile("generic-cpu");
  for (const double density : {-0.1, 1.1, std::nan("")}) {
    EXPECT_THROW(energy::density_curves(two_layers(), profile, {density}), std::invalid_argument);
  }
}

}  // namespace
}  // namespace jouleprune::test
