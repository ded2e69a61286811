// Op select_masks: importance scores and a request (JSON) -> masks as bits and a plan (JSON). Errors come back inside
// the JSON, because an exception that crosses the dispatcher keeps its text but not its class.
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <cstring>
#include <exception>
#include <span>
#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

#include "plan/request_json.h"

namespace jouleprune::ops {
namespace {

/// Scores as the planner reads them: contiguous float32 on the CPU.
std::vector<at::Tensor> readable(at::TensorList importance) {
  std::vector<at::Tensor> scores;
  for (size_t i = 0; i < importance.size(); ++i) {
    const at::Tensor& each = importance[i];
    if (!each.defined() || !at::isFloatingType(each.scalar_type()) || each.layout() != at::kStrided) {
      throw std::invalid_argument("select_masks: importance[" + std::to_string(i) +
                                  "]: expected a dense tensor of a float type, got " +
                                  (each.defined() ? each.toString() : "none"));
    }
    scores.push_back(each.detach().to(at::kCPU, at::kFloat).contiguous());
  }
  return scores;
}

at::Tensor bits_tensor(const plan::MaskBits& bits) {
  at::Tensor mask = at::empty({static_cast<int64_t>(bits.size())}, at::TensorOptions().dtype(at::kByte));
  if (!bits.empty()) std::memcpy(mask.mutable_data_ptr<uint8_t>(), bits.data(), bits.size());
  return mask;
}

std::tuple<std::vector<at::Tensor>, std::string> select_masks(at::TensorList importance, c10::string_view request) {
  std::vector<at::Tensor> masks;
  try {
    const plan::SelectRequest asked = plan::parse_select_request(std::string_view(request.data(), request.size()));
    const std::vector<at::Tensor> scores = readable(importance);
    std::vector<std::span<const float>> spans;
    for (const at::Tensor& each : scores)
      spans.emplace_back(each.const_data_ptr<float>(), static_cast<size_t>(each.numel()));
    const plan::Result result = plan::answer(asked, spans);
    for (const plan::MaskBits& bits : result.masks) masks.push_back(bits_tensor(bits));
    return {std::move(masks), result.plan.to_json()};
  } catch (const std::invalid_argument&) {
    return {std::vector<at::Tensor>{}, plan::error_json(std::current_exception())};
  }
}

}  // namespace
}  // namespace jouleprune::ops

TORCH_LIBRARY_IMPL(jouleprune, CompositeExplicitAutograd, m) { m.impl("select_masks", jouleprune::ops::select_masks); }
