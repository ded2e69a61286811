// conv2d_bsr through the dispatcher and autograd, with the CUDA kernels' bodies emulated: against masked dense convolutions.
#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>
#include <gtest/gtest.h>
#include <jouleprune/ops.h>
#include <torch/csrc/autograd/autograd.h>

#include <cstdlib>
#include <tuple>

#include "conv_cases.h"
#include "emulated_backend.h"

namespace jouleprune {
namespace {

using at::Tensor;
using Block = std::pair<int64_t, int64_t>;
using emulated::Conv, emulated::convolutions, emulated::rounding;

/// The weight of a convolution as conv2d_bsr takes it.
Tensor matrix_of(const Tensor& weight, int64_t c) {
  return at::constant_pad_nd(weight.permute({0, 2, 3, 1}), {0, (c - weight.size(1) % c) % c}).flatten(1);
}

struct Layer {
  Conv conv;
  Tensor weight, kept;  // [out, in / groups, kh, kw]: zero, false where no block is kept
  Tensor blocks, block_columns, block_row_offsets, key;

  Layer(const Conv& c, int64_t rows, int64_t columns, at::ScalarType dtype) : conv(c) {
    const std::vector<int64_t> sizes{c.out, c.input[1] / c.groups, c.kernel[0], c.kernel[1]};
    weight = at::randn(sizes).to(dtype);
    const auto dense = matrix_of(weight, columns);
    const auto units = at::rand({(dense.size(0) + rows - 1) / rows, dense.size(1) / columns}) < c.density;
    const auto mask = units.repeat_interleave(rows, 0).slice(0, 0, dense.size(0)).repeat_interleave(columns, 1);
    std::tie(blocks, block_columns, block_row_offsets, key) = pack_bsr(dense, mask, {rows, columns});
    kept = weight_of(mask);
    weight = weight * kept;
  }
  Tensor weight_of(const Tensor& matrix) const {
    return matrix.view({conv.out, conv.kernel[0], conv.kernel[1], -1}).slice(3, 0, conv.input[1] / conv.groups).permute({0, 3, 1, 2});
  }
  Tensor forward(const Tensor& input, const Tensor& values, const std::optional<Tensor>& bias, std::string_view activation,
                 const std::optional<Tensor>& residual = std::nullopt) const {
    return conv2d_bsr(input, values, block_columns, block_row_offsets, key, std::nullopt, bias, conv.out, conv.input[1], conv.kernel,
                      conv.stride, conv.padding, conv.dilation, conv.groups, activation, residual);
  }
};

class EmulatedConv2dBsr : public testing::TestWithParam<std::tuple<Block, at::ScalarType>> {
 protected:
  void SetUp() override { setenv("JOULEPRUNE_CUDA_BSR", "sparse", 1); }
  void TearDown() override { unsetenv("JOULEPRUNE_CUDA_BSR"); }
};

TEST_P(EmulatedConv2dBsr, ForwardAndGradientsAreThoseOfTheMaskedDenseConvolution) {
  const auto [block, dtype] = GetParam();
  const auto [rows, columns] = block;
  at::manual_seed(7);
  auto all = convolutions();
  all.push_back({{1, 2 * columns + 1, 6, 8}, 2 * rows, {2, 3}, {1, 1}, {1, 1}, {1, 1}, 1, 0.5});
  all.push_back({{2, 2 * (columns + 1), 5, 9}, 2 * rows, {3, 1}, {2, 1}, {0, 1}, {1, 2}, 2, 0.5});
  for (const auto& c : all) {
    const Layer layer(c, rows, columns, dtype);
    const bool straddles = c.groups > 1 && c.out / c.groups % rows != 0;  // dense then
    const auto before = emulated::runs();
    const auto input = at::randn(c.input).to(dtype).requires_grad_(), values = layer.blocks.detach().requires_grad_(),
               bias = at::randn({c.out}).to(dtype).requires_grad_();
    const auto output = layer.forward(input, values, bias, "silu");
    const auto seed = at::randn(output.sizes()).to(dtype);
    const auto grads = torch::autograd::grad({output}, {input, values, bias}, {seed});
    EXPECT_EQ(emulated::runs(), before + (straddles ? 0 : 3));
    const auto wide_input = input.detach().to(at::kDouble).requires_grad_(),
               wide = layer.weight.detach().to(at::kDouble).requires_grad_(),
               wide_bias = bias.detach().to(at::kDouble).requires_grad_();
    const auto expected = at::silu(at::conv2d(wide_input, wide, wide_bias, c.stride, c.padding, c.dilation, c.groups));
    const auto expected_grads = torch::autograd::grad({expected}, {wide_input, wide, wide_bias}, {seed.to(at::kDouble)});
    const double allowed = rounding(dtype);
    ASSERT_EQ(output.sizes(), expected.sizes());
    EXPECT_TRUE(output.is_contiguous());
    EXPECT_TRUE(at::allclose(output.to(at::kDouble), expected, allowed, allowed)) << c.input;
    EXPECT_TRUE(at::allclose(grads[0].to(at::kDouble), expected_grads[0], allowed, 4 * allowed)) << c.input;
    const auto matrix = unpack_bsr(grads[1], layer.block_columns, layer.block_row_offsets, c.out, matrix_of(layer.weight, columns).size(1));
    EXPECT_TRUE(at::allclose(layer.weight_of(matrix).to(at::kDouble), expected_grads[1] * layer.kept, allowed, 8 * allowed)) << c.input;
    EXPECT_EQ((grads[1] != 0).sum().item<int64_t>(), (layer.weight_of(matrix) != 0).sum().item<int64_t>()) << "padding has a gradient";
    EXPECT_TRUE(at::allclose(grads[2].to(at::kDouble), expected_grads[2], allowed, 8 * allowed)) << c.input;
  }
}

TEST_P(EmulatedConv2dBsr, ResidualAndStridedImagesAreRead) {
  const auto [block, dtype] = GetParam();
  at::manual_seed(8);
  const Layer layer({{2, 4, 6, 5}, 6, {3, 3}, {1, 1}, {1, 1}, {1, 1}, 1, 0.6}, block.first, block.second, dtype);
  const auto input = at::randn({2, 4, 6, 5}).to(dtype).contiguous(at::MemoryFormat::ChannelsLast),
             residual = at::randn({2, 6, 6, 5}).to(dtype).contiguous(at::MemoryFormat::ChannelsLast);
  const auto output = layer.forward(input, layer.blocks, std::nullopt, "relu", residual);
  const auto expected = at::relu(at::conv2d(input.to(at::kDouble), layer.weight.to(at::kDouble), {}, 1, 1) + residual.to(at::kDouble));
  EXPECT_TRUE(at::allclose(output.to(at::kDouble), expected, rounding(dtype), rounding(dtype)));
}

INSTANTIATE_TEST_SUITE_P(Blocks, EmulatedConv2dBsr,
                         testing::Combine(testing::Values(Block(16, 1), Block(16, 16), Block(4, 3)),
                                          testing::Values(at::kHalf, at::kBFloat16, at::kFloat, at::kDouble)),
                         [](const auto& tested) {
                           const auto block = std::get<0>(tested.param);
                           return std::to_string(block.first) + "x" + std::to_string(block.second) + "_" +
                                  at::toString(std::get<1>(tested.param));
                         });

// Derivatives by differences of the emulated ops themselves, in double: gradcheck's way.
TEST(Conv2dBsrEmulated, GradientsAreThoseOfDifferences) {
  setenv("JOULEPRUNE_CUDA_BSR", "sparse", 1);
  at::manual_seed(9);
  const Layer layer({{1, 3, 4, 3}, 4, {2, 2}, {2, 1}, {1, 1}, {1, 1}, 1, 0.6}, 4, 2, at::kDouble);
  const auto input = at::randn({1, 3, 4, 3}, at::kDouble), bias = at::randn({4}, at::kDouble);
  const auto seed = at::randn_like(layer.forward(input, layer.blocks, bias, "none"));
  const auto value = [&](const Tensor& x, const Tensor& v, const Tensor& b) {
    return (layer.forward(x, v, b, "gelu") * seed).sum().item<double>();
  };
  const std::vector<Tensor> at_point{input, layer.blocks, bias};
  std::vector<Tensor> leaves;
  for (const auto& t : at_point) leaves.push_back(t.detach().clone().requires_grad_());
  const auto grads = torch::autograd::grad({(layer.forward(leaves[0], leaves[1], leaves[2], "gelu") * seed).sum()}, leaves);
  for (size_t k = 0; k < at_point.size(); ++k) {
    for (int64_t i = 0; i < at_point[k].numel(); i += 3) {
      const auto moved = [&](double by) {
        auto point = at_point;
        point[k] = point[k].clone();
        point[k].view(-1)[i] += by;
        return value(point[0], point[1], point[2]);
      };
      // A padded channel's weight does not count: its difference and its gradient are both zero.
      EXPECT_NEAR(grads[k].reshape(-1)[i].item<double>(), (moved(1e-6) - moved(-1e-6)) / 2e-6, 1e-6) << k << " entry " << i;
    }
  }
  unsetenv("JOULEPRUNE_CUDA_BSR");
}

TEST(Conv2dBsrEmulated, RunsDenseWhereThatIsPredictedToWin) {
  const Layer layer({{1, 4, 6, 6}, 16, {3, 3}, {1, 1}, {1, 1}, {1, 1}, 1, 1.0}, 16, 1, at::kFloat);
  const auto input = at::randn({1, 4, 6, 6});
  const auto before = emulated::runs();
  const auto output = layer.forward(input, layer.blocks, std::nullopt, "none");
  EXPECT_EQ(emulated::runs(), before);
  EXPECT_TRUE(at::allclose(output, at::conv2d(input, layer.weight, {}, 1, 1), 1e-4, 1e-5));
}

TEST(Conv2dBsrEmulated, AutocastRunsInTheLowerPrecision) {
  const Layer layer({{1, 4, 6, 6}, 16, {3, 3}, {1, 1}, {1, 1}, {1, 1}, 1, 0.5}, 16, 1, at::kFloat);
  const auto input = at::randn({1, 4, 6, 6});
  at::autocast::set_autocast_enabled(at::kCPU, true);
  const auto output = layer.forward(input, layer.blocks, std::nullopt, "none");
  at::autocast::set_autocast_enabled(at::kCPU, false);
  EXPECT_EQ(output.scalar_type(), at::kBFloat16);
  EXPECT_TRUE(at::allclose(output.to(at::kFloat), at::conv2d(input, layer.weight, {}, 1, 1), 0.1, 0.1));
}

}  // namespace
}  // namespace jouleprune
