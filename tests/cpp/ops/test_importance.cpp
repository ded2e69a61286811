#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "op_testing.h"

namespace jouleprune::testing {
namespace {

/// LAMP by its definition, eq. 2 of the paper: positions in a stable ascending sort, sums from there to the end.
std::vector<double> lamp_by_definition(const std::vector<double>& weight) {
  std::vector<size_t> order(weight.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return weight[a] * weight[a] < weight[b] * weight[b]; });
  std::vector<double> score(weight.size());
  for (size_t p = 0; p < order.size(); ++p) {
    double sum = 0;
    for (size_t q = p; q < order.size(); ++q) {
      sum += weight[order[q]] * weight[order[q]];
    }
    score[order[p]] = sum == 0 ? 0 : weight[order[p]] * weight[order[p]] / sum;
  }
  return score;
}

TEST(Importance, Formulas) {
  const auto weight = at::randn({6, 7}).requires_grad_(), grad = at::randn({6, 7});
  EXPECT_LE(difference(importance(weight, {}, "magnitude"), weight.square()), 1e-6);
  EXPECT_LE(difference(importance(weight, grad, "gradient"), grad.abs()), 0);
  EXPECT_LE(difference(importance(weight, grad, "taylor"), (weight * grad).abs()), 1e-6);
  for (const char* criterion : {"magnitude", "gradient", "taylor", "lamp"}) {
    const auto scores = importance(weight, grad, criterion);
    EXPECT_FALSE(scores.requires_grad());
    EXPECT_EQ(scores.scalar_type(), at::kFloat);
    EXPECT_EQ(scores.sizes(), weight.sizes());
    EXPECT_EQ(importance(at::empty({0, 3}), at::empty({0, 3}), criterion).numel(), 0);
  }
}

TEST(Importance, LampEqualsItsDefinition) {
  for (int round = 0; round < 30; ++round) {
    const auto weight = at::randint(-4, 5, {round}, at::kDouble);  // many ties and zeros
    const auto scores = importance(weight, {}, "lamp");
    const auto expected = lamp_by_definition({weight.const_data_ptr<double>(), weight.const_data_ptr<double>() + round});
    for (int i = 0; i < round; ++i) {
      EXPECT_FLOAT_EQ(scores[i].item<float>(), static_cast<float>(expected[i]));
    }
  }
}

TEST(Importance, OtherDtypesAndExtremes) {
  const auto weight = at::randn({5, 5});
  for (const auto dtype : {at::kDouble, at::kBFloat16, at::kHalf}) {
    EXPECT_LE(difference(importance(weight.to(dtype), {}, "magnitude"), weight.to(dtype).to(at::kDouble).square()), 1e-6);
  }
  const auto huge = importance(at::full({1}, 1e300, at::kDouble), {}, "magnitude");
  EXPECT_EQ(huge.item<float>(), std::numeric_limits<float>::max());
}

TEST(Importance, NamesWhatIsWrong) {
  const auto weight = at::randn({3, 2});
  const auto bad = at::full({3, 2}, std::numeric_limits<float>::infinity());
  expect_error<c10::ValueError>("expected one of magnitude, gradient, taylor, lamp, got 'size'",
                                [&] { importance(weight, {}, "size"); });
  expect_error<c10::ValueError>("importance: weight: expected finite numbers", [&] { importance(bad, {}, "lamp"); });
  expect_error<c10::ValueError>("importance: grad: expected finite numbers", [&] { importance(weight, bad, "taylor"); });
  expect_error<c10::ValueError>("importance: grad: criterion 'gradient' needs", [&] { importance(weight, {}, "gradient"); });
  expect_error<c10::ValueError>("importance: grad: expected the shape", [&] { importance(weight, weight.t(), "taylor"); });
  expect_error<c10::TypeError>("importance: weight: expected a floating-point dtype",
                               [&] { importance(weight.to(at::kLong), {}, "magnitude"); });
}

}  // namespace
}  // namespace jouleprune::testing
