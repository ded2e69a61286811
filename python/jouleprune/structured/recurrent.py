"""How LSTM and GRU layers are cut: hidden units, of all layers of the module together, and inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

__all__ = ["Recurrent"]

Cut = Callable[[Tensor], Tensor]


def _gates(module: nn.RNNBase) -> int:
    return 4 if isinstance(module, nn.LSTM) else 3


def _parts(module: nn.RNNBase) -> list[tuple[int, int, str]]:
    """(layer, direction, suffix of its parameters)"""
    directions = 2 if module.bidirectional else 1
    return [
        (layer, direction, f"_l{layer}{'_reverse' if direction else ''}")
        for layer in range(module.num_layers)
        for direction in range(directions)
    ]


class Recurrent:
    """The outputs are [hidden_size] positions per direction. Of several layers, which share one hidden_size, the units
    of the same positions go."""

    def size(self, module: nn.RNNBase, side: str) -> int:
        return module.hidden_size * (2 if module.bidirectional else 1) if side == "out" else module.input_size

    def cuts(self, module: nn.RNNBase, out: Tensor | None, into: Tensor | None) -> dict[str, Cut]:
        hidden, gates, cuts = module.hidden_size, _gates(module), dict[str, Cut]()
        kept = self._by_direction(module, out)
        for layer, direction, suffix in _parts(module):
            units = kept[direction]
            wide = None if units is None else torch.cat([units + gate * hidden for gate in range(gates)])
            cuts["weight_ih" + suffix] = _both(wide, into if layer == 0 else out)
            cuts["weight_hh" + suffix] = _both(wide, units)
            cuts["bias_ih" + suffix] = cuts["bias_hh" + suffix] = _both(wide, None)
        return cuts

    def resize(self, module: nn.RNNBase, out: Tensor | None, into: Tensor | None) -> None:
        if out is not None:
            module.hidden_size = len(out) // (2 if module.bidirectional else 1)
        if into is not None:
            module.input_size = len(into)

    def sums(self, module: nn.RNNBase, side: str, scores: Mapping[str, Tensor]) -> Tensor:
        """Of a hidden unit: its rows in all gates and layers, and what the units of its direction read from it."""
        hidden, gates = module.hidden_size, _gates(module)
        if side == "in":
            first = [
                scores["weight_ih" + suffix].double().cpu().sum(0) for layer, _, suffix in _parts(module) if not layer
            ]
            return torch.stack(first).sum(0)
        found = torch.zeros(2 if module.bidirectional else 1, hidden, dtype=torch.float64)
        for layer, direction, suffix in _parts(module):
            into, within = scores["weight_ih" + suffix].double().cpu(), scores["weight_hh" + suffix].double().cpu()
            found[direction] += into.sum(1).reshape(gates, hidden).sum(0) + within.sum(1).reshape(gates, hidden).sum(0)
            found[direction] += within.sum(0)
            if layer:
                found += into.sum(0).reshape(-1, hidden)
        return found.reshape(-1)

    def mute(self, module: nn.RNNBase, positions: Tensor) -> None:
        for layer, _, suffix in _parts(module):
            if layer == 0:
                module.get_parameter("weight_ih" + suffix).data[:, positions] = 0

    def mute_hidden(self, module: nn.RNNBase, positions: Tensor) -> None:
        """What the layers read from their own hidden units at these positions of the output."""
        gone = torch.zeros(self.size(module, "out"), dtype=torch.bool)
        gone[positions] = True
        for layer, direction, suffix in _parts(module):
            start = direction * module.hidden_size
            module.get_parameter("weight_hh" + suffix).data[:, gone[start : start + module.hidden_size]] = 0
            if layer:
                module.get_parameter("weight_ih" + suffix).data[:, gone] = 0

    def _by_direction(self, module: nn.RNNBase, out: Tensor | None) -> list[Tensor | None]:
        directions = 2 if module.bidirectional else 1
        if out is None:
            return [None] * directions
        if len(out) % directions == 0:
            parts = out.reshape(directions, -1)
            if bool((parts // module.hidden_size == torch.arange(directions).unsqueeze(1)).all()):
                return list(parts % module.hidden_size)
        raise ValueError(f"hidden units: expected as many kept in both directions, got {out.tolist()}")


def _both(out: Tensor | None, into: Tensor | None) -> Cut:
    def cut(tensor: Tensor) -> Tensor:
        kept = tensor if out is None else tensor.index_select(0, out.to(tensor.device))
        return kept if into is None else kept.index_select(1, into.to(tensor.device))

    return cut
