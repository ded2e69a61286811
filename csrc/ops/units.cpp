// Ops on units of weights: mask_smallest, unit_norms, spread_units, mask_n_of_m. Adapters over csrc/select: scores and
// masks of other devices are copied to the CPU and the masks back.
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <c10/core/ScalarType.h>
#include <torch/library.h>

#include <algorithm>
#include <limits>
#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

#include "ops/mask_checks.h"
#include "ops/parallel.h"
#include "ops/signatures.h"
#include "select/blocks.h"
#include "select/n_of_m.h"
#include "select/smallest.h"

namespace jouleprune::ops {
namespace {

constexpr int64_t kLargestDimension = std::numeric_limits<int32_t>::max();

/// What the core throws names the argument; here the op is put before it.
template <class Call>
void with_op_in_errors(const char* op, const Call& call) {
  try {
    call();
  } catch (const std::invalid_argument& error) {
    TORCH_CHECK_VALUE(false, op, ": ", error.what());
  }
}

void check_scores(const char* op, const std::string& name, const Tensor& scores) {
  TORCH_CHECK_VALUE(scores.defined() && scores.layout() == at::kStrided, op, ": ", name,
                    ": expected a dense (strided) tensor");
  const bool known = at::isFloatingType(scores.scalar_type()) ||
                     at::isIntegralType(scores.scalar_type(), /*includeBool=*/true);
  TORCH_CHECK_TYPE(known, op, ": ", name, ": expected real numbers, got ", scores.scalar_type());
}

void check_left(const char* op, const std::string& name, const Tensor& left, const Tensor& scores) {
  TORCH_CHECK_VALUE(left.defined() && left.layout() == at::kStrided, op, ": ", name,
                    ": expected a dense (strided) tensor");
  TORCH_CHECK_TYPE(left.scalar_type() == at::kBool, op, ": ", name, ": expected bool, got ", left.scalar_type());
  TORCH_CHECK_VALUE(left.sizes() == scores.sizes(), op, ": ", name, ": expected the shape of the scores, ",
                    scores.sizes(), ", got ", left.sizes());
  TORCH_CHECK_VALUE(left.device() == scores.device(), op, ": ", name, ": expected the device of the scores, ",
                    scores.device(), ", got ", left.device());
}

Tensor on_cpu(const Tensor& tensor, at::ScalarType type) {
  return tensor.detach().to(at::kCPU, type).contiguous();
}

const bool* data_or_null(const Tensor& mask) { return mask.defined() ? mask.const_data_ptr<bool>() : nullptr; }

Tensor empty_mask(at::IntArrayRef size) { return at::empty(size, at::TensorOptions().dtype(at::kBool)); }

/// The type that the core compares: its own for floats, int64 for integers.
at::ScalarType compared_type(at::ScalarType type) {
  return at::isIntegralType(type, /*includeBool=*/true) ? at::kLong : type;
}

at::ScalarType common_type(at::TensorList scores) {
  at::ScalarType type = scores.front().scalar_type();
  for (const Tensor& each : scores) type = c10::promoteTypes(type, each.scalar_type());
  return compared_type(type);
}

template <class Score>
std::vector<Tensor> smallest_removed(const std::vector<Tensor>& scores, const std::vector<Tensor>& left,
                                     int64_t amount) {
  std::vector<Tensor> kept;
  std::vector<select::Part<Score>> parts;
  for (size_t i = 0; i < scores.size(); ++i) {
    kept.push_back(empty_mask(scores[i].sizes()));
    const bool* mask = left.empty() ? nullptr : data_or_null(left[i]);
    parts.push_back({static_cast<const Score*>(scores[i].const_data_ptr()), mask, scores[i].numel(),
                     kept.back().mutable_data_ptr<bool>()});
  }
  with_op_in_errors("mask_smallest", [&] { select::remove_smallest<Score>(parts, amount, torch_threads()); });
  return kept;
}

}  // namespace

at::ScalarType check_smallest(at::TensorList scores, at::TensorList left) {
  constexpr const char* kOp = "mask_smallest";
  TORCH_CHECK_VALUE(left.empty() || left.size() == scores.size(), kOp, ": left: expected none or ", scores.size(),
                    " tensors as scores, got ", left.size());
  for (size_t i = 0; i < scores.size(); ++i) {
    const std::string place = "[" + std::to_string(i) + "]";
    check_scores(kOp, "scores" + place, scores[i]);
    if (!left.empty()) check_left(kOp, "left" + place, left[i], scores[i]);
  }
  const at::ScalarType type = scores.empty() ? at::kFloat : common_type(scores);
  TORCH_CHECK_TYPE(type == at::kLong || type == at::kFloat || type == at::kDouble || type == at::kHalf || type == at::kBFloat16, kOp,
                   ": scores: no order for ", type);
  return type;
}

std::vector<Tensor> mask_smallest_by_host(at::TensorList scores, at::TensorList left, int64_t amount) {
  const at::ScalarType type = check_smallest(scores, left);
  std::vector<Tensor> compared, masks, kept;
  for (const Tensor& each : scores) compared.push_back(on_cpu(each, type));
  for (const Tensor& each : left) masks.push_back(on_cpu(each, at::kBool));
  if (type == at::kLong) {
    kept = smallest_removed<int64_t>(compared, masks, amount);
  } else if (type == at::kFloat) {
    kept = smallest_removed<float>(compared, masks, amount);
  } else if (type == at::kDouble) {
    kept = smallest_removed<double>(compared, masks, amount);
  } else {
    kept = smallest_removed<select::Bits16>(compared, masks, amount);
  }
  for (size_t i = 0; i < kept.size(); ++i) kept[i] = kept[i].to(scores[i].device());
  return kept;
}

namespace {
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

std::tuple<Tensor, Tensor> unit_norms(const Tensor& scores, const OptionalTensor& left, at::IntArrayRef block_size,
                                      double norm) {
  constexpr const char* kOp = "unit_norms";
  check_scores(kOp, "scores", scores);
  if (left.has_value()) check_left(kOp, "left", *left, scores);
  const select::Blocks blocks = checked_blocks(kOp, scores.sizes(), block_size);
  const bool in_double = scores.scalar_type() == at::kDouble || !at::isFloatingType(scores.scalar_type());
  const Tensor compared = on_cpu(scores, in_double ? at::kDouble : at::kFloat);
  const Tensor mask = left.has_value() ? on_cpu(*left, at::kBool) : Tensor();
  const Tensor norms = at::empty({blocks.down(), blocks.across()}, at::TensorOptions().dtype(at::kDouble));
  const Tensor units_left = empty_mask({blocks.down(), blocks.across()});
  with_op_in_errors(kOp, [&] {
    if (in_double) {
      select::unit_norms(compared.const_data_ptr<double>(), data_or_null(mask), blocks, norm,
                         norms.mutable_data_ptr<double>(), units_left.mutable_data_ptr<bool>(), torch_threads());
    } else {
      select::unit_norms(compared.const_data_ptr<float>(), data_or_null(mask), blocks, norm,
                         norms.mutable_data_ptr<double>(), units_left.mutable_data_ptr<bool>(), torch_threads());
    }
  });
  return {norms.to(scores.device()), units_left.to(scores.device())};
}

Tensor spread_units(const Tensor& units, const OptionalTensor& left, at::IntArrayRef size, at::IntArrayRef block_size) {
  constexpr const char* kOp = "spread_units";
  checked_numel(kOp, size);
  const select::Blocks blocks = checked_blocks(kOp, size, block_size);
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
  const Tensor from = on_cpu(units, at::kBool), mask = left.has_value() ? on_cpu(*left, at::kBool) : Tensor();
  const Tensor kept = empty_mask(size);
  select::spread_units(from.const_data_ptr<bool>(), data_or_null(mask), blocks, kept.mutable_data_ptr<bool>(),
                       torch_threads());
  return kept.to(units.device());
}

/// A tensor as the groups of mask_n_of_m run through it.
select::Lines lines_along(at::IntArrayRef size, int64_t dim) {
  select::Lines lines{1, size[static_cast<size_t>(dim)], 1};
  for (const int64_t each : size.slice(0, static_cast<size_t>(dim))) lines.outer *= each;
  for (const int64_t each : size.slice(static_cast<size_t>(dim) + 1)) lines.inner *= each;
  return lines;
}

Tensor mask_n_of_m(const Tensor& scores, const OptionalTensor& left, int64_t n, int64_t m, int64_t dim) {
  constexpr const char* kOp = "mask_n_of_m";
  check_scores(kOp, "scores", scores);
  if (left.has_value()) check_left(kOp, "left", *left, scores);
  const int64_t dims = scores.dim();
  TORCH_CHECK_INDEX(dim >= -dims && dim < dims, kOp, ": dim: expected a dimension in [", -dims, ", ", dims - 1,
                    "], got ", dim);
  const select::Lines lines = lines_along(scores.sizes(), dim < 0 ? dim + dims : dim);
  at::ScalarType type = compared_type(scores.scalar_type());
  if (type != at::kLong && type != at::kDouble) type = at::kFloat;
  const Tensor compared = on_cpu(scores, type), mask = left.has_value() ? on_cpu(*left, at::kBool) : Tensor();
  const Tensor kept = empty_mask(scores.sizes());
  const auto run = [&](const auto* data) {
    select::keep_n_of_m(data, data_or_null(mask), lines, n, m, kept.mutable_data_ptr<bool>(), torch_threads());
  };
  with_op_in_errors(kOp, [&] {
    if (type == at::kLong) {
      run(compared.const_data_ptr<int64_t>());
    } else if (type == at::kDouble) {
      run(compared.const_data_ptr<double>());
    } else {
      run(compared.const_data_ptr<float>());
    }
  });
  return kept.to(scores.device());
}

}  // namespace
}  // namespace jouleprune::ops

TORCH_LIBRARY_IMPL(jouleprune, CompositeExplicitAutograd, m) {
  m.impl("mask_smallest", TORCH_FN(jouleprune::ops::mask_smallest_by_host));
  m.impl("unit_norms", TORCH_FN(jouleprune::ops::unit_norms));
  m.impl("spread_units", TORCH_FN(jouleprune::ops::spread_units));
  m.impl("mask_n_of_m", TORCH_FN(jouleprune::ops::mask_n_of_m));
}

TORCH_LIBRARY_IMPL(jouleprune, Autograd, m) {
  for (const char* op : {"mask_smallest", "unit_norms", "spread_units", "mask_n_of_m"}) {
    m.impl(op, torch::CppFunction::makeFallthrough());
  }
}
