// Ops t_test, f_test and benjamini_hochberg: sums over measurements -> statistics and p-values. Adapters over select/significance.
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros_like.h>
#include <torch/library.h>

#include <limits>
#include <stdexcept>
#include <tuple>

#include "ops/criteria_signatures.h"
#include "ops/signatures.h"
#include "select/significance.h"

namespace jouleprune::ops {
namespace {

void check_sums(const char* op, const Tensor& sums, const Tensor& square_sums, int64_t n) {
  for (const auto& [name, tensor] : {std::pair{"sums", sums}, std::pair{"square_sums", square_sums}}) {
    TORCH_CHECK_VALUE(tensor.layout() == at::kStrided, op, ": ", name, ": expected a dense (strided) tensor");
    TORCH_CHECK_TYPE(tensor.scalar_type() == at::kDouble, op, ": ", name, ": expected float64, got ", tensor.scalar_type());
    TORCH_CHECK_VALUE(at::isfinite(tensor).all().item<bool>(), op, ": ", name, ": expected finite numbers, got NaN or inf");
  }
  TORCH_CHECK_VALUE(square_sums.sizes() == sums.sizes(), op, ": square_sums: expected the shape of sums, ", sums.sizes(),
                    ", got ", square_sums.sizes());
  TORCH_CHECK_VALUE(square_sums.device() == sums.device(), op, ": square_sums: expected the device of sums, ", sums.device(),
                    ", got ", square_sums.device());
  TORCH_CHECK_VALUE(n >= 2, op, ": n: expected at least 2 measurements, got ", n);
}

/// Sum of squared deviations from each unit's mean; rounding may leave a hair below 0, which is 0.
Tensor deviations(const Tensor& sums, const Tensor& square_sums, int64_t n) {
  const auto rest = square_sums - sums.square() / static_cast<double>(n);
  return at::where(rest.lt(square_sums * (4 * std::numeric_limits<double>::epsilon())), at::zeros_like(rest), rest);
}

template <class Of>
Tensor each(const Tensor& statistic, const Of& p_of) {
  const Tensor from = statistic.cpu().contiguous(), p = at::empty_like(from);
  const double* in = from.const_data_ptr<double>();
  double* out = p.mutable_data_ptr<double>();
  for (int64_t i = 0; i < from.numel(); ++i) out[i] = p_of(in[i]);
  return p.to(statistic.device());
}

std::tuple<Tensor, Tensor> t_test(const Tensor& sums, const Tensor& square_sums, int64_t n) {
  const at::NoGradGuard no_grad;
  check_sums("t_test", sums, square_sums, n);
  const auto count = static_cast<double>(n);
  const auto mean = sums.abs() / count;
  const auto error = (deviations(sums, square_sums, n) / (count - 1) / count).sqrt();
  const auto t = at::where(mean.eq(0), at::zeros_like(mean), mean / error);  // no deviation at all: infinite
  return {t, each(t, [&](double value) { return select::t_test_p(value, count - 1); })};
}

std::tuple<Tensor, Tensor> f_test(const Tensor& sums, const Tensor& square_sums, int64_t n) {
  const at::NoGradGuard no_grad;
  check_sums("f_test", sums, square_sums, n);
  const int64_t units = sums.numel();
  TORCH_CHECK_VALUE(units >= 2, "f_test: sums: expected at least 2 units to compare, got ", units);
  const auto count = static_cast<double>(n);
  const double df_between = static_cast<double>(units - 1), df_within = static_cast<double>(units) * (count - 1);
  const auto means = sums / count;
  const auto between = (means - means.mean()).square().sum() * count / df_between;
  const auto within = deviations(sums, square_sums, n).sum() / df_within;
  const auto f = at::where(between.eq(0), at::zeros_like(between), between / within);
  return {f, each(f, [&](double value) { return select::f_test_p(value, df_between, df_within); })};
}

Tensor benjamini_hochberg(const Tensor& p, double alpha) {
  constexpr const char* kOp = "benjamini_hochberg";
  TORCH_CHECK_VALUE(p.layout() == at::kStrided, kOp, ": p: expected a dense (strided) tensor");
  TORCH_CHECK_TYPE(p.scalar_type() == at::kDouble, kOp, ": p: expected float64, got ", p.scalar_type());
  const Tensor from = p.detach().cpu().contiguous(), out = at::empty_like(from, at::TensorOptions().dtype(at::kBool));
  try {
    select::benjamini_hochberg({from.const_data_ptr<double>(), static_cast<size_t>(from.numel())}, alpha,
                               out.mutable_data_ptr<bool>());
  } catch (const std::invalid_argument& error) {
    TORCH_CHECK_VALUE(false, kOp, ": ", error.what());
  }
  return out.to(p.device());
}

}  // namespace
}  // namespace jouleprune::ops

TORCH_LIBRARY_IMPL(jouleprune, CompositeExplicitAutograd, m) {
  m.impl("t_test", TORCH_FN(jouleprune::ops::t_test));
  m.impl("f_test", TORCH_FN(jouleprune::ops::f_test));
  m.impl("benjamini_hochberg", TORCH_FN(jouleprune::ops::benjamini_hochberg));
}

TORCH_LIBRARY_IMPL(jouleprune, Autograd, m) {
  for (const char* op : {"t_test", "f_test", "benjamini_hochberg"}) m.impl(op, torch::CppFunction::makeFallthrough());
}
