#include <ATen/TensorOperators.h>
#include <ATen/core/Reduction.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/kl_div.h>
#include <ATen/ops/log_softmax.h>
#include <jouleprune/distil.h>

#include <cmath>

namespace jouleprune {

at::Tensor distillation_loss(const at::Tensor& student, const at::Tensor& teacher, const std::optional<at::Tensor>& target,
                             double temperature, double weight) {
  constexpr const char* kWhere = "distillation_loss: ";
  TORCH_CHECK_VALUE(student.dim() >= 1, kWhere, "student: expected [..., classes], got ", student.sizes());
  TORCH_CHECK_VALUE(student.sizes() == teacher.sizes(), kWhere, "teacher: expected the shape of student, ", student.sizes(), ", got ",
                    teacher.sizes());
  TORCH_CHECK_VALUE(temperature > 0 && std::isfinite(temperature), kWhere, "temperature: expected a finite number above 0, got ", temperature);
  TORCH_CHECK_VALUE(weight >= 0 && weight <= 1, kWhere, "weight: expected a share in [0, 1], got ", weight);
  const int64_t classes = student.size(-1);
  const auto logits = student.reshape({-1, classes});
  const auto log_student = at::log_softmax(logits / temperature, 1);
  const auto log_teacher = at::log_softmax(teacher.detach().reshape({-1, classes}) / temperature, 1);
  const auto soft = at::kl_div(log_student, log_teacher, at::Reduction::Sum, /*log_target=*/true) / logits.size(0) * (temperature * temperature);
  if (!target.has_value()) return soft;
  return weight * soft + (1 - weight) * at::cross_entropy_loss(logits, target->reshape({-1}));
}

}  // namespace jouleprune
