"""Saves a small sparse model as TorchScript and as an AOTInductor package, with an input and the output that C++ must
reproduce.

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


def write_tensor(tensor: torch.Tensor, stem: Path) -> None:
    """Little-endian float32 in ``<stem>.f32``, sizes as text in ``<stem>.shape``."""
    stem.with_suffix(".f32").write_bytes(tensor.detach().contiguous().numpy().astype("<f4").tobytes())
    stem.with_suffix(".shape").write_text(" ".join(str(size) for size in tensor.shape))


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
    print(f"wrote model.pt, model.pt2, input and expected output to {folder}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: make_artifacts.py FOLDER")
    main(Path(sys.argv[1]))
