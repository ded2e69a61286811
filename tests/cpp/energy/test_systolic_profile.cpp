// Profiles of dataflow systolic: entries priced as the array's own model prices the layer.
#include <gtest/gtest.h>

#include "energy/cases.h"
#include "energy/systolic/array.h"

namespace jouleprune::test {
namespace {

constexpr double kUnit = 1.694e-12;  // joules of one register access of systolic-12x14

TEST(SystolicProfile, FullyConnectedEqualsTheModel) {
  const Profile profile = energy::load_profile("systolic-12x14");
  const energy::systolic::Array array;
  for (const auto& [rows, cols] :
       {std::pair{4096, 9216}, std::pair{4096, 4096}, std::pair{1000, 4096}, std::pair{10, 84}}) {
    energy::systolic::Layer layer;
    layer.fully_connected = true;
    layer.out_channels = rows;
    layer.in_channels = cols;
    const double units = exact_energy(layer, array, dense_taps(layer)).total();
    EXPECT_NEAR(energy::price(linear(rows, cols, 1, "int16"), profile, 1).energy_j, units * kUnit,
                1e-9 * units * kUnit);
  }
}

TEST(SystolicProfile, ConvolutionWithoutPaddingEqualsTheModel) {
  // One input row of an image is its whole height here, so that nothing is reloaded.
  const Profile profile = energy::load_profile("systolic-12x14");
  const energy::systolic::Array array;
  energy::systolic::Layer layer;
  layer.in_channels = 6, layer.out_channels = 16;
  layer.in_h = layer.in_w = 14;
  layer.kernel_h = layer.kernel_w = 5;
  Entry entry = linear(16, 6 * 25, 100, "int16");
  entry.op = "conv2d";
  entry.shape = {16, 6, 5, 5};
  entry.input_elements = 6 * 14 * 14;
  const double units = exact_energy(layer, array, dense_taps(layer)).total();
  EXPECT_EQ(units, 2544800);  // tests/data/energy/hyang_lenet5_dense.json
  EXPECT_NEAR(energy::price(entry, profile, 1).energy_j, units * kUnit, 1e-9 * units * kUnit);
}

TEST(SystolicProfile, MarginalOfAWeightIsPublished) {
  // AlexNet's fully connected layers: 210 units a weight, in the cache or not.
  const Profile profile = energy::load_profile("systolic-12x14");
  Entry entry = linear(4096, 4096, 1, "int16");
  const double all = energy::price(entry, profile, 1).energy_j;
  entry.nnz -= 1000;
  EXPECT_NEAR(all - energy::price(entry, profile, 1).energy_j, 210000 * kUnit, 1e-3 * 210000 * kUnit);
}

TEST(SystolicProfile, TimeGoesByStrips) {
  const Profile profile = energy::load_profile("systolic-12x14");
  const auto seconds = [&](int64_t rows) {
    return energy::price(linear(rows, 100, 12, "int16"), profile, 1).latency_s;
  };
  EXPECT_EQ(seconds(28), seconds(15));
  EXPECT_GT(seconds(15), seconds(14));
}

TEST(SystolicProfile, RefusesOtherShapes) {
  Json json = Json::parse(energy::load_profile("systolic-12x14").to_json());
  const auto refusal = [](const Json& given) {
    try {
      energy::parse_profile(given.dump(), "p");
    } catch (const core::ProfileError& error) {
      return std::string(error.what());
    }
    return std::string("accepted");
  };
  Json without_array = json, half = json, levels = json, counted = json;
  without_array.erase("array");
  EXPECT_NE(refusal(without_array).find("/array: missing"), std::string::npos);
  half["array"]["rows"] = {{"value", 1.5}, {"low", 1.5}, {"high", 1.5}};
  EXPECT_NE(refusal(half).find("/array/rows/value: expected an integer"), std::string::npos);
  levels["levels"].erase(2);
  EXPECT_NE(refusal(levels).find("/levels: expected memory, cache and registers"), std::string::npos);
  counted["dataflow"] = "op-count";
  EXPECT_NE(refusal(counted).find("/array: only a profile of dataflow systolic"), std::string::npos);
}

}  // namespace
}  // namespace jouleprune::test
