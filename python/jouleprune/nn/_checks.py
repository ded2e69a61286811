"""What ``from_dense`` of every sparse module checks first."""

from __future__ import annotations

from torch import nn

from ..errors import PatternError

__all__ = ["check_dense"]


def check_dense(
    name: str,
    module: object,
    kind: type[nn.Linear] | type[nn.Conv2d],
    layout: str,
    layouts: tuple[str, ...] = ("csr",),
) -> None:
    """Refuses what ``from_dense`` cannot read."""
    if layout not in layouts:
        raise PatternError(f"layout: expected one of {', '.join(layouts)}, got {layout!r}")
    if not isinstance(module, kind):
        raise PatternError(f"{name}: expected torch.nn.{kind.__name__}, got {type(module).__name__}")
    if nn.parameter.is_lazy(module.weight):
        raise PatternError(f"{name}: {type(module).__name__} has no weight yet: run it once first")
    if module.weight.is_meta:
        raise ValueError(f"{name}: weight: expected data, got a meta tensor: its zeros are not known")
