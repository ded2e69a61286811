#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>

#include <atomic>
#include <mutex>
#include <set>
#include <thread>

#include "op_testing.h"
#include "ops/parallel.h"

namespace jouleprune::testing {
namespace {

at::Tensor run(const at::Tensor& input, const Packed& w, const std::optional<at::Tensor>& bias, int64_t in_features,
               const char* activation = "none") {
  return linear_csr(input, w.values, w.col_indices, w.row_offsets, w.key, std::nullopt, bias, in_features, activation);
}

TEST(LinearCsrOp, EqualsTorchLinear) {
  for (const auto dtype : {at::kFloat, at::kDouble, at::kBFloat16, at::kHalf}) {
    const double tolerance = dtype == at::kDouble ? 1e-12 : dtype == at::kFloat ? 1e-4 : dtype == at::kHalf ? 2e-2 : 1e-1;
    for (const auto& [rows, cols] : {std::pair{0, 5}, {5, 0}, {1, 1}, {33, 65}, {70, 128}}) {
      const auto weight = sparse_weight({rows, cols}, 0.2, dtype);
      const auto bias = at::randn({rows}, dtype);
      const auto packed = pack(weight);
      const at::Tensor inputs[] = {at::randn({0, cols}, dtype),         at::randn({cols}, dtype),
                                   at::randn({3, cols}, dtype),         at::randn({2, 9, cols}, dtype),
                                   at::randn({cols, 70}, dtype).t(),    at::randn({40, 2 * cols}, dtype).slice(1, 0, cols),
                                   at::randn({4, 3, cols}, dtype).transpose(0, 1), at::randn({1, cols}, dtype).expand({11, cols})};
      for (const auto& input : inputs) {
        const auto exact = at::linear(input.to(at::kDouble), weight.to(at::kDouble), bias.to(at::kDouble));
        EXPECT_LE(difference(run(input, packed, bias, cols), exact), tolerance) << dtype << input.sizes();
        EXPECT_LE(difference(run(input, packed, bias, cols, "relu"), at::relu(exact)), tolerance);
        EXPECT_LE(difference(run(input, packed, std::nullopt, cols, "silu"), at::silu(exact - bias.to(at::kDouble))), tolerance);
        EXPECT_LE(difference(run(input, packed, bias, cols, "gelu"), at::gelu(exact)), tolerance);
      }
    }
  }
}

TEST(LinearCsrOp, GradientsEqualThoseOfTheMaskedDenseWeight) {
  for (const char* activation : {"none", "relu", "gelu"}) {
    for (const auto& size : {Shape{21}, Shape{5, 21}, Shape{2, 17, 21}}) {
      const auto mask = at::rand({13, 21}).lt(0.3);
      const auto weight = (at::randn({13, 21}, at::kDouble) * mask).requires_grad_();
      auto [values, col_indices, row_offsets, key] = pack_csr(weight, mask);
      values.requires_grad_();
      const auto input = at::randn(size, at::kDouble).requires_grad_(), bias = at::randn({13}, at::kDouble).requires_grad_();
      const auto other_input = input.detach().clone().requires_grad_(), other_bias = bias.detach().clone().requires_grad_();
      const auto output = linear_csr(input, values, col_indices, row_offsets, key, std::nullopt, bias, 21, activation);
      auto expected = at::linear(other_input, weight * mask, other_bias);
      expected = std::string(activation) == "relu"   ? at::relu(expected)
                 : std::string(activation) == "gelu" ? at::gelu(expected)
                                                     : expected;
      const auto grad = at::randn_like(expected);
      output.backward(grad);
      expected.backward(grad);
      EXPECT_LE(difference(output, expected), 1e-12);
      EXPECT_LE(difference(input.grad(), other_input.grad()), 1e-12);
      EXPECT_LE(difference(bias.grad(), other_bias.grad()), 1e-12);
      EXPECT_LE(difference(values.grad(), weight.grad().masked_select(mask)), 1e-12);
    }
  }
}

TEST(LinearCsrOp, OnlyWhatNeedsAGradientGetsOne) {
  const auto packed = pack(sparse_weight({4, 6}, 0.5));
  const auto input = at::randn({3, 6}), bias = at::randn({4}).requires_grad_();
  const auto output = run(input, packed, bias, 6);
  output.sum().backward();
  EXPECT_TRUE(bias.grad().defined());
  EXPECT_FALSE(input.grad().defined());
  EXPECT_FALSE(packed.values.grad().defined());
  EXPECT_FALSE(run(input, packed, std::nullopt, 6).requires_grad());
  const at::NoGradGuard no_grad;
  EXPECT_FALSE(run(input, packed, bias, 6).requires_grad());
}

TEST(LinearCsrOp, DoubleBackwardIsRefusedInOneSentence) {
  const auto packed = pack(sparse_weight({4, 6}, 0.9));
  const auto input = at::randn({3, 6}).requires_grad_();
  const auto loss = run(input, packed, std::nullopt, 6).square().sum();
  expect_error<c10::Error>("double backward through layout csr", [&] { loss.backward({}, true, /*create_graph=*/true); });
}

TEST(LinearCsrOp, PrepackedOfPrepackIsTaken) {
  const auto packed = pack(sparse_weight({4, 6}, 0.5));
  const auto prepacked = prepack_csr(packed.values, packed.col_indices, packed.row_offsets, 6);
  const auto input = at::randn({3, 6});
  EXPECT_TRUE(at::equal(run(input, packed, std::nullopt, 6), linear_csr(input, packed.values, packed.col_indices,
                                                                        packed.row_offsets, packed.key, prepacked, {}, 6)));
}

TEST(LinearCsrOp, TwoThreadsAreUsedAndChangeNothing) {
  const int before = at::get_num_threads();
  const auto packed = pack(sparse_weight({500, 400}, 0.2));
  const auto input = at::randn({300, 400});
  at::set_num_threads(1);
  const auto one = run(input, packed, std::nullopt, 400);
  at::set_num_threads(2);
  EXPECT_TRUE(at::equal(run(input, packed, std::nullopt, 400), one));
  std::mutex mutex;
  std::set<std::thread::id> seen;
  ops::torch_threads()(0, 2, 1, [&](int64_t, int64_t) {
    const std::lock_guard lock(mutex);
    seen.insert(std::this_thread::get_id());
  });
  EXPECT_EQ(seen.size(), 2u);
  at::set_num_threads(before);
}

TEST(LinearCsrOp, ManyThreadsShareOneWeight) {
  const auto packed = pack(sparse_weight({120, 90}, 0.2));
  const auto input = at::randn({20, 90});
  const auto expected = run(input, packed, std::nullopt, 90);
  std::atomic<int> wrong = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 16; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 20; ++i) {
        wrong += !at::equal(run(input, packed, std::nullopt, 90), expected);
      }
    });
  }
  for (auto& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(wrong, 0);
}

