"""What ``from_dense`` of every sparse module checks first."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..errors import PatternError

__all__ = ["check_dense", "check_mask_type", "check_padding_mode", "numeric_padding", "unsupported_input"]


def check_dense(
    name: str, module: object, kind: type[nn.Module], layout: str, layouts: tuple[str, ...] = ("csr",)
) -> None:
    """Refuses what ``from_dense`` cannot read."""
    if layout not in layouts:
        raise PatternError(f"layout: expected one of {', '.join(layouts)}, got {layout!r}")
    if not isinstance(module, kind):
        raise PatternError(f"{name}: expected torch.nn.{kind.__name__}, got {type(module).__name__}")
    for parameter, tensor in module.named_parameters():
        if nn.parameter.is_lazy(tensor):
            raise PatternError(f"{name}: {type(module).__name__} has no {parameter} yet: run it once first")
        if tensor.is_meta:
            raise ValueError(f"{name}: {parameter}: expected data, got a meta tensor: its zeros are not known")


def check_mask_type(mask: object) -> None:
    """A mask is a tensor or None; its shape and dtype are checked where it is packed."""
    if mask is not None and not isinstance(mask, Tensor):
        raise ValueError(f"mask: expected a bool tensor, got {type(mask).__name__}")


def check_padding_mode(name: str, dense: nn.Conv1d | nn.Conv2d) -> None:
    """The ops pad with zeros."""
    if dense.padding_mode != "zeros":
        raise PatternError(f"{name}: padding_mode: expected 'zeros', got {dense.padding_mode!r}")


def numeric_padding(name: str, dense: nn.Conv1d | nn.Conv2d) -> tuple[int, ...]:
    """The numbers behind "same" and "valid"; "same" with an even reach pads one side more, which no symmetric padding
    can."""
    if not isinstance(dense.padding, str):
        return tuple(dense.padding)
    if dense.padding == "valid":
        return tuple(0 for _ in dense.kernel_size)
    reach = [dilation * (size - 1) for dilation, size in zip(dense.dilation, dense.kernel_size, strict=True)]
    if any(total % 2 for total in reach):
        raise PatternError(
            f"{name}: padding='same' with kernel_size {dense.kernel_size} and dilation {dense.dilation} is "
            "asymmetric: pad the input yourself and use padding=0"
        )
    return tuple(total // 2 for total in reach)


def unsupported_input(name: str, input: Tensor, error: NotImplementedError) -> Exception:
    """For an input that no kernel takes: torch would tell of backends and dispatch keys."""
    if input.layout == torch.strided:
        return error
    return ValueError(f"{name}: input: expected a dense tensor, got layout {input.layout}")
