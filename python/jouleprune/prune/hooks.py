"""The reparametrization of ``torch.nn.utils.prune``: ``name_orig`` is the parameter, ``name_mask`` a buffer, and a
forward pre-hook makes ``name`` their product. What torch's leaves to be wished is mended here:

- a module can be deep-copied at any time, also after a forward pass (pytorch#37322);
- the buffer has the dtype and device of the parameter, whatever scores or masks were given (pytorch#57631);
- when a mask cannot be computed the module is as before, also when it was pruned already;
- ``remove`` writes into the parameter's own memory, so that flat weights of RNNs and views stay what they are.
"""

from __future__ import annotations

import copy
import weakref
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import prune as torch_prune

__all__ = ["BasePruningMethod", "PruningContainer", "bake", "hook_on", "methods_of"]


class BasePruningMethod(torch_prune.BasePruningMethod):
    """Base of pruning methods; a subclass gives ``PRUNING_TYPE`` and ``compute_mask(t, default_mask)`` as in torch."""

    #: The pruned module. Weak, so that module and hook do not keep each other alive.
    _module: weakref.ref[nn.Module] | None = None

    @classmethod
    def apply(
        cls, module: nn.Module, name: str, *args: Any, importance_scores: Tensor | None = None, **kwargs: Any
    ) -> BasePruningMethod:
        """Prunes ``module.name`` by a new method of this class, on top of what was pruned before.

        Args:
            module: holds the parameter.
            name: of the parameter within ``module``.
            args, kwargs: of the class.
            importance_scores: shape of the parameter; takes its place when the mask is computed.
        Returns:
            The hook: the method itself, or the container that holds it and those before it.
        Raises:
            AttributeError: the module has no ``name``.
            ValueError: ``name`` is no parameter, or the scores have another shape. Nothing has changed, as with any
            error that ``compute_mask`` raises.
        """
        key, old = hook_on(module, name)
        parameter = _parameter(module, name, old is not None)
        scores = _scores(module, name, importance_scores)
        method = cls(*args, **kwargs)
        method._tensor_name = name
        hook: Any = method  # Any: torch's methods are untyped
        if old is None:
            default_mask = torch.ones_like(parameter, requires_grad=False)
        else:
            hook = PruningContainer(*methods_of(old), method)
            default_mask = module.get_buffer(name + "_mask").clone(memory_format=torch.contiguous_format)
        mask = hook.compute_mask(scores, default_mask=default_mask)
        mask = mask.detach().to(dtype=parameter.dtype, device=parameter.device)
        hook._module = weakref.ref(module)

        # Nothing fails from here on.
        if old is None:
            del module._parameters[name]
            module.register_parameter(name + "_orig", parameter)
        module.register_buffer(name + "_mask", mask)
        setattr(module, name, hook.apply_mask(module))
        if key is None:
            module.register_forward_pre_hook(hook)
        else:  # in its place: hooks of other tensors keep theirs
            module._forward_pre_hooks[key] = hook
        pruned: BasePruningMethod = hook
        return pruned

    def remove(self, module: nn.Module) -> None:
        """Makes ``name`` a parameter again, pruned for good: the one that was ``name_orig``. The hook stays; the
        function :func:`jouleprune.prune.remove` takes it off too."""
        bake(module, self)

    def __deepcopy__(self, memo: dict[int, Any]) -> BasePruningMethod:
        """Copies the pruned tensor of a module that is being copied, which torch refuses to because it is no leaf:
        hooks come before attributes in a module, so the copy is there when its turn comes."""
        other = type(self).__new__(type(self))
        memo[id(self)] = other
        for key, value in self.__dict__.items():
            if key != "_module":
                other.__dict__[key] = copy.deepcopy(value, memo)
        module = None if self._module is None else self._module()
        twin = None if module is None else memo.get(id(module))
        if module is not None and twin is not None:
            other._module = weakref.ref(twin)
            _copy_pruned(module, self._tensor_name, memo)
        return other

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_module": None if self._module is None else self._module()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        module = state.get("_module")
        self._module = None if module is None else weakref.ref(module)


