"""Plans that C++ must make bit for bit: a network, its weights, and Python's plans and outputs in several patterns.

python plans.py FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from make_artifacts import write_tensor
from torch import nn

import jouleprune

#: profile, pattern, dtype
CASES = (
    ("eyeriss-65nm", "unstructured", "-"),
    ("eyeriss-65nm", "2:4", "-"),
    ("generic-cpu", "unstructured", "-"),
    ("generic-cpu", "16x1", "-"),
    ("generic-cpu", "4x4", "-"),
    ("generic-cpu", "2:4", "-"),
    ("generic-cpu", "auto", "-"),
    ("generic-cpu", "1x4", "int8"),
    ("generic-cpu", "auto", "int8"),
)


class Net(nn.Module):
    """same_plans.cpp has the same."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 3, padding=1)
        self.fc1 = nn.Linear(16 * 8 * 8, 256)
        self.lstm = nn.LSTM(64, 48)
        self.fc2 = nn.Linear(48, 130)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: [n, 3, 8, 8] -> [4, n, 130]"""
        features = torch.relu(self.fc1(torch.relu(self.conv(x)).flatten(1)))
        return self.fc2(self.lstm(features.view(4, -1, 64))[0])


def read_tensor(stem: Path) -> torch.Tensor:
    """What write_tensor wrote."""
    sizes = [int(size) for size in stem.with_name(f"{stem.name}.shape").read_text().split()]
    values = bytearray(stem.with_name(f"{stem.name}.f32").read_bytes())
    return torch.frombuffer(values, dtype=torch.float32).reshape(sizes)


def resumed(state: dict[str, torch.Tensor], x: torch.Tensor) -> tuple[Net, jouleprune.Pruner]:
    """A network and its pruner, which stands at the beginning of its schedule; resume_pruner.cpp has the same."""
    net = Net().eval()
    net.load_state_dict(state)
    schedule = jouleprune.PolynomialDecay(end_step=10, frequency=3)
    return net, jouleprune.Pruner(net, x, energy="20%", profile="eyeriss-65nm", schedule=schedule)


def go_on(pruner: jouleprune.Pruner, steps: int) -> None:
    """So many steps of the schedule."""
    for _ in range(steps):
        pruner.step()


def write_resumed(folder: Path, state: dict[str, torch.Tensor], x: torch.Tensor) -> None:
    """A pruner's state at step 5 with the weights of that time, and the plan that it goes on to."""
    net, pruner = resumed(state, x)
    go_on(pruner, 5)
    torch.save(pruner.state_dict(), folder / "pruner.pt")
    for name, tensor in net.state_dict().items():
        write_tensor(tensor, folder / f"resumed_{name}")
    go_on(pruner, 6)
    (folder / "resumed.json").write_text(pruner.plan.to_json())
    for weight, bits in pruner.plan.masks.items():
        kept = jouleprune.ops.unpack_mask(bits, list(state[weight].shape))
        write_tensor(kept.float(), folder / f"resumed_mask_{weight}")


def main(folder: Path) -> None:
    """Fills ``folder`` with plans.txt, plans_<weight>, plans_input, per case its plan, masks and outputs, and with the
    state of a pruner."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(2)
    state, x = Net().state_dict(), torch.randn(12, 3, 8, 8)
    for name, tensor in state.items():
        write_tensor(tensor, folder / f"plans_{name}")
    write_tensor(x, folder / "plans_input")
    lines = []
    for number, (profile, pattern, dtype) in enumerate(CASES):
        net = Net().eval()
        net.load_state_dict(state)
        options = {"profile": profile, "pattern": pattern, "dtype": None if dtype == "-" else dtype}
        whole = jouleprune.plan(net, x, energy="100%", **options)
        energy = (whole.minimum_j + whole.dense_j) / 2
        pruner = jouleprune.Pruner(net, x, energy=energy, **options)
        plan = pruner.prune_now()
        stem = f"plans_case{number}"
        (folder / f"{stem}.json").write_text(plan.to_json())
        for weight, bits in plan.masks.items():
            kept = jouleprune.ops.unpack_mask(bits, list(state[weight].shape))
            write_tensor(kept.float(), folder / f"{stem}_{weight}")
        with torch.no_grad():
            write_tensor(jouleprune.convert(net, x, plan=plan, force=True)(x), folder / stem)
        lines.append(f"case{number} {profile} {pattern} {dtype}")
    write_resumed(folder, state, x)
    (folder / "plans.txt").write_text("\n".join(lines) + "\n")
    print(f"wrote {len(lines)} plans to {folder}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: plans.py FOLDER")
    main(Path(sys.argv[1]))
