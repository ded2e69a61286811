"""Running a model without leaving a trace in it: what is saved before, and put back after, also when it raises."""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn.utils.rnn import PackedSequence
from torch.utils._python_dispatch import _disable_current_modes

__all__ = ["copied", "has_no_data", "tensors_in", "untouched"]

_CONTAINERS = (dict, OrderedDict, list, set)


@contextmanager
def untouched(roots: Sequence[torch.nn.Module]) -> Iterator[None]:
    """In eval mode, without gradients, off torch's fused attention path; afterwards ``roots`` are as before.

    Restored: modes, attributes and registries of every module, contents of buffers and of tensors held as attributes,
    ``.grad`` and ``requires_grad`` of parameters, the generators of the CPU and of an initialised CUDA.
    """
    modules = list({id(module): module for root in roots for module in root.modules()}.values())
    parameters = list({id(p): p for root in roots for p in root.parameters()}.values())
    saved = [_Scripted(module) if isinstance(module, torch.jit.ScriptModule) else _Eager(module) for module in modules]
    gradients = [(parameter, parameter.requires_grad, parameter.grad) for parameter in parameters]
    fast_path = torch.backends.mha.get_fastpath_enabled()
    with _disable_current_modes():
        contents = _Contents(_mutable_tensors(roots, modules))
        generator = torch.get_rng_state()
        cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    try:
        for parameter in parameters:  # a backward pass inside the forward would add to the gradients in place
            if parameter.grad is not None:
                parameter.grad = None
        for module in modules:
            if getattr(module, "training", False):
                module.training = False
        torch.backends.mha.set_fastpath_enabled(False)
        with torch.no_grad():
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)
        for state in saved:
            state.restore()
        with _disable_current_modes():
            contents.restore()
            torch.set_rng_state(generator)
            if cuda:
                torch.cuda.set_rng_state_all(cuda)
        for parameter, requires_grad, gradient in gradients:
            if parameter.requires_grad != requires_grad:
                parameter.requires_grad_(requires_grad)
            if parameter.grad is not gradient:
                parameter.grad = gradient


class _Eager:
    """Attributes and registries of one module, and the items of the containers among them."""

    def __init__(self, module: torch.nn.Module) -> None:
        self._module = module
        self._attributes = dict(module.__dict__)
        self._items = [  # registries and hooks are containers too
            (value, value.copy()) for value in self._attributes.values() if type(value) in _CONTAINERS
        ]

    def restore(self) -> None:
        for container, items in [(self._module.__dict__, self._attributes), *self._items]:
            if _same_items(container, items):
                continue
            if isinstance(container, dict) and list(container) == list(items):
                container.update(items)
                continue
            container.clear()
            container.extend(items) if isinstance(container, list) else container.update(items)


class _Scripted:
    """A scripted module keeps its state in C++; its mode is all that eval changes."""

    def __init__(self, module: torch.nn.Module) -> None:
        self._module = module
        self._training = getattr(module, "training", None)  # frozen modules have none

    def restore(self) -> None:
        if self._training is not None and self._module.training != self._training:
            self._module.training = self._training


class _Contents:
    """Copies of tensors, written back into those that were written to; their version counters stay as they were."""

    def __init__(self, tensors: list[torch.Tensor]) -> None:
        self._saved = [
            (tensor, tensor.detach().clone(), _version(tensor)) for tensor in tensors if not has_no_data(tensor)
        ]

    def restore(self) -> None:
        for tensor, content, version in self._saved:
            # The version alone does not tell: batch norm writes its statistics without counting.
            if _version(tensor) == version and torch.equal(tensor, content):
                continue
            with torch.inference_mode(tensor.is_inference()), torch.no_grad():
                if tensor.shape != content.shape:
                    tensor.resize_(content.shape)
                tensor.copy_(content)
            if version is not None:
                # Otherwise a graph that saved the buffer before the recording could not run backward any more.
                torch._C._autograd._unsafe_set_version_counter((tensor,), (version,))


def _mutable_tensors(roots: Sequence[torch.nn.Module], modules: Sequence[torch.nn.Module]) -> list[torch.Tensor]:
    """Buffers, and tensors that modules hold as plain attributes."""
    tensors = [buffer for root in roots for buffer in root.buffers()]
    for module in modules:
        if not isinstance(module, torch.jit.ScriptModule):
            tensors += [
                value for value in module.__dict__.values() if isinstance(value, torch.Tensor) and value.is_leaf
            ]
    return list({id(tensor): tensor for tensor in tensors}.values())


def _version(tensor: torch.Tensor) -> int | None:
    return None if tensor.is_inference() else tensor._version


def _same_items(left: Any, right: Any) -> bool:
    """Equal by identity of the items, in order: comparing tensors by value would be slow, or raise."""
    if len(left) != len(right):
        return False
    if isinstance(left, dict):
        return all(a is b and left[a] is right[b] for a, b in zip(left, right, strict=True))
    return all(a is b for a, b in zip(left, right, strict=True))


def copied(value: Any, seen: dict[int, Any] | None = None) -> Any:
    """A copy of nested inputs for a model to scribble on; what was one tensor in two places stays one."""
    seen = {} if seen is None else seen
    if id(value) in seen:
        return seen[id(value)]
    result = value
    if isinstance(value, torch.Tensor):
        with _disable_current_modes():
            result = value.detach().clone().requires_grad_(value.requires_grad)
    elif isinstance(value, PackedSequence) or (isinstance(value, tuple) and hasattr(value, "_fields")):
        result = type(value)(*(copied(item, seen) for item in value))
    elif type(value) in (tuple, list):
        result = type(value)(copied(item, seen) for item in value)
    elif type(value) in (dict, OrderedDict):
        result = type(value)((key, copied(item, seen)) for key, item in value.items())
    seen[id(value)] = result
    return result


def has_no_data(tensor: torch.Tensor) -> bool:
    """True for fake and meta tensors: shapes without numbers."""
    fake = sys.modules.get("torch._subclasses.fake_tensor")
    return tensor.is_meta or (fake is not None and isinstance(tensor, fake.FakeTensor))


def tensors_in(value: Any) -> Iterator[torch.Tensor]:
    """The tensors of nested inputs, in order."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from tensors_in(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from tensors_in(item)
