"""Which channels of which modules go together: Torch-Pruning's dependency graph, and a check of what it says.

Source: Fang et al., DepGraph: Towards Any Structural Pruning, CVPR 2023. The graph knows ops by their names, so it can
be wrong about reshapes, unusual modules and ops between channels. Each group is therefore tried: the network without
every other unit of it must compute what the network computes when nobody reads these units. A group that fails stays
whole, and is reported.
"""

from __future__ import annotations

import copy
import importlib
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from ..record import arguments
from ..untouched import copied, tensors_in, untouched
from .cutting import Kept, cut_modules
from .recurrent import Recurrent
from .sides import is_depthwise, is_grouped, sides_of
from .standins import StandIn, standing_in
from .visits import Visits

__all__ = ["ChannelGroup", "Member", "channel_groups", "places_of", "torch_pruning"]


def torch_pruning() -> Any:
    """The package.

    Raises:
        ImportError: it is not installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module("torch_pruning")
    except ImportError as error:
        raise ImportError("pruning of channels needs Torch-Pruning: pip install 'jouleprune[structured]'") from error


@dataclass(frozen=True)
class Member:
    """One side of a module in a group: ``positions[i]`` of it belong to channel i of the group."""

    module: str
    side: str
    positions: tuple[tuple[int, ...], ...]

    @cached_property
    def table(self) -> Tensor | None:
        """int64 [channels, positions of each]; None where channels have different numbers of them."""
        return torch.tensor(self.positions) if len({len(each) for each in self.positions}) == 1 else None


@dataclass(frozen=True)
class ChannelGroup:
    """Channels that several modules share. They come in ``parts`` of equal size, each of which loses as many as the
    others (groups of a convolution, directions of a recurrent layer)."""

    root: str
    kind: str
    """"filter", "neuron" or "hidden"."""
    channels: int
    parts: int
    members: tuple[Member, ...]

    @property
    def each(self) -> int:
        """Channels of a part: what can go are bundles of one channel from each part."""
        return self.channels // self.parts

    def at(self, member: Member, channels: Sequence[int]) -> list[int]:
        """Positions of the channels on that side."""
        return [position for channel in channels for position in member.positions[channel]]

    def arrange(self, index: Tensor, member: Member, stay: Tensor) -> None:
        """Writes into ``index`` [positions], the present places by future place (-1: gone), that of each part the
        channels ``stay`` [parts, kept] stay, in that order."""
        slots = torch.arange(self.channels).reshape(self.parts, self.each)
        filled, left_over = slots[:, : stay.shape[1]].flatten(), slots[:, stay.shape[1] :].flatten()
        if member.table is not None:
            index[member.table[filled]] = member.table[stay.flatten()]
            index[member.table[left_over]] = -1
            return
        for slot, channel in zip(filled.tolist(), stay.flatten().tolist(), strict=True):
            index[list(member.positions[slot])] = torch.tensor(member.positions[channel], dtype=torch.int64)
        index[self.at(member, left_over.tolist())] = -1


def channel_groups(model: nn.Module, example_inputs: Any) -> tuple[list[ChannelGroup], list[str]]:
    """Groups of the model's channels that can go, in the order of its modules; and a sentence on each that cannot.

    Raises:
        ImportError: Torch-Pruning is not installed.
        RuntimeError: the network cannot be traced.
    """
    package = torch_pruning()
    traced = copy.deepcopy(model)
    inner_of = standing_in(traced)
    names = {module: name for name, module in traced.named_modules()}
    with untouched([traced]), torch.enable_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for parameter in traced.parameters():
            parameter.requires_grad_(True)
        graph = package.DependencyGraph()
        try:
            graph.build_dependency(
                traced, None, verbose=False, customized_pruners={StandIn: _stand_in_pruner(package)()},
                forward_fn=lambda network, _: _forward(network, example_inputs),
                output_transform=lambda outputs: [
                    tensor for tensor in tensors_in(outputs) if tensor.grad_fn is not None
                ],
            )  # fmt: skip
            roots = (nn.modules.conv._ConvNd, nn.Linear, StandIn)
            visits = Visits(graph.module2node.values())
            raw = []
            for group in graph.get_all_groups(root_module_types=roots):
                raw.append(group)
                visits.done = 0
        except Exception as error:  # whatever the graph's builder stumbles on is about this network
            raise RuntimeError(f"model: its dependencies cannot be traced: {type(error).__name__}: {error}") from error
    found, refused = [], []
    for group in raw:
        root = names[group[0].dep.target.module]
        try:
            made = _group(group, graph, names, inner_of, root)
            reason = _why_wrong(model, example_inputs, made)
        except ValueError as error:
            reason = str(error)
        if reason:
            refused.append(f"{root}: {reason}")
        else:
            found.append(made)
    order = {name: place for place, name in enumerate(names.values())}
    return sorted(found, key=lambda group: order.get(group.root, order.get(group.root + ".inner", 0))), refused


def _forward(network: nn.Module, example_inputs: Any) -> Any:
    args, kwargs = arguments(copied(example_inputs))
    return network(*args, **kwargs)


def _stand_in_pruner(package: Any) -> type:
    class StandInPruner(package.pruner.function.BasePruningFunc):  # type: ignore[misc]
        """Widths only: nothing is cut through Torch-Pruning."""

        def prune_out_channels(self, layer: Any, idxs: Any) -> Any:
            return layer

        def prune_in_channels(self, layer: Any, idxs: Any) -> Any:
            return layer

        def get_out_channels(self, layer: StandIn) -> int:
            inner: Any = layer.inner
            if isinstance(inner, nn.MultiheadAttention):
                return int(inner.embed_dim)
            return int((inner.proj_size or inner.hidden_size) * (2 if inner.bidirectional else 1))

        def get_in_channels(self, layer: StandIn) -> int:
            inner: Any = layer.inner
            return int(inner.embed_dim if isinstance(inner, nn.MultiheadAttention) else inner.input_size)

    return StandInPruner


def _group(group: Any, graph: Any, names: dict[Any, str], inner_of: dict[Any, Any], root: str) -> ChannelGroup:
    """Torch-Pruning's group in our terms.

    Raises:
        ValueError: it holds something that cannot be cut; the message says what.
    """
    channels, members, parts = len(group[0].idxs), [], 1
    for item in group:
        module = item.dep.target.module
        if isinstance(module, graph.ops._OutputOp):
            raise ValueError("its channels are an output of the network")
        if isinstance(module, nn.Parameter):
            raise ValueError("its channels meet a parameter that belongs to no layer")
        if not isinstance(module, nn.Module) or type(module).__module__.startswith("torch_pruning"):
            continue  # an op: it has no weights
        name = names[module].removesuffix(".inner")
        inner = inner_of.get(module, module)
        if sides_of(inner) is None or getattr(inner, "proj_size", False):
            raise ValueError(f"its channels go through {name}, a {type(inner).__name__} that cannot be made smaller")
        out = graph.is_out_channel_pruning_fn(item.dep.handler)
        side = "out" if out else "in"
        positions: list[list[int]] = [[] for _ in range(channels)]
        roots = item.root_idxs
        for place, channel in zip(item.idxs, roots, strict=True):
            if channel is None or not 0 <= channel < channels:
                raise ValueError(f"its channels reach {name} in a way that is not followed")
            positions[channel].append(place)
        members.append(Member(name, side, tuple(tuple(sorted(each)) for each in positions)))
        parts = max(parts, _parts_of(inner, side))
    if channels % parts:
        raise ValueError(f"{channels} channels do not divide into {parts} groups")
    first = members[0]
    kind = {"Linear": "neuron", "LSTM": "hidden", "GRU": "hidden"}.get(
        type(inner_of.get(group[0].dep.target.module, group[0].dep.target.module)).__name__, "filter"
    )
    return ChannelGroup(first.module, kind, channels, parts, tuple(members))


def _parts_of(module: nn.Module, side: str) -> int:
    if is_grouped(module):
        assert isinstance(module, nn.modules.conv._ConvNd)
        return module.groups
    return 2 if isinstance(module, nn.RNNBase) and module.bidirectional and side == "out" else 1


def _why_wrong(model: nn.Module, example_inputs: Any, group: ChannelGroup) -> str:
    """Empty when the network without every other unit computes what it does when nobody reads these units."""
    each = group.channels // group.parts
    if each < 2:
        return "it has one unit only"
    stay = torch.arange(group.channels).reshape(group.parts, each)[:, ::2]
    gone = sorted(set(range(group.channels)) - set(stay.flatten().tolist()))
    reference, smaller = copy.deepcopy(model).eval(), copy.deepcopy(model).eval()
    readers = 0
    for member in group.members:
        module, side = reference.get_submodule(member.module), member.side
        positions = torch.tensor(group.at(member, gone))
        sides = sides_of(module)
        assert sides is not None
        if side == "in" and not is_depthwise(module):
            sides.mute(module, positions)
            readers += 1
        if isinstance(module, nn.RNNBase) and side == "out":
            Recurrent().mute_hidden(module, positions)
    if readers == 0:
        return "nobody reads its channels but the network's outputs"
    try:
        cut_modules(smaller, places_of(smaller, [(group, stay)]))
        with torch.no_grad():
            outputs = [_outputs(network, example_inputs) for network in (reference, smaller)]
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        return f"without some of its channels the network does not run: {str(error).splitlines()[0]}"
    for before, after in zip(*outputs, strict=True):
        if before.shape != after.shape:
            return f"its channels are an output of the network, {list(before.shape)} would be {list(after.shape)}"
        if not _close(before, after):
            return "others depend on its channels than those that the graph knows"
    return ""


def places_of(model: nn.Module, staying: Iterable[tuple[ChannelGroup, Tensor]]) -> dict[str, Kept]:
    """Places to keep by module, when of each group these channels [parts, kept] stay."""
    index: dict[tuple[str, str], Tensor] = {}
    for group, stay in staying:
        for member in group.members:
            module = model.get_submodule(member.module)
            sides = sides_of(module)
            assert sides is not None
            key = (member.module, member.side)
            if key not in index:
                index[key] = torch.arange(sides.size(module, member.side))
            group.arrange(index[key], member, stay)
    kept: dict[str, Kept] = {}
    for (name, side), places in index.items():
        entry = kept.setdefault(name, Kept())
        if side == "out":
            entry.out = places[places >= 0]
        else:
            entry.into = places[places >= 0]
    return kept


def _outputs(network: nn.Module, example_inputs: Any) -> list[Tensor]:
    try:
        wide = copied(example_inputs)
        return list(tensors_in(_forward(network.double(), _as_double(wide))))
    except RuntimeError:  # a network that names its type
        return list(tensors_in(_forward(network.float(), example_inputs)))


def _as_double(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.double() if value.is_floating_point() else value
    if isinstance(value, dict):
        return {key: _as_double(item) for key, item in value.items()}
    if type(value) in (tuple, list):
        return type(value)(_as_double(item) for item in value)
    return value


def _close(before: Tensor, after: Tensor) -> bool:
    if not before.is_floating_point():
        return bool(torch.equal(before, after))
    tolerance = 1e-9 if before.dtype == torch.float64 else 1e-4
    scale = float(before.abs().max().clamp_min(1e-30)) if before.numel() else 1.0
    return bool((before - after).abs().max() <= tolerance * scale) if before.numel() else True
