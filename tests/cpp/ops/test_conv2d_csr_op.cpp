#include "op_testing.h"

namespace jouleprune::testing {
namespace {

struct Case {
  std::array<int64_t, 2> kernel, stride, padding, dilation;
  int64_t groups;
};

std::vector<Case> cases() {
  std::vector<Case> out;
  for (const std::array<int64_t, 2> kernel : {std::array<int64_t, 2>{1, 1}, {3, 3}, {2, 5}}) {
    for (const std::array<int64_t, 2> stride : {std::array<int64_t, 2>{1, 1}, {2, 3}}) {
      for (const std::array<int64_t, 2> padding : {std::array<int64_t, 2>{0, 0}, {1, 2}}) {
        for (const std::array<int64_t, 2> dilation : {std::array<int64_t, 2>{1, 1}, {2, 1}}) {
          for (const int64_t groups : {1, 2, 4}) {
            out.push_back({kernel, stride, padding, dilation, groups});
          }
        }
      }
    }
  }
  return out;
}

at::Tensor run(const at::Tensor& input, const Packed& w, const std::optional<at::Tensor>& bias, int64_t channels, const Case& c,
               const char* activation = "none") {
  return conv2d_csr(input, w.values, w.col_indices, w.row_offsets, w.key, std::nullopt, bias, channels, c.kernel, c.stride,
                    c.padding, c.dilation, c.groups, activation);
}

TEST(Conv2dCsrOp, EqualsTorchConv2dWithItsGradients) {
  for (const auto& c : cases()) {
    for (const int64_t batch : {0, 1, 3}) {
      for (const bool channels_last : {false, true}) {
        const auto mask = at::rand({8, 4 / c.groups, c.kernel[0], c.kernel[1]}).lt(0.4);
        const auto weight = (at::randn(mask.sizes(), at::kDouble) * mask).requires_grad_();
        auto [values, col_indices, row_offsets, key] = pack_csr(weight, mask);
        const Packed packed{values.requires_grad_(), col_indices, row_offsets, key};
        const auto format = channels_last ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::Contiguous;
        const auto input = at::randn({batch, 4, 7, 9}, at::kDouble).contiguous(format).requires_grad_();
        const auto bias = at::randn({8}, at::kDouble).requires_grad_();
        const auto other_input = input.detach().clone().requires_grad_(), other_bias = bias.detach().clone().requires_grad_();
        const auto output = run(input, packed, bias, 4, c, "relu");
        const auto expected =
            at::relu(at::conv2d(other_input, weight * mask, other_bias, c.stride, c.padding, c.dilation, c.groups));
        ASSERT_LE(difference(output, expected), 1e-11);
        EXPECT_TRUE(batch == 0 || output.is_contiguous(format));  // torch sees no channels_last in an empty tensor
        const auto grad = at::randn_like(expected);
        output.backward(grad);
        expected.backward(grad);
        ASSERT_LE(difference(input.grad(), other_input.grad()), 1e-11);
        ASSERT_LE(difference(bias.grad(), other_bias.grad()), 1e-11);
        ASSERT_LE(difference(values.grad(), weight.grad().masked_select(mask)), 1e-11);
      }
    }
  }
}

TEST(Conv2dCsrOp, SixteenBitTypes) {
  const Case c{{3, 3}, {1, 1}, {1, 1}, {1, 1}, 1};
  for (const auto dtype : {at::kBFloat16, at::kHalf}) {
    const auto weight = sparse_weight({16, 8, 3, 3}, 0.3, dtype);
    const auto input = at::randn({2, 8, 10, 11}, dtype);
    const auto exact = at::conv2d(input.to(at::kDouble), weight.to(at::kDouble), {}, 1, 1);
    EXPECT_LE(difference(run(input, pack(weight), std::nullopt, 8, c), exact), dtype == at::kHalf ? 2e-2 : 1e-1);
  }
}

TEST(Conv2dCsrOp, NamesWhatIsWrong) {
  const auto p = pack(sparse_weight({6, 4, 3, 3}, 0.5));
  const auto x = at::randn({2, 4, 7, 7});
  const Case good{{3, 3}, {1, 1}, {0, 0}, {1, 1}, 1};
  const auto expect = [&](const std::string& part, const at::Tensor& input, int64_t channels, auto change) {
    Case c = good;
    change(c);
    expect_error<c10::ValueError>(part, [&] { run(input, p, std::nullopt, channels, c); });
  };
  const auto same = [](Case&) {};
  constexpr int64_t kHuge = int64_t{1} << 62;
  expect("conv2d_csr: input: expected [n, in_channels = 4, h, w], got [4, 7, 7]", x[0], 4, same);
  expect("conv2d_csr: input: expected [n, in_channels = 5, h, w]", x, 5, same);
  expect("conv2d_csr: stride: expected two numbers", x, 4, [](Case& c) { c.stride = {0, 1}; });
  expect("conv2d_csr: stride: expected two numbers", x, 4, [](Case& c) { c.stride = {kHuge, 1}; });
  expect("conv2d_csr: padding: expected two numbers", x, 4, [](Case& c) { c.padding = {-1, 0}; });
  expect("conv2d_csr: padding: expected two numbers", x, 4, [](Case& c) { c.padding = {kHuge, 0}; });
  expect("conv2d_csr: dilation: expected two numbers", x, 4, [](Case& c) { c.dilation = {1, 0}; });
  expect("conv2d_csr: kernel_size: expected two numbers", x, 4, [](Case& c) { c.kernel = {kHuge, 3}; });
  expect("conv2d_csr: groups: expected a positive divisor of in_channels = 4, got 0", x, 4, [](Case& c) { c.groups = 0; });
  expect("conv2d_csr: input: expected at least the size of the kernel", at::randn({2, 4, 2, 7}), 4, same);
  // A kernel of another size does not fit the columns of the weight: the structure has another key.
  expect("conv2d_csr: ", x, 4, [](Case& c) { c.kernel = {1, 1}; });
}

}  // namespace
}  // namespace jouleprune::testing
