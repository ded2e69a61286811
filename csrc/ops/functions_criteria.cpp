// The public functions of ops_criteria.h: calls through the dispatcher, nothing else.
#include <jouleprune/ops_criteria.h>

#include "ops/criteria_signatures.h"
#include "ops/signatures.h"

namespace jouleprune {

using namespace ops;

Tensor norm_importance(const Tensor& weight, at::IntArrayRef block_size, double norm) {
  static const auto op = find_op<NormImportance>("jouleprune::norm_importance");
  return op.call(weight, block_size, norm);
}

Tensor random_importance(const Tensor& weight, at::IntArrayRef block_size, int64_t seed, int64_t stream) {
  static const auto op = find_op<RandomImportance>("jouleprune::random_importance");
  return op.call(weight, block_size, seed, stream);
}

Tensor fpgm_importance(const Tensor& weight) {
  static const auto op = find_op<FpgmImportance>("jouleprune::fpgm_importance");
  return op.call(weight);
}

Tensor input_importance(const Tensor& weight, const Tensor& inputs, double scale) {
  static const auto op = find_op<InputImportance>("jouleprune::input_importance");
  return op.call(weight, inputs, scale);
}

std::tuple<Tensor, Tensor> mask_threshold(const Tensor& values, double amount, std::string_view rule) {
  static const auto op = find_op<MaskThreshold>("jouleprune::mask_threshold");
  return op.call(values, amount, rule);
}

std::tuple<Tensor, Tensor> t_test(const Tensor& sums, const Tensor& square_sums, int64_t n) {
  static const auto op = find_op<SignificanceTest>("jouleprune::t_test");
  return op.call(sums, square_sums, n);
}

std::tuple<Tensor, Tensor> f_test(const Tensor& sums, const Tensor& square_sums, int64_t n) {
  static const auto op = find_op<SignificanceTest>("jouleprune::f_test");
  return op.call(sums, square_sums, n);
}

Tensor benjamini_hochberg(const Tensor& p, double alpha) {
  static const auto op = find_op<BenjaminiHochberg>("jouleprune::benjamini_hochberg");
  return op.call(p, alpha);
}

void shrink_units_(const Tensor& self, const Tensor& amounts, at::IntArrayRef block_size) {
  static const auto op = find_op<ShrinkUnits>("jouleprune::shrink_units_");
  op.call(self, amounts, block_size);
}

}  // namespace jouleprune
