// Ops on units of weights: mask_smallest, unit_norms, spread_units, mask_n_of_m. Adapters over csrc/select: scores and
// masks of other devices are copied to the CPU and the masks back.
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <c10/core/ScalarType.h>
#include <torch/library.h>

#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

#include "ops/mask_checks.h"
#include "ops/parallel.h"
#include "ops/signatures.h"
#include "ops/unit_checks.h"
#include "select/blocks.h"
#include "select/n_of_m.h"
#include "select/smallest.h"

namespace jouleprune::ops {
namespace {

/// What the core throws names the argument; here the op is put before it.
template <class Call>
void with_op_in_errors(const char* op, const Call& call) {
  try {
    call();
  } catch (const std::invalid_argument& error) {
    TORCH_CHECK_VALUE(false, op, ": ", error.what());
  }
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
std::tuple<Tensor, Tensor> unit_norms(const Tensor& scores, const OptionalTensor& left, at::IntArrayRef block_size,
                                      double norm) {
  constexpr const char* kOp = "unit_norms";
  const select::Blocks blocks = check_unit_norms(scores, left, block_size);
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
  const select::Blocks blocks = check_spread_units(units, left, size, block_size);
  const Tensor from = on_cpu(units, at::kBool), mask = left.has_value() ? on_cpu(*left, at::kBool) : Tensor();
  const Tensor kept = empty_mask(size);
  select::spread_units(from.const_data_ptr<bool>(), data_or_null(mask), blocks, kept.mutable_data_ptr<bool>(),
                       torch_threads());
  return kept.to(units.device());
}

}  // namespace

Tensor mask_n_of_m_by_host(const Tensor& scores, const OptionalTensor& left, int64_t n, int64_t m, int64_t dim) {
  constexpr const char* kOp = "mask_n_of_m";
  const select::Lines lines = check_n_of_m(scores, left, dim);
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

}  // namespace jouleprune::ops

TORCH_LIBRARY_IMPL(jouleprune, CompositeExplicitAutograd, m) {
  m.impl("mask_smallest", TORCH_FN(jouleprune::ops::mask_smallest_by_host));
  m.impl("unit_norms", TORCH_FN(jouleprune::ops::unit_norms));
  m.impl("spread_units", TORCH_FN(jouleprune::ops::spread_units));
  m.impl("mask_n_of_m", TORCH_FN(jouleprune::ops::mask_n_of_m_by_host));
}

TORCH_LIBRARY_IMPL(jouleprune, Autograd, m) {
  for (const char* op : {"mask_smallest", "unit_norms", "spread_units", "mask_n_of_m"}) {
    m.impl(op, torch::CppFunction::makeFallthrough());
  }
}
