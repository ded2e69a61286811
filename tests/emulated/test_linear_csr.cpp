// linear_csr through the dispatcher and autograd, with the CUDA kernels' bodies emulated, each kernel in turn: against
// masked dense layers.
#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <jouleprune/ops.h>
#include <torch/csrc/autograd/autograd.h>

#include <cstdlib>
#include <tuple>

#include "emulated_backend.h"

namespace jouleprune {
namespace {

using at::Tensor;

struct Layer {
  Tensor mask, dense;  // dense: masked, float64
  Tensor values, col_indices, row_offsets, key;
};

Layer layer_of(int64_t rows, int64_t cols, double density, at::ScalarType dtype) {
  Layer layer;
  layer.mask = at::rand({rows, cols}) < density;
  const auto weight = at::randn({rows, cols}).to(dtype);
  std::tie(layer.values, layer.col_indices, layer.row_offsets, layer.key) = pack_csr(weight, layer.mask);
  layer.dense = at::where(layer.mask, weight, at::zeros({}, weight.options())).to(at::kDouble);
  return layer;
}

Tensor forward(const Layer& l, const Tensor& input, const Tensor& values, const std::optional<Tensor>& bias,
               std::string_view activation, const std::optional<Tensor>& residual = std::nullopt) {
  return linear_csr(input, values, l.col_indices, l.row_offsets, l.key, std::nullopt, bias, l.dense.size(1), activation,
                    residual);
}

double rounding(at::ScalarType dtype) {
  return dtype == at::kDouble ? 1e-12 : dtype == at::kFloat ? 2e-5 : dtype == at::kHalf ? 2e-2 : 1.6e-1;
}

class EmulatedLinearCsr : public testing::TestWithParam<std::tuple<const char*, at::ScalarType>> {
 protected:
  void SetUp() override { setenv("JOULEPRUNE_CUDA_CSR", std::get<0>(GetParam()), 1); }
  void TearDown() override { unsetenv("JOULEPRUNE_CUDA_CSR"); }
};

TEST_P(EmulatedLinearCsr, ForwardAndGradientsAreThoseOfTheMaskedDenseLayer) {
  const auto dtype = std::get<1>(GetParam());
  at::manual_seed(5);
  for (const auto& [rows, cols, n] : {std::tuple<int64_t, int64_t, int64_t>{33, 70, 3},
                                      {16, 300, 40},
                                      {1, 1, 1},
                                      {9, 0, 2},
                                      {0, 9, 2},
                                      {70, 20, 17}}) {
    const auto layer = layer_of(rows, cols, 0.3, dtype);
    const auto before = emulated::runs();
    auto input = at::randn({n, cols}).to(dtype).requires_grad_(), values = layer.values.detach().requires_grad_(),
         bias = at::randn({rows}).to(dtype).requires_grad_();
    const auto seed = at::randn({n, rows}).to(dtype);
    const auto output = forward(layer, input, values, bias, "silu");
    const auto grads = torch::autograd::grad({output}, {input, values, bias}, {seed});
    EXPECT_GT(emulated::runs(), before);
    auto dense_input = input.detach().to(at::kDouble).requires_grad_(), dense = layer.dense.detach().requires_grad_(),
         dense_bias = bias.detach().to(at::kDouble).requires_grad_();
    const auto expected = at::silu(at::linear(dense_input, dense, dense_bias));
    const auto expected_grads =
        torch::autograd::grad({expected}, {dense_input, dense, dense_bias}, {seed.to(at::kDouble)});
    const double allowed = rounding(dtype);
    EXPECT_TRUE(at::allclose(output.to(at::kDouble), expected, allowed, allowed));
    EXPECT_TRUE(at::allclose(grads[0].to(at::kDouble), expected_grads[0], allowed, allowed));
    EXPECT_TRUE(
        at::allclose(grads[1].to(at::kDouble), expected_grads[1].masked_select(layer.mask), allowed, 4 * allowed));
    EXPECT_TRUE(at::allclose(grads[2].to(at::kDouble), expected_grads[2], allowed, 4 * allowed));
  }
}

TEST_P(EmulatedLinearCsr, ResidualIsAddedBeforeTheActivation) {
  const auto dtype = std::get<1>(GetParam());
  at::manual_seed(6);
  const auto layer = layer_of(24, 40, 0.4, dtype);
  const auto input = at::randn({5, 40}).to(dtype), residual = at::randn({5, 24}).to(dtype);
  const auto output = forward(layer, input, layer.values, std::nullopt, "relu", residual);
  const auto expected = at::relu(at::linear(input.to(at::kDouble), layer.dense) + residual.to(at::kDouble));
  EXPECT_TRUE(at::allclose(output.to(at::kDouble), expected, rounding(dtype), rounding(dtype)));
}

TEST_P(EmulatedLinearCsr, ValuesThatChangeInPlaceAreSeen) {
  const auto dtype = std::get<1>(GetParam());
  const auto layer = layer_of(24, 40, 0.4, dtype);
  const auto input = at::randn({5, 40}).to(dtype);
  const auto before = forward(layer, input, layer.values, std::nullopt, "none");
  layer.values.mul_(2);
  const auto after = forward(layer, input, layer.values, std::nullopt, "none");
  EXPECT_TRUE(at::allclose(after, before * 2, rounding(dtype), rounding(dtype)));
  EXPECT_FALSE(at::equal(after, before));
}

INSTANTIATE_TEST_SUITE_P(Kernels, EmulatedLinearCsr,
                         testing::Combine(testing::Values("by-entries", "by-tokens", "tiles", "dense"),
                                          testing::Values(at::kHalf, at::kBFloat16, at::kFloat, at::kDouble)),
                         [](const auto& tested) {
                           std::string name =
                               std::string(std::get<0>(tested.param)) + "_" + at::toString(std::get<1>(tested.param));
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST(LinearCsrEmulated, WordsThatNameNoKernelAreRefused) {
  const auto layer = layer_of(4, 4, 0.5, at::kFloat);
  setenv("JOULEPRUNE_CUDA_CSR", "fastest", 1);
  EXPECT_THROW(forward(layer, at::randn({1, 4}), layer.values, std::nullopt, "none"), c10::ValueError);
  unsetenv("JOULEPRUNE_CUDA_CSR");
}

}  // namespace
}  // namespace jouleprune
