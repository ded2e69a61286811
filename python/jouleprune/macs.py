"""Multiply-adds of a network or a convolution, counted as one each, or halved as some texts do."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .energy import EnergyReport

__all__ = ["MAC_FORMS", "conv_macs", "macs"]

#: What a multiply-add counts: "whole" is one; "halved" is the form of texts that count pairs of multiply-adds.
MAC_FORMS: Mapping[str, float] = {"whole": 1.0, "halved": 0.5}


def conv_macs(
    out_channels: int,
    in_channels: int,
    kernel_size: Sequence[int],
    output_size: Sequence[int],
    *,
    groups: int = 1,
    form: str = "whole",
) -> float:
    """Multiply-adds of a convolution for one image: output pixels x in_channels / groups x kernel x out_channels.

    Args:
        kernel_size, output_size: one number per spatial dimension.
        form: "whole", or "halved" (the same / 2).
    Raises:
        ValueError: a size that is no whole number of at least 1, sizes of different dimensions, groups that do not
            divide the channels, or another form.
    """
    share = _share(form)
    for name, sizes in (("kernel_size", kernel_size), ("output_size", output_size)):
        if isinstance(sizes, str) or not isinstance(sizes, Sequence):
            raise ValueError(f"{name}: expected one number per spatial dimension, got {sizes!r}")
    if len(kernel_size) != len(output_size):
        raise ValueError(
            f"output_size: expected as many dimensions as kernel_size, {len(kernel_size)}, got {len(output_size)}"
        )
    named = {"out_channels": [out_channels], "in_channels": [in_channels], "groups": [groups]}
    for name, sizes in {**named, "kernel_size": kernel_size, "output_size": output_size}.items():
        for size in sizes:
            if isinstance(size, bool) or not isinstance(size, int) or size < 1:
                raise ValueError(f"{name}: expected whole numbers of at least 1, got {size!r}")
    if in_channels % groups or out_channels % groups:
        raise ValueError(f"groups: expected a divisor of {in_channels} and {out_channels} channels, got {groups}")
    return share * math.prod(output_size) * (in_channels // groups) * math.prod(kernel_size) * out_channels


def macs(report: EnergyReport, *, form: str = "whole") -> dict[str, float]:
    """Multiply-adds that each layer of a report issues in a forward pass, all its calls together, by name.

    Args:
        report: of :func:`jouleprune.estimate`.
        form: "whole", or "halved" (the same / 2).
    Raises:
        ValueError: another form.
    """
    share, found = _share(form), dict[str, float]()
    for layer in report.layers:
        found[layer.name] = found.get(layer.name, 0.0) + share * layer.macs_issued
    return found


def _share(form: str) -> float:
    if not isinstance(form, str) or form not in MAC_FORMS:
        raise ValueError(f"form: expected one of {', '.join(MAC_FORMS)}, got {form!r}")
    return MAC_FORMS[form]
