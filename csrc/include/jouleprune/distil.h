// The loss of learning from the dense network.
#pragma once
#include <ATen/core/Tensor.h>

#include <optional>

namespace jouleprune {

/// weight x T^2 KL(softmax(teacher / T) || softmax(student / T)) + (1 - weight) x cross entropy: a scalar, differentiable in `student`.
/// student, teacher: logits [..., classes]; the teacher gets no gradient; the mean is over all but the classes. target: class indices
/// [...]; without it the first term alone counts, with weight 1. temperature: T above 0; T^2 keeps the gradients' size, whatever T.
/// weight: of the teacher, in [0, 1]. Throws c10::ValueError for shapes that differ and numbers out of range.
/// Source: Hinton et al., Distilling the Knowledge in a Neural Network, 2015, section 2.
at::Tensor distillation_loss(const at::Tensor& student, const at::Tensor& teacher, const std::optional<at::Tensor>& target = std::nullopt,
                             double temperature = 2.0, double weight = 0.5);

}  // namespace jouleprune
