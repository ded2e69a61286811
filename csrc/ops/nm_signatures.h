// C++ signatures of the nm schemas in library.cpp.
#pragma once
#include "ops/signatures.h"

namespace jouleprune::ops {

using PackNm = std::tuple<Tensor, Tensor, Tensor>(const Tensor& weight, const OptionalTensor& mask, int64_t n, int64_t m);
using UnpackNm = Tensor(const Tensor& values, const Tensor& indices, c10::SymInt cols, int64_t n, int64_t m);
using LinearNm = Tensor(const Tensor& input, const Tensor& values, const Tensor& indices, const Tensor& key,
                        const OptionalTensor& prepacked, const OptionalTensor& bias, c10::SymInt in_features, int64_t n, int64_t m,
                        std::string_view activation);
using LinearNmBackward = Tensor(const Tensor& grad_output, const Tensor& values_or_input, const Tensor& indices, const Tensor& key,
                                c10::SymInt in_features, int64_t n, int64_t m);

}  // namespace jouleprune::ops
