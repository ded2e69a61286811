"""Loads what exchange.cpp saved into modules of Python.

python check_exchanged.py FOLDER
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import torch
from make_artifacts import exchanged


def main(folder: Path) -> None:
    """Every state has the names that Python's has, and the tensors that Python once gave to C++."""
    for name, module in exchanged().items():
        expected = {key: value.clone() for key, value in module.state_dict().items()}
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=r".*torch\.jit\..* is (deprecated|not supported)")
            state = torch.jit.load(str(folder / f"{name}_from_cpp.pt")).state_dict()
        assert set(state) == set(expected), (name, set(state) ^ set(expected))
        with torch.no_grad():
            for tensor in module.state_dict().values():
                tensor.zero_()
        module.load_state_dict(state)
        for key, value in module.state_dict().items():
            assert torch.equal(value, expected[key]), (name, key)
    print("exchanged: the states that C++ saved are those that Python gave it")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: check_exchanged.py FOLDER")
    main(Path(sys.argv[1]))
