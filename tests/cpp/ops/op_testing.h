// What the op tests share.
#pragma once
#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <jouleprune/ops.h>

#include <functional>
#include <string>
#include <vector>

namespace jouleprune::testing {

/// Owns its sizes: an IntArrayRef in a list of cases would outlive them.
using Shape = std::vector<int64_t>;

struct Packed {
  at::Tensor values, col_indices, row_offsets, key;
};

inline Packed pack(const at::Tensor& weight) {
  auto [values, col_indices, row_offsets, key] = pack_csr(weight);
  return {values, col_indices, row_offsets, key};
}

/// Random with about `density` kept; row 0 is empty.
inline at::Tensor sparse_weight(at::IntArrayRef size, double density, at::TensorOptions options = at::kFloat) {
  auto weight = at::randn(size, options) * at::rand(size).lt(density).to(options.dtype());
  if (weight.size(0) > 1) {
    weight.select(0, 0).zero_();
  }
  return weight;
}

/// Largest difference, in double.
inline double difference(const at::Tensor& a, const at::Tensor& b) {
  EXPECT_EQ(a.sizes(), b.sizes());
  return a.numel() == 0 ? 0 : (a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>();
}

/// Expects a c10 error of class E with `part` in its message.
template <class E>
void expect_error(const std::string& part, const std::function<void()>& call) {
  try {
    call();
    ADD_FAILURE() << "expected an error with '" << part << "'";
  } catch (const E& error) {
    EXPECT_NE(std::string(error.what_without_backtrace()).find(part), std::string::npos) << error.what_without_backtrace();
  } catch (const std::exception& error) {
    ADD_FAILURE() << "expected an error with '" << part << "' of another class, got " << error.what();
  }
}

}  // namespace jouleprune::testing
