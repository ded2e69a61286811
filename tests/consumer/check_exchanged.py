"""Loads what exchange.cpp and resume_pruner.cpp saved into modules and a pruner of Python.

python check_exchanged.py FOLDER
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import torch
from make_artifacts import exchanged
from plans import Net, go_on, read_tensor, resumed


def check_pruner(folder: Path) -> None:
    """The state that C++ saved at step 5 goes on to the plan that Python's went on to."""
    weights = {name: read_tensor(folder / f"resumed_{name}") for name in Net().state_dict()}
    _, pruner = resumed(weights, read_tensor(folder / "plans_input"))
    pruner.load_state_dict(torch.load(folder / "pruner_from_cpp.pt"))
    go_on(pruner, 6)
    assert pruner.done and pruner.plan.to_json() == (folder / "resumed.json").read_text()
    print("exchanged: Python goes on from the state of a pruner that C++ saved")


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
    check_pruner(folder)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: check_exchanged.py FOLDER")
    main(Path(sys.argv[1]))
