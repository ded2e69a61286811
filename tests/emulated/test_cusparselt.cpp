// linear_nm by cuSPARSELt: torch's ops for it, which exist for CUDA alone, are played by a dense product on the CPU.
#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <jouleprune/ops_nm.h>
#include <torch/library.h>

#include <cstdlib>
#include <string>

#include "emulated_backend.h"

namespace jouleprune {
namespace {

int compressed = 0, multiplied = 0;
bool refuses = false;

at::Tensor fake_compress(const at::Tensor& weight) {
  ++compressed;
  TORCH_CHECK(weight.dim() == 2 && weight.is_contiguous() && weight.size(0) % 32 == 0 && weight.size(1) % 32 == 0);
  TORCH_CHECK(weight.ne(0).view({-1, 4}).sum(1).le(2).all().item<bool>(), "expected a 2:4 weight");
  return weight.clone();
}

at::Tensor fake_multiply(const at::Tensor& weight, const at::Tensor& dense, const std::optional<at::Tensor>& bias, const std::optional<at::Tensor>&,
                         std::optional<at::ScalarType>, bool transposed, int64_t, int64_t, int64_t) {
  ++multiplied;
  TORCH_CHECK(!refuses, "cuSPARSELt not supported on your machine.");
  TORCH_CHECK(transposed && dense.size(0) == weight.size(1) && dense.size(1) % 16 == 0 && dense.t().is_contiguous());
  auto product = weight.to(at::kDouble).matmul(dense.to(at::kDouble));
  if (bias.has_value()) product += bias->to(at::kDouble).unsqueeze(1);
  return product.to(weight.scalar_type()).t().contiguous();
}

struct Layer {
  at::Tensor dense, values, indices, key;
};
Layer layer_of(int64_t rows, int64_t cols, at::ScalarType dtype) {
  const auto groups = at::rand({rows, cols / 4, 4});
  const auto mask = (groups.argsort(false, -1, false).argsort(false, -1, false) < 2).view({rows, cols});
  const auto dense = (at::randn({rows, cols}) * mask).to(dtype);
  const auto [values, indices, key] = pack_nm(dense, mask, 2, 4);
  return {dense, values, indices, key};
}

at::Tensor forward(const Layer& l, const at::Tensor& input, const at::Tensor& bias) {
  return linear_nm(input, l.values, l.indices, l.key, std::nullopt, bias, l.dense.size(1), 2, 4, "relu");
}

// In one test: what the library refused is remembered for the rest of the process.
TEST(EmulatedCusparselt, ServesWhereItFitsUntilItRefuses) {
  at::manual_seed(1);
  torch::Library registration(torch::Library::IMPL, "aten", c10::make_optional(c10::DispatchKey::CPU), __FILE__, __LINE__);
  registration.impl("_cslt_compress", fake_compress);
  registration.impl("_cslt_sparse_mm", fake_multiply);
  setenv("JOULEPRUNE_CUDA_NM", "cusparselt", 1);
  for (const auto dtype : {at::kHalf, at::kBFloat16}) {
    const auto layer = layer_of(64, 32, dtype);
    const auto input = at::randn({70, 32}).to(dtype), bias = at::randn({64}).to(dtype);
    const auto expected = at::linear(input.to(at::kDouble), layer.dense.to(at::kDouble), bias.to(at::kDouble)).relu();
    const int before = compressed;
    for (int call = 0; call < 2; ++call) {
      EXPECT_TRUE(at::allclose(forward(layer, input, bias).to(at::kDouble), expected, 5e-2, 5e-2)) << dtype;
    }
    EXPECT_EQ(compressed, before + 1);  // kept
  }
  EXPECT_EQ(multiplied, 4);
  const auto input = at::randn({70, 40}).to(at::kHalf);
  forward(layer_of(64, 40, at::kHalf), input, at::zeros({64}, at::kHalf));  // 40 is no multiple of 32
  unsetenv("JOULEPRUNE_CUDA_NM");
  const auto layer = layer_of(64, 64, at::kHalf);
  const auto small = at::randn({70, 64}).to(at::kHalf), bias = at::randn({64}).to(at::kHalf);
  forward(layer, small, bias);  // too small to gain
  EXPECT_EQ(multiplied, 4);
  setenv("JOULEPRUNE_CUDA_NM", "cusparselt", 1);
  refuses = true;
  const auto expected = at::linear(small.to(at::kDouble), layer.dense.to(at::kDouble), bias.to(at::kDouble)).relu();
  for (int call = 0; call < 2; ++call) {
    EXPECT_TRUE(at::allclose(forward(layer, small, bias).to(at::kDouble), expected, 5e-2, 5e-2));
  }
  EXPECT_EQ(multiplied, 5);
  setenv("JOULEPRUNE_CUDA_NM", "quickly", 1);
  EXPECT_THROW(forward(layer, small, bias), c10::ValueError);
  unsetenv("JOULEPRUNE_CUDA_NM");
}

}  // namespace
}  // namespace jouleprune
