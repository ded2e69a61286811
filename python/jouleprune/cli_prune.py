"""The command ``jouleprune prune``: a network to a joule budget, at once or while it trains, into a file."""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["add_prune"]

_SCHEDULES = ("polynomial", "linear", "cosine", "exponential", "oneshot")


def add_prune(commands: Any) -> None:
    """Declares ``jouleprune prune``."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "prune", help="prune a network to a joule budget, at once or in training, and save it as it will run"
    )
    parser.add_argument(
        "model", help="module:callable returning (model, example_inputs), with --epochs also loader and loss after them"
    )
    parser.add_argument("--energy", required=True, metavar="BUDGET", help='"50%%", or joules per inference')
    parser.add_argument(
        "--prune-for",
        choices=["joules", "bytes", "macs"],
        default="joules",
        help="what the budget counts; bytes: the file is written packed (default: %(default)s)",
    )
    parser.add_argument("--profile", default="generic-cpu", help="built-in name or path (default: %(default)s)")
    parser.add_argument("--pattern", default="unstructured", help='or "16x1", "2:4", "auto" (default: %(default)s)')
    parser.add_argument("--importance", default="lamp", help='or "magnitude", "l1/sum", ... (default: %(default)s)')
    parser.add_argument("--dtype", choices=["int8"], help="number type that layers may run in beside their own")
    parser.add_argument(
        "--ignore", action="append", default=[], metavar="LAYER", help="stays dense; repeat for several"
    )
    parser.add_argument("--min-density", type=float, default=0.0, metavar="SHARE", help="of each layer that is kept")
    parser.add_argument("--epochs", type=int, default=0, help="of training while it is pruned (default: none)")
    parser.add_argument("--lr", type=float, default=1e-3, help="of Adam (default: %(default)s)")
    parser.add_argument(
        "--schedule", choices=_SCHEDULES, default="polynomial", help="of training (default: polynomial)"
    )
    parser.add_argument("--frequency", type=int, default=20, help="steps between updates (default: %(default)s)")
    parser.add_argument(
        "--until", type=float, default=0.75, metavar="SHARE", help="of the steps, when the budget holds"
    )
    parser.add_argument("--seed", type=int, default=0, help="of torch (default: %(default)s)")
    parser.add_argument("--keep-dense", action="store_true", help="save dense weights with zeros: do not convert")
    parser.add_argument("--out", type=Path, metavar="FILE.safetensors", help="for jouleprune.load")
    parser.add_argument("--plan", type=Path, metavar="FILE.json", help="write the plan")
    parser.add_argument("--json", action="store_true", help="JSON on stdout")
    parser.set_defaults(run=_prune)


def _prune(options: argparse.Namespace) -> str:
    import torch

    from . import Pruner, convert, explain, save
    from .cli_report import budget_of
    from .files import write
    from .model_spec import load_training

    _check(options)
    torch.manual_seed(options.seed)
    model, example_inputs, loader, loss = load_training(options.model)
    steps = _steps(options.epochs, loader, loss, options.model)
    pruner = Pruner(
        model, example_inputs, energy=budget_of(options.energy), profile=options.profile, pattern=options.pattern,
        importance=options.importance, dtype=options.dtype, prune_for=options.prune_for, ignored_layers=options.ignore,
        min_density=options.min_density, schedule=_schedule(options, steps) if steps else None,
        **_looked_at(options.importance, loader, loss),
    )  # fmt: skip
    if steps:
        _train(model, loader, loss, pruner, options)
    plan = pruner.plan if pruner.done else pruner.prune_now()
    report = pruner.report()
    pruner.remove()
    model.eval()
    made = model if options.keep_dense else convert(model, example_inputs, plan=plan)
    told = "kept dense" if options.keep_dense else explain(made)
    if options.out is not None:
        packed = options.prune_for == "bytes"
        save(made, options.out, plan=plan if options.keep_dense else None, packed=packed)
    if options.plan is not None:
        write(options.plan, plan.to_json())
    if options.json:
        found = {"schema": 1, "report": json.loads(report.to_json()), "out": _text(options.out), "explain": told}
        return json.dumps(found, indent=1)
    written = [f"written: {path}" for path in (options.out, options.plan) if path is not None]
    return "\n\n".join([str(report), str(plan), told, *written])


def _check(options: argparse.Namespace) -> None:
    for name, value, least in (("--epochs", options.epochs, 0), ("--frequency", options.frequency, 1)):
        if value < least:
            raise ValueError(f"{name}: expected at least {least}, got {value}")
    if not 0 < options.lr < math.inf:
        raise ValueError(f"--lr: expected a finite number above 0, got {options.lr!r}")
    for name, path in (("--out", options.out), ("--plan", options.plan)):
        if path is not None and not (path.absolute().parent.is_dir() and os.access(path.absolute().parent, os.W_OK)):
            raise ValueError(f"{name}: expected a file in a folder that exists and can be written to, got {path}")
    if not 0 < options.until <= 1:
        raise ValueError(f"--until: expected a share in (0, 1], got {options.until!r}")


def _steps(epochs: int, loader: Any, loss: Any, spec: str) -> int:
    """Of the whole training; 0 without any."""
    if epochs == 0:
        return 0
    if loader is None or not callable(loss):
        raise ValueError(f"--epochs: expected {spec} to return (model, example_inputs, loader, loss)")
    try:
        batches = len(loader)
    except TypeError as error:
        raise ValueError(f"--epochs: expected a loader with a length, got {type(loader).__name__}") from error
    if batches == 0:
        raise ValueError("--epochs: expected at least one batch, got none")
    return epochs * batches


def _looked_at(importance: str, loader: Any, loss: Any) -> dict[str, Any]:
    """What the criterion needs of what the callable gave."""
    from .criteria import NEEDS_DATA, NEEDS_LOSS

    name = importance.partition("/")[0]
    data = {"data": loader} if name in NEEDS_DATA | {"gradient", "taylor"} else {}
    return data | ({"loss": loss} if name in NEEDS_LOSS | {"gradient", "taylor"} else {})


def _schedule(options: argparse.Namespace, steps: int) -> Any:
    from . import schedule

    if options.schedule == "oneshot":
        return schedule.OneShot()
    kinds: dict[str, Callable[..., Any]] = {
        "polynomial": schedule.PolynomialDecay,
        "linear": schedule.LinearDecay,
        "cosine": schedule.CosineDecay,
        "exponential": schedule.ExponentialDecay,
    }
    return kinds[options.schedule](end_step=max(0, round(options.until * steps) - 1), frequency=options.frequency)


def _train(model: Any, loader: Any, loss: Any, pruner: Any, options: argparse.Namespace) -> None:
    import torch

    from .record import arguments

    optimizer = torch.optim.Adam(model.parameters(), lr=options.lr)
    for epoch in range(options.epochs):
        model.train()
        total, batches = 0.0, 0
        for batch in loader:
            if not isinstance(batch, tuple | list) or len(batch) != 2:
                raise ValueError(f"loader: expected batches (inputs, target), got {type(batch).__name__}")
            args, kwargs = arguments(batch[0])
            optimizer.zero_grad()
            value = loss(model(*args, **kwargs), batch[1])
            value.backward()
            optimizer.step()
            pruner.step()
            total, batches = total + float(value.detach()), batches + 1
        print(
            f"epoch {epoch + 1} of {options.epochs}: loss {total / max(batches, 1):.4g}, {pruner.energy_j:.4g} J",
            file=sys.stderr,
        )


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
