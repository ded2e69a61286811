#include "ops/unit_checks.h"

#include <c10/core/ScalarType.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <limits>

#include "ops/mask_checks.h"

namespace jouleprune::ops {
namespace {

constexpr int64_t kLargestDimension = std::numeric_limits<int32_t>::max();

select::Blocks checked_blocks(const char* op, at::IntArrayRef size, at::IntArrayRef block_size) {
  TORCH_CHECK_VALUE(size.size() >= 2, op, ": expected [rows, cols] or more dimensions, got ", size);
  TORCH_CHECK_VALUE(block_size.size() == 2 && block_size[0] >= 1 && block_size[1] >= 1, op,
                    ": block_size: expected two sizes of at least 1, got ", block_size);
  int64_t cols = 1;
  for (const int64_t each : size.slice(1)) cols *= each;
  TORCH_CHECK_VALUE(size[0] <= kLargestDimension && cols <= kLargestDimension, op, ": expected at most ",
                    kLargestDimension, " rows and columns, got ", size);
  // Beyond the weight a larger block is the same block; so the sizes below cannot overflow.
  return {size[0], cols, std::min(block_size[0], std::max<int64_t>(size[0], 1)),
          std::min(block_size[1], std::max<int64_t>(cols, 1))};
}

/// A tensor as the groups of mask_n_of_m run through it.
select::Lines lines_along(at::IntArrayRef size, int64_t dim) {
  select::Lines lines{1, size[static_cast<size_t>(dim)], 1};
  for (const int64_t each : size.slice(0, static_cast<size_t>(dim))) lines.outer *= each;
  for (const int64_t each : size.slice(static_cast<size_t>(dim) + 1)) lines.inner *= each;
  return lines;
}

}  // namespace

void check_scores(const char* op, const std::string& name, const at::Tensor& scores) {
  TORCH_CHECK_VALUE(scores.defined() && scores.layout() == at::kStrided, op, ": ", name,
                    ": expected a dense (strided) tensor");
  const bool known = at::isFloatingType(scores.scalar_type()) ||
                     at::isIntegralType(scores.scalar_type(), /*includeBool=*/true);
  TORCH_CHECK_TYPE(known, op, ": ", name, ": expected real numbers, got ", scores.scalar_type());
}

void check_left(const char* op, const std::string& name, const at::Tensor& left, const at::Tensor& scores) {
  TORCH_CHECK_VALUE(left.defined() && left.layout() == at::kStrided, op, ": ", name,
                    ": expected a dense (strided) tensor");
  TORCH_CHECK_TYPE(left.scalar_type() == at::kBool, op, ": ", name, ": expected bool, got ", left.scalar_type());
  TORCH_CHECK_VALUE(left.sizes() == scores.sizes(), op, ": ", name, ": expected the shape of the scores, ",
                    scores.sizes(), ", got ", left.sizes());
  TORCH_CHECK_VALUE(left.device() == scores.device(), op, ": ", name, ": expected the device of the scores, ",
                    scores.device(), ", got ", left.device());
}

select::Blocks check_unit_norms(const at::Tensor& scores, const std::optional<at::Tensor>& left, at::IntArrayRef block_size) {
  constexpr const char* kOp = "unit_norms";
  check_scores(kOp, "scores", scores);
  if (left.has_value()) check_left(kOp, "left", *left, scores);
  return checked_blocks(kOp, scores.sizes(), block_size);
}

select::Blocks check_spread_units(const at::Tensor& units, const std::optional<at::Tensor>& left, at::IntArrayRef size,
                                  at::IntArrayRef block_size) {
  constexpr const char* kOp = "spread_units";
  checked_numel(kOp, size);
  const auto blocks = checked_blocks(kOp, size, block_size);
  TORCH_CHECK_VALUE(units.defined() && units.layout() == at::kStrided, kOp,
                    ": units: expected a dense (strided) tensor");
  TORCH_CHECK_TYPE(units.scalar_type() == at::kBool, kOp, ": units: expected bool, got ", units.scalar_type());
  TORCH_CHECK_VALUE(units.dim() == 2 && units.size(0) == blocks.down() && units.size(1) == blocks.across(), kOp,
                    ": units: expected [", blocks.down(), ", ", blocks.across(), "] for a weight of size ", size,
                    ", got ", units.sizes());
  if (left.has_value()) {
    check_mask(kOp, *left);
    TORCH_CHECK_VALUE(left->sizes() == size, kOp, ": left: expected size ", size, ", got ", left->sizes());
    TORCH_CHECK_VALUE(left->device() == units.device(), kOp, ": left: expected the device of units, ", units.device(),
                      ", got ", left->device());
  }
  return blocks;
}

select::Lines check_n_of_m(const at::Tensor& scores, const std::optional<at::Tensor>& left, int64_t dim) {
  constexpr const char* kOp = "mask_n_of_m";
  check_scores(kOp, "scores", scores);
  if (left.has_value()) check_left(kOp, "left", *left, scores);
  const int64_t dims = scores.dim();
  TORCH_CHECK_INDEX(dim >= -dims && dim < dims, kOp, ": dim: expected a dimension in [", -dims, ", ", dims - 1,
                    "], got ", dim);
  return lines_along(scores.sizes(), dim < 0 ? dim + dims : dim);
}

}  // namespace jouleprune::ops
