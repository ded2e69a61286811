// Worked examples and published figures.
#include <gtest/gtest.h>

#include <cmath>

#include "energy/cases.h"

namespace jouleprune::test {
namespace {

/// Two layers: 10 operations of 1 and 20 of 2; 200 accesses of 1 and 100 of 2.
Workload two_layers() {
  const std::string text = R"({"schema": 1, "batch": 1, "count": 1, "per": "inference", "unknown_ops": [], "entries": [
    {"name": "a", "op": "linear", "dtype": "int8", "weight": "a.weight", "rows": 20, "cols": 10, "n": 1,
     "macs": 10, "weight_elements": 200, "input_elements": 0, "output_elements": 0},
    {"name": "b", "op": "linear", "dtype": "int16", "weight": "b.weight", "rows": 10, "cols": 10, "n": 1,
     "macs": 20, "weight_elements": 100, "input_elements": 0, "output_elements": 0}]})";
  return Workload::parse(text);
}

TEST(EnergyExamples, OperationsAndAccessesAddUp) {
  const EnergyReport report = estimate(two_layers(), profile_of(example_profile()));
  EXPECT_DOUBLE_EQ(report.parts.compute_j * 1e12, 50);
  EXPECT_DOUBLE_EQ(report.parts.memory_j * 1e12, 400);
  EXPECT_DOUBLE_EQ(report.total_j() * 1e12, 450);
  EXPECT_DOUBLE_EQ(report.low_j, report.total_j());
  EXPECT_DOUBLE_EQ(report.high_j, report.total_j());
}

TEST(EnergyExamples, ShareOfAPart) {
  const EnergyReport report = estimate(two_layers(), profile_of(example_profile()));
  for (const LayerEnergy& layer : report.layers()) {
    EXPECT_NEAR(layer.parts.memory_j / report.total_j(), 200.0 / 450, 1e-12);
  }
  EXPECT_NEAR(report.layers()[0].share, 210.0 / 450, 1e-12);
  EXPECT_NEAR(report.layers()[1].share, 240.0 / 450, 1e-12);
}

/// Chen et al., ISCA 2016, Fig. 10: AlexNet (grouped), batch 16, in 1e9 MAC energies: arithmetic and register files.
struct Published {
  const char* name;
  int64_t macs;  ///< per image
  double alu, registers;
};
constexpr Published kAlexNet[] = {{"conv1", 105415200, 1.69, 6.75}, {"conv2", 223948800, 3.58, 14.33},
                                  {"conv3", 149520384, 2.39, 9.57}, {"conv4", 112140288, 1.79, 7.18},
                                  {"conv5", 74760192, 1.20, 4.78},  {"fc1", 37748736, 0.60, 2.42},
                                  {"fc2", 16777216, 0.27, 1.07},    {"fc3", 4096000, 0.07, 0.26}};

double rounded(double value) { return std::round(value * 100) / 100; }

TEST(EnergyExamples, EyerissArithmeticAndRegistersOfAlexNet) {
  const Profile profile = energy::load_profile("eyeriss-65nm");
  const double mac_j = 1.694e-12;
  const double register_pj_per_bit = 0.105875;
  for (const Published& layer : kAlexNet) {
    Entry entry = linear(1, 1, 1);
    entry.name = layer.name;
    entry.macs = 16 * layer.macs;
    entry.weight_elements = entry.nnz = 1000;
    const LayerEnergy priced = energy::price(entry, profile, 1);
    EXPECT_DOUBLE_EQ(rounded(priced.parts.compute_j / mac_j / 1e9), layer.alu) << layer.name;
    const double registers_j = priced.bytes.at("RF") * 8 * register_pj_per_bit * 1e-12;
    EXPECT_DOUBLE_EQ(rounded(registers_j / mac_j / 1e9), layer.registers) << layer.name;
  }
}

/// The fully connected layers' DRAM energy of the same figure is dominated by the weights: 7.78, 3.39, 0.84.
TEST(EnergyExamples, EyerissDramOfFullyConnectedLayers) {
  const Profile profile = energy::load_profile("eyeriss-65nm");
  const struct {
    Entry entry;
    double dram;
  } cases[] = {{linear(4096, 9216, 16), 7.78}, {linear(4096, 4096, 16), 3.39}, {linear(1000, 4096, 16), 0.84}};
  for (const auto& [entry, dram] : cases) {
    const double words = energy::price(entry, profile, 1).bytes.at("DRAM") / 2;
    EXPECT_NEAR(words * 200 / 1e9, dram, 0.05 * dram);
  }
}

}  // namespace
}  // namespace jouleprune::test
