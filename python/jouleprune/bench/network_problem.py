"""A network at one sparsity, and the ways to run it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ..clock import seconds
from ..convert import convert, decisions
from .candidate import Candidate, Unavailable
from .guard import Expected
from .masks import masked_weight
from .networks import build
from .ours import NAME
from .suites import Case

__all__ = ["NetworkProblem"]


class NetworkProblem:
    """Every convolution and linear layer is pruned alike, but for the stem, depthwise convolutions and the head."""

    def __init__(self, case: Case, sparsity: float, mask: str, *, seed: int = 0) -> None:
        if not isinstance(case.shape, str):
            raise ValueError(f"{case.name}: expected a network, got a layer")
        self.case = case
        self.network, self.x = self.build(case.shape, seed)
        self.weights, self.kept = 0, 0
        for place, weight in enumerate(self.prunable()):
            # Blocks lie along channels at one tap, as in the layers' cases.
            in_blocks = weight.dim() == 4 and case.block != (1, 1)
            channels_last = weight.permute(0, 2, 3, 1) if in_blocks else weight
            rows, cols = weight.shape[0], weight[0].numel()
            pruned = masked_weight(mask, rows, cols, sparsity, block=case.block, seed=seed + place)
            channels_last.copy_(pruned.view(channels_last.shape) * (weight.std() / pruned.std()))
            self.weights, self.kept = self.weights + weight.numel(), self.kept + int((weight != 0).sum())

    @staticmethod
    def build(name: str, seed: int = 0) -> tuple[nn.Module, Tensor]:
        """The network in eval mode, and an input."""
        return build(name, seed)

    def prunable(self) -> list[Tensor]:
        """The weights that are pruned."""
        return _prunable(self.network)

    def expected(self) -> Expected:
        """In double precision."""
        double, _ = self.build(str(self.case.shape))
        double.load_state_dict(self.network.state_dict())
        output = double.double()(self.x.double())
        return Expected(output, output.abs(), 1)

    def makers(self) -> list[tuple[str, Callable[[NetworkProblem], Candidate]]]:
        """Names and makers of jouleprune's and torch's candidates."""
        return [
            (NAME, lambda problem: problem.converted(False)),
            (f"{NAME} forced", lambda problem: problem.converted(True)),
            ("torch frozen", NetworkProblem.frozen),
            ("torch", NetworkProblem.eager),
        ]

    def converted(self, force: bool) -> Candidate:
        """``convert`` with what it can fuse fused; with ``force`` every pruned layer runs sparse."""
        converted = convert(self.network, self.x, force=force, fuse=True)
        made = [decision for decision in decisions(converted) if decision.layout != "dense"]
        if not made:
            raise Unavailable("jouleprune.convert leaves this network as it is")
        total = len(decisions(converted))
        note = f"{len(made)} of {total} pruned layers run sparse"
        return self._eager_candidate(f"{NAME} forced" if force else NAME, converted, note)

    def eager(self) -> Candidate:
        """Plain torch."""
        return self._eager_candidate("torch", self.network)

    def frozen(self) -> Candidate:
        """torch.jit's freeze, with optimize_for_inference where that is faster: batch norm folded, oneDNN packed."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # deprecated, and still torch's best without a compiler
            traced = torch.jit.trace(self.network, self.x)
            options = {
                "freeze": torch.jit.freeze(traced),
                "optimize_for_inference": torch.jit.optimize_for_inference(torch.jit.freeze(traced)),
            }
        best = _fastest({name: partial(module, self.x) for name, module in options.items()})
        return self._candidate("torch frozen", partial(options[best], self.x), f"torch.jit {best}")

    def _eager_candidate(self, name: str, network: nn.Module, note: str = "") -> Candidate:
        """In the faster memory format (torch's max pooling, say, is far slower on planes); frozen networks choose by
        themselves."""
        calls = {"": partial(network, self.x)}
        if self.x.dim() == 4:
            calls["channels_last"] = partial(network, self.x.contiguous(memory_format=torch.channels_last))
        best = _fastest(calls)
        return self._candidate(name, calls[best], "; ".join(filter(None, (note, best))))

    def _candidate(self, name: str, call: Callable[[], Any], note: str) -> Candidate:
        return Candidate(name, [call], "network", 0, note=note)


def _fastest(calls: Mapping[str, Callable[[], Any]]) -> str:
    """The name of the call that takes the least time."""
    times = {}
    for name, call in calls.items():
        for _ in range(3):  # torch's profiling executor optimises in the second call
            call()
        times[name] = min(seconds(call) for _ in range(3))
    return min(times, key=times.__getitem__)


def _prunable(network: nn.Module) -> list[Tensor]:
    layers = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    kept_dense = {id(layer) for layer in layers if isinstance(layer, nn.Conv2d) and layer.groups > 1}
    if layers and isinstance(layers[0], nn.Conv2d):
        kept_dense |= {id(layers[0]), id(layers[-1])}
    weights: list[Tensor] = [layer.weight for layer in layers if id(layer) not in kept_dense]
    for module in network.modules():
        if isinstance(module, nn.LSTM):
            weights += [weight for name, weight in module.named_parameters() if name.startswith("weight")]
    return weights
