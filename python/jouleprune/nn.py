"""Modules that run pruned weights sparse: ``SparseLinear`` and ``SparseConv2d``, one scriptable class per layout.

``SparseLinear.from_dense(linear)`` gives the class of the layout (``SparseLinearCSR``). Weights are named plain
tensors: the parameter ``values`` (trainable at the kept entries), int32 buffers ``col_indices`` and ``row_offsets``,
the int64 buffer ``key``, the parameter ``bias`` (``docs/formats.md``). There is no ``weight``: read
``to_dense().weight``.

``load_state_dict`` accepts another number of kept weights: ``values`` stays the same Parameter with another size, so
make an optimizer with state (momentum) anew. A module takes a state as a whole or not at all; of a model, torch loads
the modules before the refused one (``jouleprune.load`` checks all first).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from .errors import PatternError
from .ops import pack_csr, prepack_csr, unpack_csr

__all__ = ["SparseConv2d", "SparseConv2dCSR", "SparseLinear", "SparseLinearCSR"]

_STRUCTURE = ("values", "col_indices", "row_offsets", "key")


class _Sparse(nn.Module):
    """What all sparse modules share: the packed weight as parameter and buffers."""

    __jit_unused_properties__ = ("nnz", "density")

    if TYPE_CHECKING:  # TorchScript would read these strings as types at run time
        rows: int
        cols: int
        values: nn.Parameter
        col_indices: Tensor
        row_offsets: Tensor
        key: Tensor
        prepacked: Tensor
        bias: nn.Parameter | None

    def _pack(self, dense: nn.Linear | nn.Conv2d, mask: Tensor | None) -> None:
        weight = dense.weight.detach()
        if mask is not None and not isinstance(mask, Tensor):
            raise ValueError(f"mask: expected a bool tensor, got {type(mask).__name__}")
        if mask is not None and (mask.dtype != torch.bool or mask.shape != weight.shape):
            raise ValueError(
                f"mask: expected bool {list(weight.shape)} like the weight, got {mask.dtype} {list(mask.shape)}"
            )
        values, col_indices, row_offsets, key = pack_csr(weight, mask)
        self.rows, self.cols = weight.shape[0], weight[0].numel() if weight.shape[0] else weight.numel()
        self.values = nn.Parameter(values, requires_grad=dense.weight.requires_grad)
        self.register_buffer("col_indices", col_indices)
        self.register_buffer("row_offsets", row_offsets)
        self.register_buffer("key", key)
        self.register_buffer("prepacked", prepack_csr(values, col_indices, row_offsets, self.cols), persistent=False)
        if dense.bias is None:
            self.register_parameter("bias", None)
        else:
            self.bias = nn.Parameter(dense.bias.detach().clone(), requires_grad=dense.bias.requires_grad)
        self.train(dense.training)

    @property
    def nnz(self) -> int:
        """Kept weights."""
        return self.values.numel()

    @property
    def density(self) -> float:
        """Share of kept weights, 0 to 1."""
        return self.nnz / max(1, self.rows * self.cols)

    def _load_from_state_dict(
        self,
        state_dict: Mapping[str, Any],
        prefix: str,
        local_metadata: Any,
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        """Checks everything first; takes all of it, with another nnz if need be, or nothing.

        A part of a module's state is an error even when ``strict=False``: values without their columns mean nothing.
        """
        names = _STRUCTURE if self.bias is None else (*_STRUCTURE, "bias")
        found = {name: state_dict[prefix + name] for name in names if prefix + name in state_dict}
        if found:
            defect = self._defect(found)
            if defect:
                error_msgs.append(f"{prefix.rstrip('.') or type(self).__name__}: {defect}")
                return
            if self.values.shape != found["values"].shape:
                with torch.no_grad():  # the Parameter stays the same object
                    self.values.data = self.values.data.new_empty(found["values"].shape)
                    self.values.grad = None
                    self.col_indices = self.col_indices.new_empty(found["col_indices"].shape)
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )
        if found:
            self.prepacked = prepack_csr(self.values.detach(), self.col_indices, self.row_offsets, self.cols)

    def _defect(self, found: Mapping[str, Any]) -> str:
        """Empty, or why these tensors cannot be this module's state."""
        names = _STRUCTURE if self.bias is None else (*_STRUCTURE, "bias")
        missing = [name for name in names if name not in found]
        if missing:
            return f"expected {', '.join(names)} together, found no {', '.join(missing)}"
        dtypes = {"col_indices": torch.int32, "row_offsets": torch.int32, "key": torch.int64}
        sizes = {"row_offsets": self.rows + 1, "key": 2, "bias": self.rows}
        for name, value in found.items():
            if not isinstance(value, Tensor):
                return f"{name}: expected a tensor, got {type(value).__name__}"
            dtype = dtypes.get(name, self.values.dtype)
            if value.dtype != dtype:
                return f"{name}: expected {dtype}, got {value.dtype}"
            if name in sizes and value.shape != (sizes[name],):
                return f"{name}: expected [{sizes[name]}], got {list(value.shape)}"
        on_cpu = {name: value.detach().cpu() for name, value in found.items()}
        probe = on_cpu["values"].new_empty(0, self.cols)
        try:  # an empty batch computes nothing, but the op checks the structure and that the key belongs to it
            torch.ops.jouleprune.linear_csr(
                probe, on_cpu["values"], on_cpu["col_indices"], on_cpu["row_offsets"], on_cpu["key"], None, None,
                self.cols, "none",
            )  # fmt: skip
        except (ValueError, TypeError) as error:
            return str(error)
        return ""

    def _dense_weight(self) -> Tensor:
        return unpack_csr(self.values.detach(), self.col_indices, self.row_offsets, self.cols)

    def _fill_dense(self, dense: nn.Linear | nn.Conv2d) -> None:
        with torch.no_grad():
            dense.weight.copy_(self._dense_weight().view_as(dense.weight))
            if self.bias is not None and dense.bias is not None:
                dense.bias.copy_(self.bias).requires_grad_(self.bias.requires_grad)
        dense.weight.requires_grad_(self.values.requires_grad)
        dense.train(self.training)


