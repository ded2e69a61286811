"""The loss of learning from the dense network."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["distillation_loss"]


def distillation_loss(
    student: Tensor, teacher: Tensor, target: Tensor | None = None, *, temperature: float = 2.0, weight: float = 0.5
) -> Tensor:
    """``weight * T^2 KL(softmax(teacher / T) || softmax(student / T)) + (1 - weight) * cross entropy``.

    Args:
        student, teacher: logits [..., classes]; the teacher gets no gradient. The mean is over all but the classes.
        target: class indices [...]; without it the first term alone counts, with weight 1.
        temperature: T above 0; T^2 keeps the gradients' size, whatever T.
        weight: of the teacher, in [0, 1].
    Returns:
        A scalar, differentiable in ``student``.
    Raises:
        ValueError: no tensors, shapes that differ, or numbers out of range; the message names the argument.
    Source: Hinton et al., Distilling the Knowledge in a Neural Network, 2015, section 2.
    """
    for name, tensor in (("student", student), ("teacher", teacher)):
        if not isinstance(tensor, Tensor) or not tensor.is_floating_point() or tensor.dim() == 0:
            got = f"{tensor.dtype} {list(tensor.shape)}" if isinstance(tensor, Tensor) else repr(tensor)
            raise ValueError(f"{name}: expected a tensor of logits [..., classes], got {got}")
    if target is not None and not isinstance(target, Tensor):
        raise ValueError(f"target: expected a tensor of class indices, got {target!r}")
    for name, number in (("temperature", temperature), ("weight", weight)):
        if isinstance(number, bool) or not isinstance(number, int | float):
            raise ValueError(f"{name}: expected a number, got {number!r}")
    if student.shape != teacher.shape:
        raise ValueError(f"teacher: expected the shape of student, {list(student.shape)}, got {list(teacher.shape)}")
    if not 0 < temperature < math.inf:
        raise ValueError(f"temperature: expected a finite number above 0, got {temperature!r}")
    if not 0 <= weight <= 1:
        raise ValueError(f"weight: expected a share in [0, 1], got {weight!r}")
    classes = student.shape[-1]
    log_student = torch.log_softmax(student.reshape(-1, classes) / temperature, dim=1)
    log_teacher = torch.log_softmax(teacher.detach().reshape(-1, classes) / temperature, dim=1)
    soft = torch.nn.functional.kl_div(log_student, log_teacher, reduction="batchmean", log_target=True)
    soft = soft * temperature**2
    if target is None:
        return soft
    hard = torch.nn.functional.cross_entropy(student.reshape(-1, classes), target.reshape(-1))
    return weight * soft + (1 - weight) * hard