class PruningContainer(BasePruningMethod, torch_prune.PruningContainer):
    """The methods that pruned one tensor one after the other, the latest last.

    Args:
        args: methods, or one iterable of them, all of one tensor.
    """

    def __init__(self, *args: Any) -> None:
        self._pruning_methods: tuple[torch_prune.BasePruningMethod, ...] = ()
        listed = len(args) == 1 and not isinstance(args[0], torch_prune.BasePruningMethod)
        methods = tuple(args[0]) if listed else args
        if methods:
            self._tensor_name = methods[0]._tensor_name
        for method in methods:
            self.add_pruning_method(method)

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """What the latest method leaves of ``default_mask``, in the dtype of ``t``.

        Methods of this library choose among what is left in place. Others get the part of ``t`` that is left, by their
        ``PRUNING_TYPE``, as in torch.
        """
        method: Any = self._pruning_methods[-1]
        if not chooses_in_place(method):
            theirs: Any = super()
            mask: Tensor = theirs.compute_mask(t, default_mask)
            return mask
        kept: Tensor = method._kept(t, default_mask != 0)
        return default_mask.to(t.dtype) * kept


def chooses_in_place(method: torch_prune.BasePruningMethod, how: str = "_kept") -> bool:
    """Whether ``method`` has a rule ``_kept(t, left)`` that says the same as its ``compute_mask``: the class that
    defines the one defines the other, so that a subclass which overrides ``compute_mask`` alone is heard."""
    for base in type(method).__mro__:
        if "compute_mask" in vars(base):
            return how in vars(base)
    return False


def hook_on(module: nn.Module, name: str) -> tuple[int | None, torch_prune.BasePruningMethod | None]:
    """The pruning hook of ``module.name``, ours or torch's, and its key.

    Raises:
        ValueError: several, which no function of either library leaves behind.
    """
    found = [
        (key, hook)
        for key, hook in module._forward_pre_hooks.items()
        if isinstance(hook, torch_prune.BasePruningMethod) and getattr(hook, "_tensor_name", None) == name
    ]
    if len(found) > 1:
        raise ValueError(f"name: {name!r} of {type(module).__name__} has {len(found)} pruning hooks: use a container")
    return found[0] if found else (None, None)


def methods_of(hook: torch_prune.BasePruningMethod) -> tuple[torch_prune.BasePruningMethod, ...]:
    """The methods of a container, or the method alone."""
    return tuple(hook) if isinstance(hook, torch_prune.PruningContainer) else (hook,)


@torch.no_grad()
def bake(module: nn.Module, hook: torch_prune.BasePruningMethod) -> None:
    """Writes the zeros of a hook's mask into the parameter, which takes its own name again."""
    name = getattr(hook, "_tensor_name", None)
    if name is None or name + "_orig" not in module._parameters:
        raise ValueError(f"remove: {name!r} of {type(module).__name__} has to be pruned before pruning can be removed")
    parameter = module.get_parameter(name + "_orig")
    pruned: Tensor = hook.apply_mask(module)
    parameter.data.copy_(pruned)
    module.__dict__.pop(name, None)
    del module._parameters[name + "_orig"]
    del module._buffers[name + "_mask"]
    setattr(module, name, parameter)  # RNNs note it in their list of flat weights
    if isinstance(module, nn.RNNBase):
        module.flatten_parameters()  # moved while it was pruned, its weights may lie apart


def _parameter(module: nn.Module, name: str, pruned: bool) -> nn.Parameter:
    parameter = module._parameters.get(name + "_orig" if pruned else name)
    if parameter is None:
        value = getattr(module, name)  # raises AttributeError with torch's sentence
        raise ValueError(f"name: expected a parameter of {type(module).__name__}, but {name!r} is {_what(value)}")
    return parameter


def _what(value: Any) -> str:
    if value is None:
        return "None"
    return "computed from others, as by a parametrization" if isinstance(value, Tensor) else f"a {type(value).__name__}"


def _scores(module: nn.Module, name: str, importance_scores: Tensor | None) -> Tensor:
    tensor: Tensor = getattr(module, name)
    if importance_scores is None:
        return tensor
    if not isinstance(importance_scores, Tensor):
        raise TypeError(f"importance_scores: expected a tensor, got {type(importance_scores).__name__}")
    if importance_scores.shape != tensor.shape:
        raise ValueError(
            f"importance_scores: expected the shape of {name!r} of {type(module).__name__}, {list(tensor.shape)}, "
            f"got {list(importance_scores.shape)}"
        )
    return importance_scores.to(tensor.device)


def _copy_pruned(module: nn.Module, name: str, memo: dict[int, Any]) -> None:
    """The product of the copied mask and the copied parameter takes the place of the copied product."""
    pruned = module.__dict__.get(name)
    if not isinstance(pruned, Tensor) or id(pruned) in memo:
        return
    parameter = copy.deepcopy(module._parameters[name + "_orig"], memo)
    mask = copy.deepcopy(module._buffers[name + "_mask"], memo)
    assert parameter is not None and mask is not None
    with torch.set_grad_enabled(pruned.requires_grad):
        memo[id(pruned)] = mask.to(dtype=parameter.dtype) * parameter
