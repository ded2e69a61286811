// linear_bsr through the dispatcher, autograd and autocast, with the CUDA kernels' bodies emulated: against masked
// dense layers.
#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>
#include <gtest/gtest.h>
#include <jouleprune/ops.h>
#include <torch/csrc/autograd/autograd.h>

#include <cstdlib>
#include <tuple>

#include "emulated_backend.h"

namespace jouleprune {
namespace {

using at::Tensor;

struct Case {
  int64_t rows, cols, r, c, n;
};

std::ostream& operator<<(std::ostream& out, const Case& k) {
  return out << k.rows << "x" << k.cols << " blocks " << k.r << "x" << k.c << " n " << k.n;
}

struct Layer {
  Tensor dense;  // masked, float64
  Tensor blocks, block_columns, block_row_offsets, key;
};

Layer layer_of(const Case& k, at::ScalarType dtype) {
  const auto down = (k.rows + k.r - 1) / k.r, across = (k.cols + k.c - 1) / k.c;
  const auto kept = at::rand({down, across}) < 0.5;
  const auto mask =
      kept.repeat_interleave(k.r, 0).repeat_interleave(k.c, 1).slice(0, 0, k.rows).slice(1, 0, k.cols).contiguous();
  const auto weight = at::randn({k.rows, k.cols}).to(dtype);
  Layer layer;
  std::tie(layer.blocks, layer.block_columns, layer.block_row_offsets, layer.key) = pack_bsr(weight, mask, {k.r, k.c});
  layer.dense = at::where(mask, weight, at::zeros({}, weight.options())).to(at::kDouble);
  return layer;
}

Tensor forward(const Layer& l, const Tensor& input, const Tensor& blocks, const std::optional<Tensor>& bias,
               std::string_view activation) {
  return linear_bsr(input, blocks, l.block_columns, l.block_row_offsets, l.key, std::nullopt, bias, l.dense.size(0),
                    l.dense.size(1), activation);
}

double rounding(at::ScalarType dtype) {
  return dtype == at::kDouble ? 1e-12 : dtype == at::kFloat ? 2e-5 : dtype == at::kHalf ? 2e-2 : 1.6e-1;
}

/// Sizes of tests are too small for any prediction in favour of blocks.
class SparseBlocks {
 public:
  SparseBlocks() { setenv("JOULEPRUNE_CUDA_BSR", "sparse", 1); }
  ~SparseBlocks() { unsetenv("JOULEPRUNE_CUDA_BSR"); }
};

class EmulatedLinearBsr : public testing::TestWithParam<std::tuple<Case, at::ScalarType>>, SparseBlocks {};

TEST_P(EmulatedLinearBsr, ForwardAndGradientsAreThoseOfTheMaskedDenseLayer) {
  const auto& [k, dtype] = GetParam();
  at::manual_seed(3);
  const auto layer = layer_of(k, dtype);
  const auto before = emulated::runs();
  auto input = at::randn({2, k.n, k.cols}).to(dtype).requires_grad_(), blocks = layer.blocks.detach().requires_grad_(),
       bias = at::randn({k.rows}).to(dtype).requires_grad_();
  const auto seed = at::randn({2, k.n, k.rows}).to(dtype);
  const auto output = forward(layer, input, blocks, bias, "gelu");
  const auto grads = torch::autograd::grad({output}, {input, blocks, bias}, {seed});
  EXPECT_EQ(emulated::runs(), before + 3);

  auto dense_input = input.detach().to(at::kDouble).requires_grad_(), dense = layer.dense.detach().requires_grad_(),
       dense_bias = bias.detach().to(at::kDouble).requires_grad_();
  const auto expected = at::gelu(at::linear(dense_input, dense, dense_bias));
  const auto expected_grads =
      torch::autograd::grad({expected}, {dense_input, dense, dense_bias}, {seed.to(at::kDouble)});
  const double allowed = rounding(dtype);
  EXPECT_TRUE(at::allclose(output.to(at::kDouble), expected, allowed, allowed));
  EXPECT_TRUE(at::allclose(grads[0].to(at::kDouble), expected_grads[0], allowed, allowed));
  const auto spread =
      unpack_bsr(grads[1], layer.block_columns, layer.block_row_offsets, k.rows, k.cols).to(at::kDouble);
  const auto ones = at::ones_like(layer.blocks);
  const auto kept = unpack_bsr(ones, layer.block_columns, layer.block_row_offsets, k.rows, k.cols).to(at::kDouble);
  EXPECT_TRUE(at::allclose(spread, expected_grads[1] * kept, allowed, 4 * allowed));
  EXPECT_TRUE(at::allclose(grads[2].to(at::kDouble), expected_grads[2], allowed, 4 * allowed));
}

INSTANTIATE_TEST_SUITE_P(Layouts, EmulatedLinearBsr,
                         testing::Combine(testing::Values(Case{33, 50, 16, 1, 5}, Case{64, 40, 32, 1, 20},
                                                          Case{40, 70, 16, 16, 33}, Case{64, 130, 64, 64, 3},
                                                          Case{9, 11, 4, 4, 2}, Case{5, 7, 1, 4, 1}),
                                          testing::Values(at::kHalf, at::kBFloat16, at::kFloat, at::kDouble)),
                         [](const auto& tested) {
                           const auto& k = std::get<0>(tested.param);
                           return std::to_string(k.r) + "x" + std::to_string(k.c) + "_" +
                                  at::toString(std::get<1>(tested.param));
                         });

// Derivatives against central differences in float64, as torch.autograd.gradcheck compares them.
TEST(LinearBsrEmulated, GradientsAreDifferences) {
  const SparseBlocks sparse;
  at::manual_seed(4);
  for (const auto& k : {Case{17, 20, 16, 1, 3}, Case{10, 9, 4, 3, 2}}) {
    const auto layer = layer_of(k, at::kDouble);
    auto input = at::randn({k.n, k.cols}, at::kDouble).requires_grad_(),
         blocks = layer.blocks.detach().clone().requires_grad_();
    const auto seed = at::randn({k.n, k.rows}, at::kDouble);
    const auto loss = [&](const Tensor& x, const Tensor& b) {
      return (forward(layer, x, b, std::nullopt, "silu") * seed).sum();
    };
    const auto grads = torch::autograd::grad({loss(input, blocks)}, {input, blocks});
    for (const auto& [variable, grad] : {std::pair{input, grads[0]}, std::pair{blocks, grads[1]}}) {
      const auto flat = grad.reshape(-1);
      for (int64_t i = 0; i < flat.numel(); i += 3) {
        const auto moved = [&](double by) {
          auto copy = variable.detach().clone();
          copy.view(-1)[i] += by;
          return (variable.is_same(input) ? loss(copy, blocks.detach()) : loss(input.detach(), copy)).item<double>();
        };
        EXPECT_NEAR(flat[i].item<double>(), (moved(1e-6) - moved(-1e-6)) / 2e-6, 1e-6) << k << " entry " << i;
      }
    }
  }
}

TEST(LinearBsrEmulated, AutocastRunsInTheLowerPrecision) {
  const auto layer = layer_of({32, 32, 16, 16, 4}, at::kFloat);
  const auto input = at::randn({4, 32});
  at::autocast::set_autocast_enabled(at::kCPU, true);
  const auto output = forward(layer, input, layer.blocks, std::nullopt, "none");
  at::autocast::set_autocast_enabled(at::kCPU, false);
  EXPECT_EQ(output.scalar_type(), at::kBFloat16);
  EXPECT_TRUE(at::allclose(output.to(at::kDouble), at::linear(input.to(at::kDouble), layer.dense), 0.1, 0.1));
}

TEST(EmulatedPackBsr, KeepsWhatTheMaskKeepsAndGivesItBack) {
  for (const auto& k : {Case{0, 5, 4, 4, 0}, Case{5, 0, 16, 1, 0}, Case{33, 50, 16, 1, 0}, Case{10, 11, 4, 3, 0},
                        Case{64, 64, 32, 32, 0}}) {
    const auto layer = layer_of(k, at::kFloat);
    const auto back = unpack_bsr(layer.blocks, layer.block_columns, layer.block_row_offsets, k.rows, k.cols);
    EXPECT_TRUE(at::equal(back.to(at::kDouble), layer.dense)) << k;
  }
  const auto weight = at::tensor({0.0, -0.0, 0.0, 5.0}).view({2, 2});
  const auto [blocks, columns, offsets, key] = pack_bsr(weight, std::nullopt, {1, 1});
  EXPECT_TRUE(at::equal(columns, at::tensor({1}, at::kInt)));
  EXPECT_TRUE(at::equal(offsets, at::tensor({0, 0, 1}, at::kInt)));
}

TEST(LinearBsrEmulated, WhatABadStructureIsToldOf) {
  const auto layer = layer_of({33, 50, 16, 1, 0}, at::kFloat);
  const auto call = [&](int64_t cols, int64_t moved) {
    return linear_bsr(at::randn({2, cols}), layer.blocks, layer.block_columns + moved, layer.block_row_offsets,
                      layer.key, std::nullopt, std::nullopt, 33, 50, "none");
  };
  EXPECT_NO_THROW(call(50, 0));
  EXPECT_THROW(call(49, 0), c10::ValueError);
  EXPECT_THROW(call(50, 50), c10::ValueError);
}

}  // namespace
}  // namespace jouleprune
