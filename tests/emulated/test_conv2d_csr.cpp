// conv2d_csr through the dispatcher and autograd, with the CUDA kernels' bodies emulated: against masked dense convolutions.
#include <ATen/ATen.h>
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

using emulated::convolutions, emulated::rounding;

class EmulatedConv2dCsr : public testing::TestWithParam<at::ScalarType> {
 protected:
  void SetUp() override { setenv("JOULEPRUNE_CUDA_CSR", "by-tokens", 1); }
  void TearDown() override { unsetenv("JOULEPRUNE_CUDA_CSR"); }
};

TEST_P(EmulatedConv2dCsr, ForwardAndGradientsAreThoseOfTheMaskedDenseConvolution) {
  const auto dtype = GetParam();
  at::manual_seed(7);
  for (const auto& c : convolutions()) {
    const std::vector<int64_t> sizes{c.out, c.input[1] / c.groups, c.kernel[0], c.kernel[1]};
    const auto mask = at::rand(sizes) < c.density;
    const auto weight = at::randn(sizes).to(dtype) * mask;
    const auto [values, col_indices, row_offsets, key] = pack_csr(weight.view({c.out, -1}), mask.view({c.out, -1}));
    const auto before = emulated::runs();
    const auto input = at::randn(c.input).to(dtype).requires_grad_(), kept = values.detach().requires_grad_(),
               bias = at::randn({c.out}).to(dtype).requires_grad_();
    const auto output = conv2d_csr(input, kept, col_indices, row_offsets, key, std::nullopt, bias, c.input[1], c.kernel, c.stride,
                                   c.padding, c.dilation, c.groups, "silu");
    const auto seed = at::randn(output.sizes()).to(dtype);
    const auto grads = torch::autograd::grad({output}, {input, kept, bias}, {seed});
    EXPECT_GE(emulated::runs(), before + 3);
    const auto wide_input = input.detach().to(at::kDouble).requires_grad_(),
               wide = weight.detach().to(at::kDouble).requires_grad_(), wide_bias = bias.detach().to(at::kDouble).requires_grad_();
    const auto expected = at::silu(at::conv2d(wide_input, wide, wide_bias, c.stride, c.padding, c.dilation, c.groups));
    const auto expected_grads = torch::autograd::grad({expected}, {wide_input, wide, wide_bias}, {seed.to(at::kDouble)});
    const double allowed = rounding(dtype);
    ASSERT_EQ(output.sizes(), expected.sizes());
    EXPECT_TRUE(at::allclose(output.to(at::kDouble), expected, allowed, allowed)) << c.input;
    EXPECT_TRUE(at::allclose(grads[0].to(at::kDouble), expected_grads[0], allowed, allowed)) << c.input;
    EXPECT_TRUE(at::allclose(grads[1].to(at::kDouble), expected_grads[1].masked_select(mask), allowed, 8 * allowed)) << c.input;
    EXPECT_TRUE(at::allclose(grads[2].to(at::kDouble), expected_grads[2], allowed, 8 * allowed)) << c.input;
  }
}

TEST_P(EmulatedConv2dCsr, ResidualAndStridedImagesAreRead) {
  const auto dtype = GetParam();
  at::manual_seed(8);
  const auto mask = at::rand({6, 4, 3, 3}) < 0.4;
  const auto weight = at::randn({6, 4, 3, 3}).to(dtype) * mask;
  const auto [values, col_indices, row_offsets, key] = pack_csr(weight.view({6, -1}), mask.view({6, -1}));
  const auto input = at::randn({2, 4, 6, 5}).to(dtype).contiguous(at::MemoryFormat::ChannelsLast),
             residual = at::randn({2, 6, 6, 5}).to(dtype).contiguous(at::MemoryFormat::ChannelsLast);
  const auto output = conv2d_csr(input, values, col_indices, row_offsets, key, std::nullopt, std::nullopt, 4, {3, 3}, {1, 1}, {1, 1},
                                 {1, 1}, 1, "relu", residual);
  const auto expected = at::relu(at::conv2d(input.to(at::kDouble), weight.to(at::kDouble), {}, 1, 1) + residual.to(at::kDouble));
  EXPECT_TRUE(at::allclose(output.to(at::kDouble), expected, rounding(dtype), rounding(dtype)));
}

INSTANTIATE_TEST_SUITE_P(Types, EmulatedConv2dCsr, testing::Values(at::kHalf, at::kBFloat16, at::kFloat, at::kDouble),
                         [](const auto& tested) { return std::string(at::toString(tested.param)); });

TEST(Conv2dCsrEmulated, TheDenseWeightIsKeptUntilValuesChange) {
  const auto weight = at::randn({4, 4, 3, 3});
  auto [values, col_indices, row_offsets, key] = pack_csr(weight.view({4, -1}), std::nullopt);
  const auto input = at::randn({1, 4, 6, 6});
  setenv("JOULEPRUNE_CUDA_CSR", "dense", 1);
  const auto run = [&] {
    return conv2d_csr(input, values, col_indices, row_offsets, key, std::nullopt, std::nullopt, 4, {3, 3}, {1, 1}, {1, 1}, {1, 1}, 1,
                      "none");
  };
  const auto before = run();
  const auto again = run();
  const_cast<float*>(values.const_data_ptr<float>())[0] += 1;  // behind torch's back: the kept weight is used
  const auto kept = run();
  values.mul_(2);  // seen by its version
  const auto after = run();
  unsetenv("JOULEPRUNE_CUDA_CSR");
  EXPECT_TRUE(at::equal(again, before));
  EXPECT_TRUE(at::equal(kept, before));
  EXPECT_FALSE(at::allclose(after, before * 2));  // with the entry that was added
  EXPECT_TRUE(at::allclose(after, at::conv2d(input, unpack_csr(values, col_indices, row_offsets, 36).view({4, 4, 3, 3}), {}, 1, 1), 1e-4,
                           1e-5));
}

TEST(Conv2dCsrEmulated, RunsDenseWhereThatIsPredictedToWin) {
  const auto mask = at::ones({4, 4, 3, 3}, at::kBool);
  const auto weight = at::randn({4, 4, 3, 3});
  const auto [values, col_indices, row_offsets, key] = pack_csr(weight.view({4, -1}), mask.view({4, -1}));
  const auto input = at::randn({1, 4, 6, 6});
  setenv("JOULEPRUNE_CUDA_CSR", "dense", 1);
  const auto before = emulated::runs();
  const auto output = conv2d_csr(input, values, col_indices, row_offsets, key, std::nullopt, std::nullopt, 4, {3, 3}, {1, 1}, {1, 1},
                                 {1, 1}, 1, "none");
  unsetenv("JOULEPRUNE_CUDA_CSR");
  EXPECT_EQ(emulated::runs(), before);
  EXPECT_TRUE(at::allclose(output, at::conv2d(input, weight, {}, 1, 1), 1e-4, 1e-5));
}

}  // namespace
}  // namespace jouleprune
