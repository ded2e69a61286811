"""The commands ``jouleprune measure`` and ``jouleprune calibrate``: options, and what they print."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

__all__ = ["add_calibrate", "add_measure"]


def add_measure(commands: Any) -> None:
    """Declares ``jouleprune measure``."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "measure", help="seconds and joules of a model on this machine, by its meters"
    )
    parser.add_argument(
        "model", help="module:callable returning (model, example_inputs), or a TorchScript file with --input"
    )
    parser.add_argument("--input", action="append", metavar="1x1x28x28:float32", help="input of a saved model")
    parser.add_argument(
        "--check",
        action="store_true",
        help="ask first whether the meters can be believed (about 90 s); only then are joules called measured; exit "
        "code 1 when they cannot",
    )
    parser.add_argument(
        "--count",
        action="append",
        default=[],
        metavar="UNIT=N",
        help="what one pass does: inference=8, token=640, output_token=128, request=1; repeat for several (default: "
        "as many inferences as dim 0 of the first input has)",
    )
    parser.add_argument("--target", type=float, default=2.0, metavar="PERCENT", help="half interval (default: 2)")
    parser.add_argument("--seconds", type=float, default=60.0, help="at most about so long (default: 60)")
    parser.add_argument("--idle", type=float, default=0.0, metavar="SECONDS", help="measure idle power first, apart")
    parser.add_argument("--grams-per-kwh", type=float, metavar="G", help="CO2 of your electricity")
    parser.add_argument("--price-per-kwh", type=float, metavar="P", help="of your electricity")
    parser.add_argument("--gpus", metavar="0,1", help="only these GPUs (default: all)")
    parser.add_argument("--backend", default="auto", help="auto, or zeus for what that package finds")
    parser.add_argument("--threads", type=int, metavar="N", help="of torch (default: as it is)")
    parser.add_argument("--json", action="store_true", help="JSON on stdout")
    parser.set_defaults(run=_measure)


def _measure(options: argparse.Namespace) -> tuple[str, int]:
    import torch

    from . import energy
    from .model_spec import load_model
    from .record import _batch, arguments

    if options.threads is not None:
        if options.threads < 1:
            raise ValueError(f"--threads: expected at least 1, got {options.threads}")
        torch.set_num_threads(options.threads)
    counts = _counts(options.count)
    meters = energy.Meters(backend=options.backend, gpus=_gpus(options.gpus), cross_check=options.check)
    model, example_inputs = load_model(options.model, options.input)
    args, kwargs = arguments(example_inputs)
    model.eval()
    with torch.inference_mode():
        measured = energy.measure(
            lambda: model(*args, **kwargs),
            counts=counts or {"inference": max(_batch(example_inputs), 1)},
            meters=meters,
            check=options.check,
            target=options.target / 100,
            max_s=options.seconds,
            idle_s=options.idle,
        )
    factors = {"grams_per_kwh": options.grams_per_kwh, "price_per_kwh": options.price_per_kwh}
    units = [measured.per(unit, **factors) for unit in measured.counts]
    code = 0 if measured.check is None or measured.check.passed else 1
    if options.json:
        return json.dumps({**json.loads(measured.to_json()), "per": [vars(unit) for unit in units]}, indent=1), code
    lines = [str(measured), *(line for unit in units for line in _unit_lines(unit, measured.label))]
    if measured.check is not None:
        lines += [f"check: {'passed' if measured.check.passed else 'not passed'}", str(measured.check)]
    return "\n".join(lines), code


def _unit_lines(unit: Any, label: str) -> list[str]:
    from .report import si

    name = unit.unit.replace("_", " ")
    lines = [f"per {name}: {si(unit.time_s, 's')}"]
    for scope, joules in unit.energy_j.items():
        text = f"per {name}, {scope}: {si(joules, 'J')}, {unit.wh_per_1000[scope]:.3g} Wh per 1,000"
        if unit.co2_g_per_1000 is not None:
            text += f", {unit.co2_g_per_1000[scope]:.3g} g of CO2 per 1,000 by your factor"
        if unit.cost_per_1000 is not None:
            text += f", {unit.cost_per_1000[scope]:.3g} per 1,000 at your price"
        lines.append(f"{text} ({label})")
    return lines


def _counts(given: list[str]) -> dict[str, int] | None:
    counts = {}
    for text in given:
        unit, separator, number = text.partition("=")
        if not separator or not number.isdigit():
            raise ValueError(f"--count: expected UNIT=N, got {text!r}")
        counts[unit] = int(number)
    return counts or None


def _gpus(text: str | None) -> list[int] | None:
    if text is None:
        return None
    parts = text.split(",")
    if not all(part.strip().isdigit() for part in parts):
        raise ValueError(f"--gpus: expected indices as 0,1, got {text!r}")
    return [int(part) for part in parts]


def add_calibrate(commands: Any) -> None:
    """Declares ``jouleprune calibrate``."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "calibrate", help="a profile of this machine: its kernels are timed, and metered where there is a meter"
    )
    parser.add_argument("--out", type=Path, default=Path("profile.json"), help="(default: %(default)s)")
    parser.add_argument("--base", default="generic-cpu", help="profile that is fitted (default: %(default)s)")
    parser.add_argument("--name", help="of the new profile (default: the file's)")
    parser.add_argument("--threads", type=int, metavar="N", help="of torch (default: as it is)")
    parser.add_argument("--time-budget", type=float, default=240.0, metavar="SECONDS", help="(default: %(default)s)")
    parser.add_argument("--fresh", action="store_true", help="forget the samples of an interrupted run")
    parser.add_argument("--quiet", action="store_true", help="no progress on stderr")
    parser.add_argument("--json", action="store_true", help="JSON on stdout")
    parser.set_defaults(run=_calibrate)


def _calibrate(options: argparse.Namespace) -> str:
    import torch

    from . import energy

    if options.threads is not None:
        if options.threads < 1:
            raise ValueError(f"--threads: expected at least 1, got {options.threads}")
        torch.set_num_threads(options.threads)

    def tell(done: int, count: int, name: str) -> None:
        print(f"\r{done}/{count} {name:<60}", end="" if done < count else "\n", file=sys.stderr, flush=True)

    result = energy.calibrate(
        options.out,
        base=options.base,
        name=options.name,
        time_budget_s=options.time_budget,
        resume=not options.fresh,
        progress=None if options.quiet else tell,
    )
    return result.to_json() if options.json else str(result)
