"""Where the output of a layer goes next: through batch norms, activations and dropout, by the identity of tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from ..record import arguments
from ..untouched import copied, untouched
from .context import Context

__all__ = ["Follower", "followed_outputs", "layers_of"]

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d)
_PASSING = (
    nn.BatchNorm1d, nn.BatchNorm2d, nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.GELU, nn.SiLU, nn.ELU, nn.Hardswish, nn.Mish,
    nn.Sigmoid, nn.Tanh, nn.Softplus, nn.Dropout, nn.Dropout2d, nn.Identity,
)  # fmt: skip


def layers_of(context: Context, criterion: str) -> dict[str, nn.Module]:
    """The Linear or Conv module of each weight.

    Raises:
        ValueError: a weight of another module.
    """
    found: dict[str, nn.Module] = {}
    for name in context.weights:
        layer, _, attribute = name.rpartition(".")
        module = context.model.get_submodule(layer)
        if not isinstance(module, LAYERS) or attribute != "weight":
            raise ValueError(
                f"importance {criterion!r}: {name!r}: expected the weight of a Linear, Conv1d or Conv2d, got that of "
                f"{type(module).__name__}: name the layer in ignored_layers, or take another importance"
            )
        found[name] = module
    return found


class Follower(AbstractContextManager["Follower"]):
    """While entered, each forward pass of the model ends with ``seen(name, tensor, path)`` for every call of a layer:
    the layer's output as it is after the modules in ``path``, which changes each number on its own."""

    def __init__(
        self, model: nn.Module, layers: Mapping[str, nn.Module], seen: Callable[[str, Tensor, list[nn.Module]], None]
    ) -> None:
        self._model, self._layers, self._seen = model, layers, seen
        self._open: dict[int, tuple[str, Tensor, list[nn.Module]]] = {}
        self._hooks = ExitStack()

    def __enter__(self) -> Follower:
        names = {id(module): name for name, module in self._layers.items()}
        for module in self._model.modules():
            if id(module) in names:
                hook = module.register_forward_hook(self._starts(names[id(module)]))
                self._hooks.callback(hook.remove)
            elif isinstance(module, _PASSING):
                self._hooks.callback(module.register_forward_hook(self._goes_on).remove)
        return self

    def __exit__(self, *_: object) -> None:
        self._hooks.close()

    def finish(self) -> None:
        """After a forward pass: tells what was seen."""
        for name, tensor, path in self._open.values():
            self._seen(name, tensor, path)
        self._open.clear()

    def _starts(self, name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            self._open[id(output)] = (name, output, [])  # holds the tensor, so that its id stays its own

        return hook

    def _goes_on(self, module: nn.Module, args: Any, output: Any) -> None:
        if args and id(args[0]) in self._open and isinstance(output, Tensor):
            name, _, path = self._open.pop(id(args[0]))
            self._open[id(output)] = (name, output, [*path, module])


def followed_outputs(context: Context) -> dict[str, list[nn.Module]]:
    """The modules that the output of each Linear or Conv layer goes through, by one pass over the example inputs."""
    context.check_runnable("bn_scale")
    layers = {
        name: module
        for name in context.weights
        if isinstance(module := context.model.get_submodule(name.rpartition(".")[0]), LAYERS)
    }
    context.check_runnable("bn_scale")
    paths: dict[str, list[nn.Module]] = {}
    args, kwargs = arguments(copied(context.example_inputs))
    with (
        untouched([context.model]),
        torch.no_grad(),
        Follower(context.model, layers, lambda name, _, path: paths.update({name: path})) as follower,
    ):
        context.model(*args, **kwargs)
        follower.finish()
    return paths
