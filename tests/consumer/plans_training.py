"""What goes along with training, which C++ must do alike: masks that move, the floor under a metric, proximal steps,
the loss of a teacher; on the network of plans_criteria.py.

python plans_training.py FOLDER (after plans_criteria.py)
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from make_artifacts import write_tensor
from plans import read_tensor
from plans_criteria import make_net
from torch import nn

import jouleprune

P = "eyeriss-65nm"


def load_net(folder: Path) -> nn.Sequential:
    """With the weights that plans_criteria.py wrote."""
    net = make_net().eval()
    names = [name for name, tensor in net.state_dict().items() if tensor.is_floating_point()]
    net.load_state_dict({name: read_tensor(folder / f"criteria_{name}") for name in names}, strict=False)
    return net


def write_weights(net: nn.Module, stem: Path) -> None:
    for name, parameter in net.named_parameters():
        write_tensor(parameter.detach(), stem.with_name(f"{stem.name}_{name}"))


def kept_share(net: nn.Module) -> float:
    """Of the weights of all matrices: a metric that falls with them."""
    weights = [parameter for parameter in net.parameters() if parameter.dim() > 1]
    return sum(int(weight.count_nonzero()) for weight in weights) / sum(weight.numel() for weight in weights)


def regrow(folder: Path, x: torch.Tensor, grow: str) -> None:
    """Weights after masks moved twice, with steps of plain gradient descent between."""
    net = load_net(folder)
    pruner = jouleprune.Pruner(net, x, energy="70%", profile=P)
    pruner.prune_now()
    moving = jouleprune.Regrow(pruner, end_step=8, frequency=2, share=0.4, grow=grow, seed=3)
    for _ in range(6):
        net.zero_grad()
        net(x).square().mean().backward()
        with torch.no_grad():
            for parameter in net.parameters():
                parameter -= 0.01 * parameter.grad
        moving.step()
    write_weights(net, folder / f"training_{grow}")


def main(folder: Path) -> None:
    """Fills ``folder`` with training.txt and training_<tensor>."""
    x = read_tensor(folder / "criteria_x0")
    for grow in ("gradient", "random"):
        regrow(folder, x, grow)
    net = load_net(folder)
    proximal = jouleprune.Proximal(net, x, profile=P, strength=0.2, pattern="4x3")
    proximal.step(0.1)
    proximal.step(0.05)
    write_weights(net, folder / "training_proximal")
    net = load_net(folder)
    floor = jouleprune.prune_to_floor(net, x, profile=P, evaluate=kept_share, max_drop=0.3, importance="l2/sum")
    write_weights(net, folder / "training_floor")
    student, teacher = net(x).detach(), load_net(folder)(x).detach()
    target = read_tensor(folder / "criteria_target0").long()
    loss = jouleprune.distillation_loss(student, teacher, target, temperature=3.0, weight=0.7)
    numbers = [floor.metric, floor.energy_j, float(loss), *(number for trial in floor.trials for number in trial)]
    (folder / "training.txt").write_text("\n".join(number.hex() for number in numbers) + "\n")
    print(f"wrote what goes along with training to {folder}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: plans_training.py FOLDER")
    main(Path(sys.argv[1]))
