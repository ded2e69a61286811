"""Saves a small sparse model as TorchScript and as an AOTInductor package, with an input and the output that C++ must
reproduce, and sparse layers whose states C++ modules load.

python make_artifacts.py FOLDER
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import torch

import jouleprune


def make_model() -> torch.nn.Module:
    """A convolution and two linear layers with most weights zero, all of them sparse."""
    torch.manual_seed(0)
    conv = torch.nn.Conv2d(2, 8, 3, padding=1)
    hidden = torch.nn.Linear(8 * 6 * 6, 32)
    last = torch.nn.Linear(32, 10)
    with torch.no_grad():
        for layer in (conv, hidden, last):
            layer.weight.mul_(torch.rand_like(layer.weight) > 0.8)
    return torch.nn.Sequential(
        jouleprune.nn.SparseConv2d.from_dense(conv, layout="csr"),
        torch.nn.ReLU(),
        torch.nn.Flatten(),
        jouleprune.nn.SparseLinear.from_dense(hidden, layout="csr"),
        torch.nn.ReLU(),
        jouleprune.nn.SparseLinear.from_dense(last, layout="csr"),
    ).eval()


def pruned(layer: torch.nn.Linear, block: tuple[int, int] = (1, 1)) -> torch.nn.Linear:
    """Two thirds of its blocks are zero."""
    kept = torch.rand(layer.out_features // block[0], layer.in_features // block[1]) > 2 / 3
    with torch.no_grad():
        layer.weight.mul_(kept.repeat_interleave(block[0], 0).repeat_interleave(block[1], 1))
    return layer


def exchanged() -> dict[str, torch.nn.Module]:
    """Modules whose states travel between Python and C++, by name of their files; exchange.cpp has the same."""
    torch.manual_seed(1)
    sparse = jouleprune.nn.SparseLinear.from_dense
    layers = torch.nn.Sequential(
        sparse(pruned(torch.nn.Linear(24, 20))),
        sparse(pruned(torch.nn.Linear(20, 16), (4, 4)), layout="bsr", block_size=(4, 4)),
        sparse(pruned(torch.nn.Linear(16, 32, bias=False), (16, 1)), layout="vector"),
        sparse(pruned(torch.nn.Linear(32, 8)), dtype="int8"),
    )
    conv = torch.nn.Conv2d(5, 6, (2, 3), padding=(1, 0))  # the steps are one image of five channels to it
    attention = torch.nn.MultiheadAttention(24, 3)
    lstm = torch.nn.LSTM(24, 8)
    with torch.no_grad():
        for weight in (
            conv.weight,
            attention.in_proj_weight,
            attention.out_proj.weight,
            lstm.weight_ih_l0,
            lstm.weight_hh_l0,
        ):
            weight.mul_(torch.rand_like(weight) > 0.7)
    return {
        "layers": layers.eval(),
        "conv": jouleprune.nn.SparseConv2d.from_dense(conv, dtype="int8").eval(),
        "attention": jouleprune.nn.SparseMultiheadAttention.from_dense(attention, dense=["out_proj.weight"]).eval(),
        "lstm": jouleprune.nn.SparseLSTM.from_dense(lstm).eval(),
    }


def first_output(module: torch.nn.Module, example: torch.Tensor) -> torch.Tensor:
    """Attention attends to its own input."""
    attends = isinstance(module, jouleprune.nn.SparseMultiheadAttention)
    out = module(example, example, example) if attends else module(example)
    return out[0] if isinstance(out, tuple) else out


def write_tensor(tensor: torch.Tensor, stem: Path) -> None:
    """Little-endian float32 in ``<stem>.f32``, sizes as text in ``<stem>.shape``."""
    stem.with_name(f"{stem.name}.f32").write_bytes(tensor.detach().contiguous().numpy().astype("<f4").tobytes())
    stem.with_name(f"{stem.name}.shape").write_text(" ".join(str(size) for size in tensor.shape))


def main(folder: Path) -> None:
    """Fills ``folder`` with model.pt, model.pt2, input and expected output."""
    folder.mkdir(parents=True, exist_ok=True)
    model = make_model()
    example = torch.randn(3, 2, 6, 6)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r".*torch\.jit\..* is (deprecated|not supported)")
        expected = model(example)
        torch.jit.script(model).save(str(folder / "model.pt"))
        exported = torch.export.export(model, (example,))
        torch._inductor.aoti_compile_and_package(exported, package_path=str(folder / "model.pt2"))
    write_tensor(example, folder / "input")
    write_tensor(expected, folder / "expected")
    steps = torch.randn(5, 3, 24)
    write_tensor(steps, folder / "steps")
    for name, module in exchanged().items():
        with torch.no_grad(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=r".*torch\.jit\..* is (deprecated|not supported)")
            torch.jit.script(module).save(str(folder / f"{name}.pt"))
            write_tensor(first_output(module, steps), folder / name)
    print(f"wrote model.pt, model.pt2, input and expected output to {folder}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: make_artifacts.py FOLDER")
    main(Path(sys.argv[1]))