def _check_dense(name: str, module: object, kind: type[nn.Linear] | type[nn.Conv2d], layout: str) -> None:
    """Refuses what ``from_dense`` cannot read."""
    if layout != "csr":
        raise PatternError(f"layout: expected one of csr, got {layout!r}")
    if not isinstance(module, kind):
        raise PatternError(f"{name}: expected torch.nn.{kind.__name__}, got {type(module).__name__}")
    if nn.parameter.is_lazy(module.weight):
        raise PatternError(f"{name}: {type(module).__name__} has no weight yet: run it once first")
    if module.weight.is_meta:
        raise ValueError(f"{name}: weight: expected data, got a meta tensor: its zeros are not known")


class SparseLinear(_Sparse):
    """A linear layer with a pruned weight: ``y = x W^T + b``, [..., in_features] -> [..., out_features]."""

    if TYPE_CHECKING:  # TorchScript would read these strings as types at run time
        in_features: int
        out_features: int

    @staticmethod
    def from_dense(module: nn.Linear, layout: str = "csr", *, mask: Tensor | None = None) -> SparseLinear:
        """The sparse twin of ``module``, which is not changed.

        Args:
            module: its zeros are the mask; dtype, device, mode and ``requires_grad`` are kept.
            layout: "csr".
            mask: bool [out_features, in_features], True = kept, instead of the zeros (kept entries may then be zero).
        Raises:
            PatternError: another kind of module, one that has no weight yet, or an unknown layout.
            ValueError: a mask of another shape or dtype, or a weight on the meta device.
            TypeError: a weight that is not float32, float64, bfloat16 or float16.
        """
        _check_dense("SparseLinear", module, nn.Linear, layout)
        return SparseLinearCSR(module, mask)

    def to_dense(self) -> nn.Linear:
        """A torch.nn.Linear with equal outputs; what was pruned is zero in its ``weight``. Nothing is shared."""
        dense = nn.Linear(
            self.in_features,
            self.out_features,
            bias=self.bias is not None,
            device=self.values.device,
            dtype=self.values.dtype,
        )
        self._fill_dense(dense)
        return dense

    def extra_repr(self) -> str:
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}, "
            f"nnz={self.nnz}, density={self.density:.4f}"
        )


class SparseLinearCSR(SparseLinear):
    """SparseLinear in layout csr; made by :meth:`SparseLinear.from_dense`."""

    def __init__(self, dense: nn.Linear, mask: Tensor | None = None) -> None:
        super().__init__()
        self.in_features, self.out_features = dense.in_features, dense.out_features
        self._pack(dense, mask)

    def forward(self, input: Tensor) -> Tensor:
        out: Tensor = torch.ops.jouleprune.linear_csr(
            input, self.values, self.col_indices, self.row_offsets, self.key, self.prepacked, self.bias,
            self.in_features, "none",
        )  # fmt: skip
        return out


