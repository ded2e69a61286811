"""How far from a reference a kernel may be: twice the error of a reordered same-dtype reference, plus rounding."""

from __future__ import annotations

import torch


def assert_as_good(actual: torch.Tensor, exact: torch.Tensor, reordered: torch.Tensor) -> None:
    """``exact`` is float64, ``reordered`` the same computation by torch in the dtype of ``actual``."""
    assert actual.shape == exact.shape and actual.dtype == reordered.dtype
    if actual.numel() == 0:
        return
    floor = torch.finfo(actual.dtype).eps * exact.abs().max().clamp_min(1e-30) * 2
    allowed = 2 * (reordered.double() - exact).abs().max() + floor
    worst = (actual.double() - exact).abs().max()
    assert worst <= allowed, f"error {worst:.3g}, allowed {allowed:.3g}"
