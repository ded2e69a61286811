// The public functions of ops_nm.h: calls through the dispatcher, nothing else.
#include <jouleprune/ops_nm.h>

#include "ops/nm_signatures.h"

namespace jouleprune {

using namespace ops;

std::tuple<Tensor, Tensor, Tensor> pack_nm(const Tensor& weight, const OptionalTensor& mask, int64_t n, int64_t m) {
  static const auto op = find_op<PackNm>("jouleprune::pack_nm");
  return op.call(weight, mask, n, m);
}

Tensor unpack_nm(const Tensor& values, const Tensor& indices, c10::SymInt cols, int64_t n, int64_t m) {
  static const auto op = find_op<UnpackNm>("jouleprune::unpack_nm");
  return op.call(values, indices, std::move(cols), n, m);
}

Tensor linear_nm(const Tensor& input, const Tensor& values, const Tensor& indices, const Tensor& key, const OptionalTensor& prepacked,
                 const OptionalTensor& bias, c10::SymInt in_features, int64_t n, int64_t m, std::string_view activation) {
  static const auto op = find_op<LinearNm>("jouleprune::linear_nm");
  return op.call(input, values, indices, key, prepacked, bias, std::move(in_features), n, m, activation);
}

Tensor linear_nm_backward_input(const Tensor& grad_output, const Tensor& values, const Tensor& indices, const Tensor& key,
                                c10::SymInt in_features, int64_t n, int64_t m) {
  static const auto op = find_op<LinearNmBackward>("jouleprune::linear_nm_backward_input");
  return op.call(grad_output, values, indices, key, std::move(in_features), n, m);
}

Tensor linear_nm_backward_values(const Tensor& grad_output, const Tensor& input, const Tensor& indices, const Tensor& key,
                                 c10::SymInt in_features, int64_t n, int64_t m) {
  static const auto op = find_op<LinearNmBackward>("jouleprune::linear_nm_backward_values");
  return op.call(grad_output, input, indices, key, std::move(in_features), n, m);
}

}  // namespace jouleprune