TEST(LinearCsrOp, NamesWhatIsWrong) {
  const auto p = pack(sparse_weight({4, 6}, 0.5));
  const auto x = at::randn({3, 6}), bias = at::randn({4});
  const auto call = [&](at::Tensor input, at::Tensor values, at::Tensor cols, at::Tensor rows, at::Tensor key,
                        std::optional<at::Tensor> prepacked = {}, std::optional<at::Tensor> b = {}, int64_t in = 6,
                        const char* activation = "none") {
    return [=] { linear_csr(input, values, cols, rows, key, prepacked, b, in, activation); };
  };
  const auto &v = p.values, &c = p.col_indices, &r = p.row_offsets, &k = p.key;
  expect_error<c10::ValueError>("linear_csr: input: expected [..., 6], got [3, 5]", call(at::randn({3, 5}), v, c, r, k));
  expect_error<c10::ValueError>("linear_csr: input: expected [..., 6], got []", call(at::randn({}), v, c, r, k));
  expect_error<c10::TypeError>("linear_csr: input: expected float32", call(x.to(at::kLong), v, c, r, k));
  expect_error<c10::TypeError>("linear_csr: values: expected the dtype of input", call(x, v.to(at::kDouble), c, r, k));
  expect_error<c10::ValueError>("linear_csr: values: expected [nnz", call(x, v.slice(0, 1), c, r, k));
  expect_error<c10::TypeError>("linear_csr: col_indices: expected int32, got Long", call(x, v, c.to(at::kLong), r, k));
  expect_error<c10::TypeError>("linear_csr: row_offsets: expected int32", call(x, v, c, r.to(at::kLong), k));
  expect_error<c10::ValueError>("linear_csr: row_offsets: expected [rows + 1]", call(x, v, c, at::empty({0}, at::kInt), k));
  expect_error<c10::ValueError>("linear_csr: key: expected [2], got [1]", call(x, v, c, r, k.slice(0, 1)));
  expect_error<c10::TypeError>("linear_csr: key: expected int64", call(x, v, c, r, k.to(at::kInt)));
  expect_error<c10::ValueError>("linear_csr: key: expected the key of this structure", call(x, v, c, r, k + 1));
  expect_error<c10::ValueError>("linear_csr: bias: expected [rows = 4], got [3]", call(x, v, c, r, k, {}, bias.slice(0, 1)));
  expect_error<c10::TypeError>("linear_csr: bias: expected the dtype", call(x, v, c, r, k, {}, bias.to(at::kHalf)));
  expect_error<c10::ValueError>("linear_csr: prepacked: expected [0]", call(x, v, c, r, k, at::zeros({2}, at::kInt)));
  expect_error<c10::ValueError>("expected one of none, relu, gelu, silu, got 'tanh'",
                                call(x, v, c, r, k, {}, {}, 6, "tanh"));
  expect_error<c10::ValueError>("linear_csr: last size of input: expected 0 to", call(x, v, c, r, k, {}, {}, -6));
  expect_error<c10::Error>("'SparseCPU' backend", call(x.to_sparse(), v, c, r, k));  // the dispatcher's, which names the op
}

}  // namespace
}  // namespace jouleprune::testing
