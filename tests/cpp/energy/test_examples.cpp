// Worked examples and published figures.
#include <gtest/gtest.h>

#include <cmath>

#include "energy/alexnet.h"
#include "energy/case_files.h"
#include "energy/nest/problem.h"

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

/// Chen et al., ISCA 2016, Fig. 10: AlexNet (grouped), batch 16, in 1e9 MAC energies.
constexpr int64_t kBatch = 16;

Json published() { return Json::parse(case_files({"eyeriss_isca16_fig10"}).at(0).text); }

double rounded(double value) { return std::round(value * 100) / 100; }

TEST(EnergyExamples, EyerissArithmeticAndRegistersOfAlexNet) {
  const Profile profile = energy::load_profile("eyeriss-65nm");
  const Json table = published();
  const double mac_j = 1.694e-12;
  const double register_pj_per_bit = 0.105875;
  for (const AlexNetLayer& layer : kAlexNet) {
    const Entry entry = entry_of(layer, kBatch);
    EXPECT_EQ(entry.macs, kBatch * table["workload"]["macs_per_image"][layer.name].get<int64_t>());
    const LayerEnergy priced = energy::price(entry, profile, 1);
    EXPECT_DOUBLE_EQ(rounded(priced.parts.compute_j / mac_j / 1e9), table["expected"][layer.name]["alu"].get<double>());
    const double registers_j = priced.bytes.at("RF") * 8 * register_pj_per_bit * 1e-12;
    EXPECT_DOUBLE_EQ(rounded(registers_j / mac_j / 1e9), table["expected"][layer.name]["rf"].get<double>());
  }
}

/// The same from the nest of loops, with nothing said of accesses per MAC: whatever the mapping, each MAC reads a weight, an input and a
/// sum and writes the sum. (The engine leaves out the read of a sum that has no value yet, as Timeloop does; the figure has it.)
TEST(EnergyExamples, NestArithmeticAndRegistersOfAlexNet) {
  using namespace energy::nest;  // NOLINT: the nest's names
  const Profile profile = energy::load_profile("eyeriss-nest");
  const Json table = published();
  for (const AlexNetLayer& layer : kAlexNet) {
    // Rows of filters along one axis of the array, strips of outputs that leave no unit idle along the other.
    const int64_t strip = layer.out_size == 55 ? 11 : layer.out_size == 27 ? 9 : layer.out_size;
    const Tiling tiling{{{}, {{{kP, 55}}, {{kQ, strip}}, {{kS, 11}}}, {}, {{{kR, 11}}, {}, {}}, {{{kM, 8}}, {}, {}}}};
    const Layout laid = lay_out(problem_of(entry_of(layer, kBatch)), *profile.data().nest, tiling);
    const NestCounts counts = count(laid.workload, laid.mapping);
    const auto total = [&](size_t level, size_t tensor, int64_t Accesses::* kind) {
      const LevelCounts& of_level = counts.levels[laid.level_of[level]];
      return static_cast<double>(of_level.instances * of_level.tensors[tensor].accesses.*kind);
    };
    const double updates = total(4, kOutputs, &Accesses::updates), macs = static_cast<double>(counts.macs());
    const double registers = total(2, kInputs, &Accesses::reads) + total(3, kWeights, &Accesses::reads) + 2 * updates;
    EXPECT_DOUBLE_EQ(rounded(macs / 1e9), table["expected"][layer.name]["alu"].get<double>()) << layer.name;
    EXPECT_DOUBLE_EQ(rounded(registers / 1e9), table["expected"][layer.name]["rf"].get<double>()) << layer.name;
    const double left_out = updates - total(4, kOutputs, &Accesses::reads);
    EXPECT_GT(left_out, 0);
    EXPECT_LT(left_out, 0.1 * macs);
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
