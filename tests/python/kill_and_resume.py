"""A training loop that is killed again and again, and goes on from its last checkpoint: run by test_resume.py.

``python kill_and_resume.py FOLDER KILLS RANKS SEED``. Parent and children are one program: each attempt forks, so that
torch is imported once. Prints one JSON line: what killed each attempt, and digests of the final masks and weights of a
run that nobody killed and of the one that was killed.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn

import jouleprune as jp

STEPS = 168
SCHEDULE = jp.PolynomialDecay(begin_step=3, end_step=150, frequency=4)


def train(folder: Path, rank: int, ranks: int, store: Path, told: int) -> None:
    """From the checkpoint, if there is one, to the end; writes a byte to ``told`` after each checkpoint."""
    torch.manual_seed(rank)
    model: nn.Module = nn.Sequential(nn.Linear(40, 64), nn.ReLU(), nn.Linear(64, 10))
    if ranks > 1:
        dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=ranks)
        model = nn.parallel.DistributedDataParallel(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    pruner = jp.Pruner(
        model, torch.zeros(1, 40), energy="15%", profile="eyeriss-65nm", schedule=SCHEDULE, importance="taylor"
    )
    begin, path = 0, folder / "checkpoint.pt"
    if path.exists():
        saved = torch.load(path, weights_only=True)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        pruner.load_state_dict(saved["pruner"], restore_rng=ranks == 1)
        begin = saved["step"]
    for step in range(begin, STEPS):
        if ranks > 1:  # other data on each rank, and the same again after a restart
            torch.manual_seed(step * ranks + rank)
        x = torch.randn(16, 40)
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), x[:, :10].argmax(1)).backward()
        optimizer.step()
        pruner.step()
        if rank == 0:
            state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "pruner": pruner.state_dict()}
            torch.save({**state, "step": step + 1}, folder / "checkpoint.new")
            os.replace(folder / "checkpoint.new", path)
        if ranks > 1:
            dist.barrier()
        os.write(told, b".")
    digest = hashlib.sha256()
    for mask in pruner.plan.masks.values():
        digest.update(mask.numpy().tobytes())
    masks = digest.hexdigest()
    for tensor in model.state_dict().values():
        digest.update(tensor.numpy().tobytes())
    (folder / f"final{rank}.json").write_text(
        json.dumps([masks, digest.hexdigest(), pruner.energy_j <= pruner.budget_j])
    )


def attempt(folder: Path, ranks: int, number: int, kill_after: tuple[int, float] | None) -> list[int]:
    """Exit codes of the ranks, negative for a signal. ``kill_after``: steps, and seconds more."""
    read, write = os.pipe()
    children = []
    for rank in range(ranks):
        child = os.fork()
        if child == 0:
            os.close(read)
            code = 1
            try:
                train(folder, rank, ranks, folder / f"store{number}", write)
                code = 0
            finally:
                os._exit(code)
        children.append(child)
    os.close(write)
    steps, ended = 0, False
    while kill_after is not None and steps < kill_after[0] * ranks and not ended:
        got = os.read(read, 1)
        steps, ended = steps + len(got), not got
    if kill_after is not None:
        time.sleep(kill_after[1])
        for child in children:
            os.kill(child, signal.SIGKILL)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    os.close(read)
    return codes


def finals(folder: Path, ranks: int) -> list[object]:
    return [json.loads((folder / f"final{rank}.json").read_text()) for rank in range(ranks)]


def main() -> None:
    folder, kills, ranks = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    torch.set_num_threads(1)  # nothing but this thread when it forks
    torch.optim.AdamW([torch.zeros(1, requires_grad=True)]).step()  # imports what every child would import
    draw = random.Random(int(sys.argv[4]))
    undisturbed, killed = folder / "undisturbed", folder / "killed"
    for each in (undisturbed, killed):
        each.mkdir()
    codes = [attempt(undisturbed, ranks, 0, None)]
    steps = STEPS // (kills + 1)
    for number in range(kills):
        codes.append(attempt(killed, ranks, number, (draw.randint(1, steps // 2), draw.random() * 0.004)))
    codes.append(attempt(killed, ranks, kills, None))
    print(json.dumps({"codes": codes, "undisturbed": finals(undisturbed, ranks), "killed": finals(killed, ranks)}))


if __name__ == "__main__":
    main()
