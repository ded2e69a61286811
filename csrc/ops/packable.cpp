#include "ops/packable.h"

#include <ATen/ops/ne.h>
#include <c10/util/Exception.h>


#include "ops/csr_checks.h"
#include "ops/limits.h"

namespace jouleprune::ops {

Packable check_packable(const char* op, const at::Tensor& weight, const std::optional<at::Tensor>& mask) {
  check_element_type(op, "weight", weight);
  TORCH_CHECK_VALUE(weight.dim() >= 2, op, ": weight: expected [rows, cols] or more dimensions, got ", weight.sizes());
  int64_t cols = 1;
  for (const int64_t size : weight.sizes().slice(1)) {
    cols *= size;
  }
  const int64_t rows = weight.size(0);
  TORCH_CHECK_VALUE(rows <= kLimit && cols <= kLimit, op, ": weight: expected at most ", kLimit, " rows and columns, got ",
                    weight.sizes());
  const auto matrix = weight.detach().reshape({rows, cols}).contiguous();
  if (!mask.has_value() || !mask->defined()) {
    return {matrix, at::ne(matrix, 0)};
  }
  TORCH_CHECK_TYPE(mask->scalar_type() == at::kBool, op, ": mask: expected bool, got ", mask->scalar_type());
  TORCH_CHECK_VALUE(mask->sizes() == weight.sizes(), op, ": mask: expected the shape of weight, ", weight.sizes(), ", got ",
                    mask->sizes());
  check_device(op, "mask", *mask, weight, "weight");
  return {matrix, mask->reshape({rows, cols}).contiguous()};
}

}  // namespace jouleprune::ops
