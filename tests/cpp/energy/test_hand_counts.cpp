// Closed forms written out by hand for one linear layer and one convolution on each built-in profile.
#include <gtest/gtest.h>

#include <algorithm>

#include "energy/cases.h"

namespace jouleprune::test {
namespace {

constexpr double kTolerance = 1e-12;  // relative: sums in another order

void expect_close(double got, double expected) { EXPECT_NEAR(got, expected, kTolerance * std::abs(expected)); }

// linear: weight [30, 20], batch 4. conv: 8 -> 16 channels, 3x3, 10x10 image, batch 2.
const Entry kLinear = linear(30, 20, 4), kConv = conv2d(16, 8, 3, 10, 2);

/// Dense: all activations of both layers fit in the global buffer (16-bit words), so DRAM sees only the weights.
TEST(HandCounts, Eyeriss) {
  const Profile profile = energy::load_profile("eyeriss-65nm");
  const auto expected = [](double macs, double weights, double inputs, double outputs) {
    const double mac = 1.694, dram = 16 * 21.175, glb = 16 * 0.63525, array = 16 * 0.21175, rf = 16 * 0.105875;
    return 1e-12 *
           (macs * mac + weights * dram + (inputs + outputs + 0.039 * macs) * glb + 0.2 * macs * array + 4 * macs * rf);
  };
  expect_close(energy::price(kLinear, profile, 1).energy_j, expected(2400, 600, 80, 120));
  expect_close(energy::price(kConv, profile, 1).energy_j, expected(230400, 1152, 1600, 3200));
}

TEST(HandCounts, EyerissPrunedAndSparseInputs) {
  Entry entry = kLinear;
  entry.nnz = 60;  // density 0.1
  entry.input_density = 0.5;
  const LayerEnergy priced = energy::price(entry, energy::load_profile("eyeriss-65nm"), 1);
  const double pairs = 60 / (1 - std::pow(0.9, 32));
  // MACs with both operands: 120. With a weight: 240; these read their input before it is known to be zero.
  expect_close(priced.parts.compute_j, 1e-12 * 120 * 1.694);
  expect_close(priced.bytes.at("DRAM"), pairs * 21 / 8);
  expect_close(priced.parts.metadata_j, 1e-12 * 21.175 * (pairs * 21 - 60 * 16));
  expect_close(priced.bytes.at("RF"), 2 * (240 + 3 * 120));
  EXPECT_EQ(priced.macs_issued, 2400);  // gated MACs take their cycle
  EXPECT_EQ(priced.macs_effective, 120);
  EXPECT_EQ(priced.kernel, "zero-skip");
}

TEST(HandCounts, Horowitz) {
  const Profile profile = energy::load_profile("horowitz-45nm");
  const auto expected = [](double macs, double weights, double activations) {
    const double mac = 4.6, dram = 32 * 20.3125, large = 32 * 1.5625, small = 32 * 0.15625;
    return 1e-12 * (macs * mac + weights * (dram + large) + activations * large + 2 * macs * small);
  };
  expect_close(energy::price(kLinear, profile, 1).energy_j, expected(2400, 600, 200));
  expect_close(energy::price(kConv, profile, 1).energy_j, expected(230400, 1152, 4800));
}

/// What the innermost cache delivers to a dense kernel that keeps 6 rows x 64 columns of sums in registers.
struct Registers {
  double loads, passes, sums;
};

Registers dense_registers(const Entry& e) {
  const auto tiles = [](int64_t size, int64_t tile) { return static_cast<double>((size + tile - 1) / tile); };
  return {static_cast<double>(e.cols * e.n * e.groups) * tiles(e.rows, 6), tiles(e.n, 64),
          static_cast<double>(e.rows * e.n * e.groups)};
}

/// Everything fits in the innermost cache: every level moves the weights once, only that cache sees activations.
TEST(HandCounts, GenericCpu) {
  const Profile profile = energy::load_profile("generic-cpu");
  for (const Entry& e : {kLinear, kConv}) {
    const Registers r = dense_registers(e);
    const double macs = static_cast<double>(e.macs), weight_bits = 32.0 * static_cast<double>(e.weight_elements);
    const double l1_bits = 32 * (r.loads + r.sums) + weight_bits * r.passes;
    const double seconds = std::max({macs / 0.8 / 137e9, weight_bits / 8 / 20e9, l1_bits / 8 / 480e9});
    const double dynamic_pj = 10 * macs + weight_bits * (20 + 2 + 0.5) + 0.15 * l1_bits;
    const LayerEnergy priced = energy::price(e, profile, 2);
    expect_close(priced.latency_s, seconds + 2e-6);
    expect_close(priced.energy_j, (1e-12 * dynamic_pj + 15 * (seconds + 2e-6)) / 2);
    expect_close(priced.bytes.at("L1"), l1_bits / 8);
  }
}

TEST(HandCounts, GenericGpu) {
  const Profile profile = energy::load_profile("generic-gpu-hbm");
  for (const Entry& e : {kLinear, kConv}) {
    const Registers r = dense_registers(e);
    const double macs = static_cast<double>(e.macs), weight_bits = 32.0 * static_cast<double>(e.weight_elements);
    const double l1_bits = 32 * (r.loads + r.sums) + weight_bits * r.passes;
    const double seconds =
        std::max({macs / 0.8 / 9.75e12, weight_bits / 8 / 1.7e12, weight_bits / 8 / 5e12, l1_bits / 8 / 19e12});
    const double dynamic_pj = 12 * macs + weight_bits * (15 + 2) + 0.5 * l1_bits;
    expect_close(energy::price(e, profile, 1).energy_j, 1e-12 * dynamic_pj + 80 * (seconds + 5e-6));
  }
}

/// 70 columns: five vectors of 16. 30 rows make one group; a column is used unless all 30 lost it, each with 5 in 6.
TEST(HandCounts, CsrOnGenericCpu) {
  const Entry entry = with_kernel(linear(30, 20, 70), "csr", 100);
  const LayerEnergy priced = energy::price(entry, energy::load_profile("generic-cpu"), 1);
  const double used = 20 * (1 - std::pow(5.0 / 6, 30)), values = 32 * 100, code = 8 * (7.3 * 100 + 7 * used);
  const double panel = 20 * 70 * 32;
  EXPECT_EQ(priced.macs_issued, 8000);
  EXPECT_EQ(priced.macs_effective, 7000);
  expect_close(priced.bytes.at("DRAM"), (values + code) / 8);
  expect_close(priced.bytes.at("L2"), (values + code + 2 * panel) / 8);
  expect_close(priced.bytes.at("L1"), (5 * (values + code) + 32 * (used * 80 + 30 * 70)) / 8);
  expect_close(priced.parts.metadata_j, 1e-12 * code * (20 + 2 + 0.5 + 5 * 0.15));
  expect_close(priced.parts.compute_j, 1e-12 * 8000 * 10);
}

/// Four batch rows: the weights are streamed once, with 12 bits of index each; 30 rows make two strips of 15.
TEST(HandCounts, SmallCsrOnGenericCpu) {
  const Entry entry = with_kernel(linear(30, 20, 4), "csr", 100);
  const LayerEnergy priced = energy::price(entry, energy::load_profile("generic-cpu"), 1);
  const double used = 2 * 20 * (1 - std::pow(5.0 / 6, 15)), values = 32 * 100, indices = 12 * 100;
  EXPECT_EQ(priced.macs_issued, 400);
  expect_close(priced.bytes.at("DRAM"), (values + indices) / 8);
  expect_close(priced.bytes.at("L1"), (values + indices + 32 * (used * 4 + 30 * 4)) / 8);
  expect_close(priced.parts.compute_j, 1e-12 * 400 * 10);
}

/// A GPU's kernel works row by row: 70 columns are two panels of 64.
TEST(HandCounts, CsrOnGpu) {
  const Entry entry = with_kernel(linear(30, 20, 70), "csr", 100);
  const LayerEnergy priced = energy::price(entry, energy::load_profile("generic-gpu-hbm"), 1);
  EXPECT_EQ(priced.macs_issued, 8000);
  const double values = 32 * 100, indices = 32 * (100 + 30 + 1);
  expect_close(priced.bytes.at("HBM"), (values + indices) / 8);
}

/// fc7 of AlexNet at a batch of 64 is too large for L1 (24 KB of its 48) and just fits in half of L2: from there whole lines of 16 words
/// come, for every output row those with a kept input.
TEST(HandCounts, VendorCsrGathersLines) {
  const Entry entry = with_kernel(linear(4096, 4096, 64), "csr-vendor", 4096 * 4096 / 16);
  const LayerEnergy priced = energy::price(entry, energy::load_profile("generic-cpu"), 1);
  const double inputs = 4096 * 64 * 4, outputs = inputs, weights = 4096.0 * 4096 / 16 * 4, indices = weights + 4 * 4097;
  const double gathered = 4096 * inputs * (1 - std::pow(15.0 / 16, 16));
  expect_close(priced.bytes.at("DRAM"), weights + indices);
  expect_close(priced.bytes.at("L3"), weights + indices + inputs + outputs);
  expect_close(priced.bytes.at("L2"), weights + indices + gathered + outputs + 2 * inputs);  // and a transposed copy
}

/// Ten vectors of 16: an index each; 130 batch rows are two passes of 128; a row of activations for each vector.
TEST(HandCounts, VectorsOnGpu) {
  Entry entry = with_kernel(linear(32, 20, 130), "bsr", 160);
  entry.pattern = "16x1";
  const LayerEnergy priced = energy::price(entry, energy::load_profile("generic-gpu-hbm"), 1);
  EXPECT_EQ(priced.macs_issued, 160 * 130);
  const double values = 32 * 160, indices = 32 * 10, panel = 20 * 130 * 32;
  expect_close(priced.bytes.at("HBM"), (values + indices) / 8);
  expect_close(priced.bytes.at("L2"), (values + indices + 2 * panel) / 8);
  expect_close(priced.bytes.at("L1"), (2 * (values + indices) + 32 * (10 * 130 + 32 * 130)) / 8);
}

/// Neither operand fits: squares of the product fill the cache, three at a time.
TEST(HandCounts, LargeProductIsBlocked) {
  const Entry entry = linear(4096, 4096, 4096);
  const LayerEnergy priced = energy::price(entry, energy::load_profile("generic-cpu"), 1);
  const double side = std::floor(std::sqrt(2097152.0 * 8 / (3 * 32)));  // L2 behind L3
  const double tiles = std::ceil(4096 / side), matrix = 4096.0 * 4096 * 4;
  expect_close(priced.bytes.at("L3"), matrix * (tiles + tiles + 2 * (tiles - 1) + 1));
}

}  // namespace
}  // namespace jouleprune::test
