"""Int8 layers in a row, with bytes between them and without."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor, nn

from ..convert import convert
from ..fuse import fused
from .candidate import Candidate
from .chains import build_chain
from .network_problem import NetworkProblem
from .ours import NAME

__all__ = ["ChainProblem"]


class ChainProblem(NetworkProblem):
    """Every layer is pruned alike and runs in int8 with the input scale that calibration on the input gives."""

    @staticmethod
    def build(name: str, seed: int = 0) -> tuple[nn.Module, Tensor]:
        """The layers in eval mode, and an input."""
        return build_chain(name, seed)

    def prunable(self) -> list[Tensor]:
        """All of them: there is no stem and no head."""
        return [parameter for name, parameter in self.network.named_parameters() if name.endswith("weight")]

    def makers(self) -> list[tuple[str, Callable[[Any], Candidate]]]:
        """Names and makers of the two, and of torch's dense float32."""
        return [
            (NAME, lambda problem: problem.in_int8(NAME, True)),
            (self.case.baseline, lambda problem: problem.in_int8(self.case.baseline, False)),
            ("torch", NetworkProblem.eager),
        ]

    def in_int8(self, name: str, pass_bytes: bool) -> Candidate:
        """Both with their activations fused."""
        alone = convert(self.network, self.x, dtype="int8", calibration=[self.x], force=True)
        network, _ = fused(alone, self.x, pass_bytes=pass_bytes)
        return Candidate(name, [partial(network, self.x)], "int8", 0)