class SparseConv2d(_Sparse):
    """A 2-d convolution with a pruned weight: [n, in_channels, h, w] -> [n, out_channels, out_h, out_w], or the same
    without n. Zero padding; any stride, padding, dilation and groups."""

    if TYPE_CHECKING:  # TorchScript would read these strings as types at run time
        in_channels: int
        out_channels: int
        kernel_size: tuple[int, int]
        stride: tuple[int, int]
        padding: tuple[int, int]
        dilation: tuple[int, int]
        groups: int

    @staticmethod
    def from_dense(module: nn.Conv2d, layout: str = "csr", *, mask: Tensor | None = None) -> SparseConv2d:
        """The sparse twin of ``module``, which is not changed.

        Args:
            module: only :class:`torch.nn.Conv2d`; its zeros are the mask; dtype, device, mode and ``requires_grad`` are
                kept. ``padding="same"`` and ``"valid"`` become numbers.
            layout: "csr".
            mask: bool [out_channels, in_channels / groups, kh, kw], True = kept, instead of the zeros.
        Raises:
            PatternError: also another ``padding_mode`` than "zeros", or "same" where that pads one side more.
            ValueError, TypeError: as :meth:`SparseLinear.from_dense`.
        """
        _check_dense("SparseConv2d", module, nn.Conv2d, layout)
        if module.padding_mode != "zeros":
            raise PatternError(f"SparseConv2d: padding_mode: expected 'zeros', got {module.padding_mode!r}")
        return SparseConv2dCSR(module, mask)

    def to_dense(self) -> nn.Conv2d:
        """A torch.nn.Conv2d with equal outputs; what was pruned is zero in its ``weight``. Nothing is shared."""
        dense = nn.Conv2d(
            self.in_channels,
            self.out_channels,
            self.kernel_size,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
            bias=self.bias is not None,
            device=self.values.device,
            dtype=self.values.dtype,
        )
        self._fill_dense(dense)
        return dense

    def extra_repr(self) -> str:
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"padding={self.padding}, dilation={self.dilation}, groups={self.groups}, bias={self.bias is not None}, "
            f"nnz={self.nnz}, density={self.density:.4f}"
        )


class SparseConv2dCSR(SparseConv2d):
    """SparseConv2d in layout csr; made by :meth:`SparseConv2d.from_dense`."""

    def __init__(self, dense: nn.Conv2d, mask: Tensor | None = None) -> None:
        super().__init__()
        self.in_channels, self.out_channels, self.groups = dense.in_channels, dense.out_channels, dense.groups
        self.kernel_size = (dense.kernel_size[0], dense.kernel_size[1])
        self.stride = (dense.stride[0], dense.stride[1])
        self.dilation = (dense.dilation[0], dense.dilation[1])
        self.padding = _numeric_padding(dense)
        self._pack(dense, mask)

    def forward(self, input: Tensor) -> Tensor:
        batched = input.unsqueeze(0) if input.dim() == 3 else input
        out: Tensor = torch.ops.jouleprune.conv2d_csr(
            batched, self.values, self.col_indices, self.row_offsets, self.key, self.prepacked, self.bias,
            self.in_channels, self.kernel_size, self.stride, self.padding, self.dilation, self.groups, "none",
        )  # fmt: skip
        return out.squeeze(0) if input.dim() == 3 else out


def _numeric_padding(dense: nn.Conv2d) -> tuple[int, int]:
    """The numbers behind "same" and "valid"; "same" with an even reach pads one side more, which no symmetric padding
    can."""
    if not isinstance(dense.padding, str):
        return (dense.padding[0], dense.padding[1])
    if dense.padding == "valid":
        return (0, 0)
    reach = [dilation * (size - 1) for dilation, size in zip(dense.dilation, dense.kernel_size, strict=True)]
    if any(total % 2 for total in reach):
        raise PatternError(
            f"SparseConv2d: padding='same' with kernel_size {dense.kernel_size} and dilation {dense.dilation} is "
            "asymmetric: pad the input yourself and use padding=0"
        )
    return (reach[0] // 2, reach[1] // 2)
