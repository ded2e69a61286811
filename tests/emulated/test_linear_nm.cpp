// linear_nm through the dispatcher and autograd, with the CUDA kernels' bodies emulated: against masked dense layers.
#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <jouleprune/ops.h>
#include <jouleprune/ops_nm.h>
#include <torch/csrc/autograd/autograd.h>

#include <tuple>

#include "emulated_backend.h"

namespace jouleprune {
namespace {

using at::Tensor;

class EmulatedLinearNm : public testing::TestWithParam<std::tuple<int64_t, at::ScalarType>> {};

TEST_P(EmulatedLinearNm, ForwardAndGradientsAreThoseOfTheMaskedDenseLayer) {
  const auto [m, dtype] = GetParam();
  at::manual_seed(8);
  for (const auto& [rows, cols, batch] :
       {std::tuple<int64_t, int64_t, int64_t>{17, 70, 3}, {32, 129, 20}, {16, 64, 66}, {5, 3, 1}, {40, 130, 50}}) {
    const auto weight = at::randn({rows, cols}).to(dtype);
    const auto scores = at::rand({rows, (cols + m - 1) / m * m}).slice(1, 0, cols);
    const auto mask = mask_n_of_m(scores.contiguous(), 2, m, 1);
    auto [packed, indices, key] = pack_nm(weight, mask, 2, m);
    const auto dense = unpack_nm(packed, indices, cols, 2, m).to(at::kDouble).requires_grad_();
    auto input = at::randn({batch, cols}).to(dtype).requires_grad_(), values = packed.detach().requires_grad_(),
         bias = at::randn({rows}).to(dtype).requires_grad_();
    const auto seed = at::randn({batch, rows}).to(dtype);
    const auto before = emulated::runs();
    const auto output = linear_nm(input, values, indices, key, std::nullopt, bias, cols, 2, m, "gelu");
    const auto grads = torch::autograd::grad({output}, {input, values, bias}, {seed});
    EXPECT_GT(emulated::runs(), before);
    auto dense_input = input.detach().to(at::kDouble).requires_grad_();
    const auto expected = at::gelu(at::linear(dense_input, dense, bias.detach().to(at::kDouble)));
    const auto expected_grads = torch::autograd::grad({expected}, {dense_input, dense}, {seed.to(at::kDouble)});
    const double allowed = dtype == at::kFloat ? 2e-5 : dtype == at::kHalf ? 2e-2 : 1.6e-1;
    EXPECT_TRUE(at::allclose(output.to(at::kDouble), expected, allowed, allowed));
    EXPECT_TRUE(at::allclose(grads[0].to(at::kDouble), expected_grads[0], allowed, allowed));
    const auto spread = unpack_nm(grads[1], indices, cols, 2, m).to(at::kDouble);
    const auto kept = unpack_nm(at::ones_like(packed), indices, cols, 2, m).to(at::kDouble);
    EXPECT_TRUE(at::allclose(spread, expected_grads[1] * kept, allowed, 4 * allowed));
  }
}

TEST_P(EmulatedLinearNm, ValuesThatChangeInPlaceAreSeen) {
  const auto [m, dtype] = GetParam();
  const auto weight = at::randn({24, 40}).to(dtype);
  auto [values, indices, key] = pack_nm(weight, mask_n_of_m(at::rand({24, 40}), 2, m, 1), 2, m);
  const auto input = at::randn({5, 40}).to(dtype);
  const auto before = linear_nm(input, values, indices, key, std::nullopt, std::nullopt, 40, 2, m, "none");
  values.mul_(2);
  const auto after = linear_nm(input, values, indices, key, std::nullopt, std::nullopt, 40, 2, m, "none");
  EXPECT_TRUE(at::equal(after, before * 2));  // twice a number is exact
}

INSTANTIATE_TEST_SUITE_P(Patterns, EmulatedLinearNm,
                         testing::Combine(testing::Values(4, 8), testing::Values(at::kHalf, at::kBFloat16, at::kFloat)),
                         [](const auto& tested) {
                           return "2of" + std::to_string(std::get<0>(tested.param)) + "_" +
                                  at::toString(std::get<1>(tested.param));
                         });

}  // namespace
}  // namespace jouleprune
