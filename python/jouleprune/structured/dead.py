"""Units that do nothing: nobody reads them, or they say the same whatever comes in."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ..record import arguments
from ..selection import plain_module
from ..untouched import copied, untouched
from .graph import ChannelGroup, channel_groups, places_of
from .optimizer import move_optimizer
from .sides import Cut, is_depthwise, sides_of
from .structure import Structure, smaller_copy

__all__ = ["Removed", "remove_dead_units"]


@dataclass(frozen=True)
class Removed:
    """The network without its dead units; ``units`` that went, by the group's first layer; ``rounds`` until none was
    left."""

    model: nn.Module = field(repr=False)
    units: dict[str, int]
    rounds: int


def remove_dead_units(
    model: nn.Module, example_inputs: Any, *, optimizer: torch.optim.Optimizer | None = None
) -> Removed:
    """A copy of ``model`` without units that have no live output or no live input; the function it computes stays.

    A unit has no live output when all weights that read it are zero. It has no live input when all weights that make it
    are zero: what it then says, its bias after the norms and activations that follow, goes into the biases of its
    readers. Where zeros that pad an image would be mixed with such a constant, or there is no bias to take it, the
    unit stays. One removal can leave others dead, so this repeats until none is left. Of each group one unit stays, and
    parts of a group lose as many as each other. Needs Torch-Pruning (extra ``structured``).

    Raises:
        ImportError: Torch-Pruning is not installed.
        ValueError: ``optimizer`` trains none of the model's parameters.
    """
    current, gone, rounds = copy.deepcopy(plain_module(model)), dict[str, int](), 0
    before, steps = plain_module(model), list[dict[str, Cut]]()
    while True:
        groups, _ = channel_groups(current, example_inputs)
        staying, lost = [], dict[str, int]()
        constants = _constants(current, example_inputs, groups)
        for group in groups:
            dead = _unread(current, group) | _unfed(current, group, constants)
            stay = _in_equal_parts(group, ~dead)
            if stay.numel() < group.channels:
                staying.append((group, stay))
                lost[group.root] = group.channels - stay.numel()
        if not staying:
            break
        for group, stay in staying:
            _fold(current, group, stay, constants)
        places = places_of(current, staying)
        structure = Structure(
            {name: tuple(kept.out.tolist()) for name, kept in places.items() if kept.out is not None},
            {name: tuple(kept.into.tolist()) for name, kept in places.items() if kept.into is not None},
        )
        current, cuts = smaller_copy(current, structure)
        steps.append(cuts)
        rounds += 1
        for name, count in lost.items():
            gone[name] = gone.get(name, 0) + count
    if optimizer is not None:
        move_optimizer(optimizer, before, current, _in_turn(steps))
    return Removed(current, gone, rounds)


def _in_turn(steps: list[dict[str, Cut]]) -> dict[str, Cut]:
    def all_of(name: str) -> Cut:
        def cut(tensor: Tensor) -> Tensor:
            for step in steps:
                tensor = step[name](tensor) if name in step else tensor
            return tensor

        return cut

    return {name: all_of(name) for name in {name for step in steps for name in step}}


def _in_equal_parts(group: ChannelGroup, alive: Tensor) -> Tensor:
    """int64 [parts, kept]: the living and, where a part has fewer of them than another, dead ones beside."""
    by_part = alive.reshape(group.parts, -1)
    count = max(1, int(by_part.sum(1).max()))
    ranked = (~by_part).to(torch.int64).argsort(dim=1, stable=True)[:, :count].sort(dim=1).values
    return ranked + torch.arange(group.parts).unsqueeze(1) * group.each


def _readers(model: nn.Module, group: ChannelGroup) -> list[tuple[str, nn.Module, Any]]:
    return [
        (member.module, model.get_submodule(member.module), member)
        for member in group.members
        if member.side == "in" and not is_depthwise(model.get_submodule(member.module))
    ]


def _weights(module: nn.Module) -> dict[str, Tensor]:
    return {name: p.detach().abs() for name, p in module._parameters.items() if p is not None and p.dim() >= 2}


def _unread(model: nn.Module, group: ChannelGroup) -> Tensor:
    """bool [channels]: all weights that read the channel are zero."""
    dead = torch.ones(group.channels, dtype=torch.bool)
    for _, module, member in _readers(model, group):
        sides = sides_of(module)
        assert sides is not None
        sums = sides.sums(module, "in", _weights(module))
        dead &= torch.tensor([float(sums[list(places)].sum()) == 0 for places in member.positions])
    if group.kind == "hidden":  # the layer reads its own units
        module = model.get_submodule(group.root)
        sides = sides_of(module)
        assert sides is not None
        within = {
            name: w if name.startswith("weight_hh") else torch.zeros_like(w) for name, w in _weights(module).items()
        }
        columns = {name: _columns_only(w) for name, w in within.items()}
        dead &= (sides.sums(module, "out", columns) == 0) & torch.tensor(module.num_layers == 1)
    return dead


def _columns_only(weight: Tensor) -> Tensor:
    """The sums of its columns in one row that belongs to no other unit's: [gates * hidden, hidden] with the column
    sums on the diagonal."""
    found = torch.zeros_like(weight)
    units = torch.arange(weight.shape[1])
    found[units, units] = weight.sum(0)
    return found


def _unfed(model: nn.Module, group: ChannelGroup, constants: dict[str, tuple[Tensor, Tensor]]) -> Tensor:
    """bool [channels]: all weights that make the channel are zero, and what it says can be folded into its readers."""
    dead = torch.ones(group.channels, dtype=torch.bool)
    if group.kind == "hidden":
        return ~dead
    for member in group.members:
        module = model.get_submodule(member.module)
        if member.side != "out" or not _weights(module) or is_depthwise(module):
            continue
        sides = sides_of(module)
        assert sides is not None
        sums = sides.sums(module, "out", _weights(module))
        dead &= torch.tensor([float(sums[list(places)].sum()) == 0 for places in member.positions])
    for name, module, member in _readers(model, group):
        steady, values = constants.get(name, (None, None))
        for channel, places in enumerate(member.positions):
            if not dead[channel]:
                continue
            same = steady is not None and bool(steady[list(places)].all())
            silent = same and values is not None and bool((values[list(places)] == 0).all())
            dead[channel] = silent or (same and _takes_constants(module))
    return dead


def _takes_constants(module: nn.Module) -> bool:
    if getattr(module, "bias", None) is None or isinstance(module, nn.RNNBase):
        return False
    if isinstance(module, nn.modules.conv._ConvNd):
        return not module.transposed and not isinstance(module.padding, str) and not any(module.padding)
    return isinstance(module, nn.Linear)


def _constants(model: nn.Module, example_inputs: Any, groups: list[ChannelGroup]) -> dict[str, tuple[Tensor, Tensor]]:
    """By module that reads: (bool [inputs]: the same number everywhere, and that number)."""
    readers = {name: module for group in groups for name, module, _ in _readers(model, group)}
    found: dict[str, tuple[Tensor, Tensor]] = {}

    def looks(name: str, module: nn.Module) -> Any:
        def hook(_: nn.Module, args: tuple[Any, ...]) -> None:
            if isinstance(module, nn.RNNBase) or not args or not isinstance(args[0], Tensor):
                return
            dim = 1 if isinstance(module, nn.modules.conv._ConvNd) else args[0].dim() - 1
            by_input = args[0].detach().movedim(dim, 0).flatten(1)
            steady = (by_input == by_input[:, :1]).all(1).cpu()
            values = by_input[:, 0].cpu()
            if name in found:
                steady &= found[name][0] & (values == found[name][1])
            found[name] = (steady, values)

        return hook

    hooks = [module.register_forward_pre_hook(looks(name, module)) for name, module in readers.items()]
    with untouched([model]):
        args, kwargs = arguments(copied(example_inputs))
        model(*args, **kwargs)
    for hook in hooks:
        hook.remove()
    return found


def _fold(model: nn.Module, group: ChannelGroup, stay: Tensor, constants: dict[str, tuple[Tensor, Tensor]]) -> None:
    """Adds what the channels that go say to the biases of their readers."""
    gone = sorted(set(range(group.channels)) - set(stay.flatten().tolist()))
    for name, module, member in _readers(model, group):
        if name not in constants or not _takes_constants(module):
            continue
        steady, values = constants[name]
        places = torch.tensor([place for place in group.at(member, gone) if bool(steady[place])], dtype=torch.int64)
        said = torch.zeros_like(values)
        said[places] = values[places]
        weight, bias = module.get_parameter("weight").data, module.get_parameter("bias").data
        said = said.to(weight)
        if isinstance(module, nn.modules.conv._ConvNd):
            rows_each = weight.shape[0] // module.groups
            by_row = said.reshape(module.groups, -1).repeat_interleave(rows_each, 0)
            bias += (weight.flatten(2).sum(2) * by_row).sum(1)
        else:
            bias += weight @ said
