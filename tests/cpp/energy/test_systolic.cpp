// The systolic array against slow loops, and its marginals against differences.
#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <stdexcept>

#include "energy/systolic/array.h"

namespace jouleprune::test {
namespace {

using namespace energy::systolic;

Layer random_conv(std::mt19937& random) {
  const auto pick = [&random](int64_t from, int64_t to) {
    return from + static_cast<int64_t>(random() % static_cast<uint64_t>(to - from + 1));
  };
  for (;;) {
    Layer layer;
    layer.groups = pick(1, 3);
    layer.in_channels = layer.groups * pick(1, 3);
    layer.out_channels = layer.groups * pick(1, 4);
    layer.batch = pick(1, 3);
    layer.in_h = pick(1, 9), layer.in_w = pick(1, 9);
    layer.kernel_h = pick(1, 4), layer.kernel_w = pick(1, 3);
    layer.stride_h = pick(1, 3), layer.stride_w = pick(1, 2);
    layer.padding_h = pick(0, 2), layer.padding_w = pick(0, 2);
    layer.dilation_h = pick(1, 2), layer.dilation_w = pick(1, 2);
    if (layer.out_h() >= 1 && layer.out_w() >= 1) return layer;
  }
}

/// Kept weights per tap, and MACs with weight and input, by looking at every one.
int64_t walked_macs(const Layer& layer, std::mt19937& random, std::vector<int64_t>& per_tap) {
  per_tap.assign(static_cast<size_t>(layer.taps()), 0);
  int64_t macs = 0;
  for (int64_t weight = 0; weight < layer.weights(); ++weight) {
    if (random() % 2 == 0) continue;
    const int64_t tap = weight % layer.taps(), y = tap / layer.kernel_w, x = tap % layer.kernel_w;
    ++per_tap[static_cast<size_t>(tap)];
    for (int64_t row = 0; row < layer.out_h(); ++row) {
      for (int64_t col = 0; col < layer.out_w(); ++col) {
        const int64_t in_y = row * layer.stride_h + y * layer.dilation_h - layer.padding_h;
        const int64_t in_x = col * layer.stride_w + x * layer.dilation_w - layer.padding_w;
        macs += in_y >= 0 && in_y < layer.in_h && in_x >= 0 && in_x < layer.in_w ? layer.batch : 0;
      }
    }
  }
  return macs;
}

TEST(Systolic, ValidMacsEqualWalk) {
  std::mt19937 random(4);
  for (int i = 0; i < 1000; ++i) {
    const Layer layer = random_conv(random);
    std::vector<int64_t> per_tap;
    const int64_t macs = walked_macs(layer, random, per_tap);
    ASSERT_EQ(valid_macs(layer, per_tap), macs);
  }
}

TEST(Systolic, MarginalIsTheDifference) {
  std::mt19937 random(7);
  Array array;
  array.weight_cache_words = 20;
  for (int i = 0; i < 500; ++i) {
    Layer layer = random_conv(random);
    layer.weight_bits = 4 << (random() % 3);
    layer.metadata_bits = static_cast<int64_t>(random() % 5);
    const Marginals each = marginals(layer, array);
    for (int64_t kept = 1; kept <= layer.weights(); ++kept) {
      const double difference =
          relaxed_energy(layer, array, kept).total() - relaxed_energy(layer, array, kept - 1).total();
      const double expected = kept <= cached_weights(layer, array) ? each.in_cache : each.out_of_cache;
      ASSERT_NEAR(difference, expected, 1e-9 * relaxed_energy(layer, array, kept).total());
    }
  }
}

TEST(Systolic, GrowsWithBitsBatchAndWeights) {
  std::mt19937 random(9);
  const Array array;
  for (int i = 0; i < 300; ++i) {
    const Layer layer = random_conv(random);
    const double total = exact_energy(layer, array, dense_taps(layer)).total();
    Layer wider = layer, more = layer, told = layer;
    wider.weight_bits *= 2;
    more.batch += 1;
    told.metadata_bits = 8;
    EXPECT_GT(exact_energy(wider, array, dense_taps(wider)).total(), total);
    EXPECT_GT(exact_energy(more, array, dense_taps(more)).total(), total);
    EXPECT_GT(exact_energy(told, array, dense_taps(told)).total(), total);
    std::vector<int64_t> fewer = dense_taps(layer);
    fewer[0] -= 1;
    EXPECT_LE(exact_energy(layer, array, fewer).total(), total);
  }
}

TEST(Systolic, FullyConnectedIsAConvolutionOfOnePixel) {
  // Weights and arithmetic; inputs differ, because a vector has no rows to reload.
  const Array array;
  Layer fc;
  fc.fully_connected = true;
  fc.in_channels = 40, fc.out_channels = 30;
  Layer conv = fc;
  conv.fully_connected = false;
  EXPECT_EQ(exact_energy(fc, array, dense_taps(fc)).weights, exact_energy(conv, array, dense_taps(conv)).weights);
  EXPECT_EQ(exact_energy(fc, array, dense_taps(fc)).macs, exact_energy(conv, array, dense_taps(conv)).macs);
  EXPECT_EQ(marginals(fc, array).in_cache, 210);
}

TEST(Systolic, DepthwiseUsesOneColumnAGroup) {
  const Array array;
  Layer layer;
  layer.in_channels = layer.out_channels = layer.groups = 28;
  layer.in_h = layer.in_w = 4;
  const LayerEnergy depthwise = exact_energy(layer, array, dense_taps(layer));
  EXPECT_EQ(layer.weights(), 28);
  // Each input: from memory, then once through the cache and once through a register; each output to memory.
  EXPECT_EQ(depthwise.inputs, 28 * 16 * (200 + 6 + 1 + 200));
}

TEST(Systolic, ProjectionKeepsThePrefix) {
  // One layer: the largest weights, as many as the budget pays for.
  const Array array;
  Layer layer;
  layer.fully_connected = true;
  layer.in_channels = 10, layer.out_channels = 8;
  std::vector<float> weights(80);
  for (size_t i = 0; i < weights.size(); ++i) weights[i] = static_cast<float>((i * 37) % 80) - 40.25f;
  const double fixed = relaxed_energy(layer, array, 0).inputs;
  const auto kept = project({{layer, weights.data()}}, array, fixed + 210 * 25.5);
  int64_t count = 0;
  float smallest = 1e9f, largest = 0;
  for (size_t i = 0; i < weights.size(); ++i) {
    count += kept[0][i];
    if (kept[0][i]) smallest = std::min(smallest, std::abs(weights[i]));
    if (!kept[0][i]) largest = std::max(largest, std::abs(weights[i]));
  }
  EXPECT_EQ(count, 25);
  EXPECT_GE(smallest, largest);
  EXPECT_THROW(project({{layer, weights.data()}}, array, fixed - 1), std::invalid_argument);
}

TEST(Systolic, NamesWhatIsWrong) {
  Layer layer;
  layer.groups = 2;
  layer.in_channels = 3;
  try {
    check(layer);
    FAIL();
  } catch (const std::invalid_argument& error) {
    EXPECT_NE(std::string(error.what()).find("groups"), std::string::npos);
  }
  Layer huge;
  huge.in_channels = huge.out_channels = huge.kernel_h = huge.in_h = huge.in_w = 1 << 24;
  EXPECT_THROW(check(huge), std::invalid_argument);
  Array array;
  array.input_cache_words = 10;
  Layer wide;
  wide.in_channels = 4, wide.in_h = wide.in_w = 8, wide.kernel_h = wide.kernel_w = 3;
  EXPECT_THROW(exact_energy(wide, array, dense_taps(wide)), std::invalid_argument);
}

}  // namespace
}  // namespace jouleprune::test
