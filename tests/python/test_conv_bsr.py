"""conv2d_bsr: what is refused, and by which words."""

import json

import pytest
import torch
from torch.nn import functional as F

import jouleprune as jp
from jouleprune.record import record


def packed(weight: torch.Tensor, r: int, c: int):
    """Blocks and structure of [out, in / groups, kh, kw], as docs/formats.md says."""
    return jp.ops.pack_bsr(F.pad(weight.permute(0, 2, 3, 1), (0, -weight.shape[1] % c)).flatten(1), block_size=(r, c))


@pytest.mark.parametrize(
    "changes,error,words",
    [
        ({"input": torch.ones(1, 4, 6, 6)}, ValueError, r"input: expected \[n, in_channels = 5, h, w\], got \[1, 4"),
        ({"input": torch.ones(1, 5, 6, 6, dtype=torch.float64)}, TypeError, "blocks: expected the dtype of input"),
        ({"input": torch.ones(1, 5, 2, 6)}, ValueError, "input: expected at least the size of the kernel"),
        ({"blocks": torch.ones(3, 4)}, ValueError, r"blocks: expected \["),
        ({"out_channels": 9}, ValueError, r"block_row_offsets: expected \[ceil\(9 / 4\) \+ 1 = 4\], got \[3\]"),
        ({"out_channels": -1}, ValueError, "out_channels: expected 0 to"),
        ({"kernel_size": (3, 2)}, ValueError, "key|structure|block_columns"),
        ({"groups": 2}, ValueError, "groups: expected a positive divisor of in_channels = 5, got 2"),
        ({"stride": (0, 1)}, ValueError, "stride: expected two numbers from 1"),
        ({"bias": torch.ones(5)}, ValueError, "bias: expected"),
        ({"activation": "tanh"}, ValueError, "activation"),
        ({"residual": torch.ones(1, 6, 3, 4)}, ValueError, "residual: expected"),
    ],
)
def test_bad_arguments_are_named(changes, error, words):
    blocks, columns, offsets, key = packed(torch.ones(6, 5, 3, 3), 4, 2)
    good = {
        "input": torch.ones(1, 5, 6, 6), "blocks": blocks, "block_columns": columns, "block_row_offsets": offsets,
        "key": key, "out_channels": 6, "in_channels": 5, "kernel_size": (3, 3),
    }  # fmt: skip
    assert jp.ops.conv2d_bsr(**good).shape == (1, 6, 4, 4)
    with pytest.raises(error, match=f"conv2d_bsr: .*({words})"):
        jp.ops.conv2d_bsr(**{**good, **changes})


def test_the_recorder_counts_kept_blocks():
    weight = torch.randn(8, 4, 3, 3)
    weight[:4] = 0
    blocks, *structure = packed(weight, 4, 4)

    class Layer(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = torch.nn.Parameter(blocks)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return jp.ops.conv2d_bsr(
                x, self.blocks, *structure, out_channels=8, in_channels=4, kernel_size=(3, 3), padding=(1, 1)
            )

    recorded = json.loads(record(Layer(), torch.randn(2, 4, 5, 5)))
    (entry,) = (e for e in recorded["entries"] if e["op"] == "conv2d")
    wanted = {"weight": "blocks", "layout": "bsr", "pattern": "4x4", "kernel": "bsr", "shape": [8, 4, 3, 3],
              "nnz": 144, "weight_elements": 288, "rows": 8, "cols": 36, "n": 50}  # fmt: skip
    assert {key: entry[key] for key in wanted} == wanted
