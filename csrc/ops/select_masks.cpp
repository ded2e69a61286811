// Op select_masks: importance scores and a request (JSON) -> masks as bits and a plan (JSON). Errors come back inside
// the JSON, because an exception that crosses the dispatcher keeps its text but not its class.
#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/stack.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <torch/library.h>

#include <cstring>
#include <exception>
#include <iterator>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

#include "plan/request_json.h"
#include "select/together.h"

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

/// torch's own collective, called through the dispatcher: nothing is linked for it. Throws std::invalid_argument where torch lacks it.
at::Tensor collective(const char* name, std::vector<c10::IValue> arguments) {
  const auto op = c10::Dispatcher::singleton().findSchema({std::string("_c10d_functional::") + name, ""});
  if (!op.has_value()) throw std::invalid_argument(std::string("together: this torch has no _c10d_functional::") + name);
  torch::jit::Stack stack(std::make_move_iterator(arguments.begin()), std::make_move_iterator(arguments.end()));
  op->callBoxed(stack);
  return stack.front().toTensor();
}

/// Adds up over the group, then takes the bits of rank 0.
template <typename Number>
void sum_over(const std::string& group, std::span<Number> numbers) {
  const auto options = at::TensorOptions().dtype(c10::CppTypeToScalarType<Number>::value);
  const at::Tensor mine = at::from_blob(numbers.data(), {static_cast<int64_t>(numbers.size())}, options).clone();
  const at::Tensor sum = collective("wait_tensor", {collective("all_reduce", {mine, "sum", group})});
  const at::Tensor same = collective("wait_tensor", {collective("broadcast", {sum, 0, group})});
  std::memcpy(numbers.data(), same.contiguous().template const_data_ptr<Number>(), numbers.size_bytes());
}

std::optional<select::Together> together_of(const std::optional<plan::Sharing>& sharing) {
  if (!sharing) return std::nullopt;
  const std::string group = sharing->group;
  return select::Together{sharing->rank, sharing->size, [group](std::span<int64_t> counts) { sum_over(group, counts); },
                          [group](std::span<double> values) { sum_over(group, values); }};
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
    const std::optional<select::Together> together = together_of(asked.sharing);
    const plan::Result result = plan::answer(asked, spans, together ? &*together : nullptr);
    for (const plan::MaskBits& bits : result.masks) masks.push_back(bits_tensor(bits));
    return {std::move(masks), result.plan.to_json()};
  } catch (const std::invalid_argument&) {
    return {std::vector<at::Tensor>{}, plan::error_json(std::current_exception())};
  }
}

}  // namespace
}  // namespace jouleprune::ops

TORCH_LIBRARY_IMPL(jouleprune, CompositeExplicitAutograd, m) { m.impl("select_masks", jouleprune::ops::select_masks); }
