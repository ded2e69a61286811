"""The command ``jouleprune report``: networks on devices, as text, JSON or one HTML file."""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

__all__ = ["add_report", "budget_of"]


def add_report(commands: Any) -> None:
    """Declares ``jouleprune report``."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "report", help="networks on devices: comparison, layers, before and after pruning, break-evens, sources"
    )
    parser.add_argument(
        "model",
        nargs="+",
        help="module:callable returning (model, example_inputs), or a TorchScript file with --input; several stand "
        "side by side",
    )
    parser.add_argument("--input", action="append", metavar="1x1x28x28:float32", help="input of saved models")
    parser.add_argument(
        "--profile", action="append", metavar="NAME", help="device; repeat for several (default: generic-cpu)"
    )
    parser.add_argument("--batches", default="1,32", metavar="1,32", help="of the comparison (default: %(default)s)")
    parser.add_argument("--energy", metavar="BUDGET", help='before and after pruning: "50%%", or joules per inference')
    parser.add_argument("--pattern", default="unstructured", help="that is pruned (default: %(default)s)")
    parser.add_argument(
        "--explain", action="append", metavar="LAYER", help="layers to take apart (default: the three costliest)"
    )
    parser.add_argument("--compare", action="store_true", help="the comparison only")
    parser.add_argument(
        "--measure", type=float, default=0.0, metavar="SECONDS", help="time (and meter) each network here for so long"
    )
    parser.add_argument("--html", type=Path, metavar="FILE.html", help="write one self-contained page")
    parser.add_argument("--json", action="store_true", help="JSON on stdout")
    parser.set_defaults(run=_report)


def _report(options: argparse.Namespace) -> str:
    from . import compare, report
    from .model_spec import load_model

    if not 0 <= options.measure < math.inf:
        raise ValueError(f"--measure: expected seconds of at least 0, got {options.measure!r}")
    if options.pattern != "unstructured" and options.energy is None:
        raise ValueError("--pattern: goes with --energy, which asks for pruning")
    loaded = [load_model(spec, options.input) for spec in options.model]
    if len(set(options.model)) < len(options.model):
        raise ValueError(f"model: expected different ones, got {', '.join(options.model)}")
    models = {spec: model for spec, (model, _) in zip(options.model, loaded, strict=True)}
    inputs = {spec: example for spec, (_, example) in zip(options.model, loaded, strict=True)}
    profiles, batches = options.profile or ["generic-cpu"], _batches(options.batches)
    if options.compare:
        if options.html is not None or options.energy is not None or options.explain is not None or options.measure:
            raise ValueError("--compare: goes without --html, --energy, --explain and --measure")
        compared = compare(models, inputs, profiles=profiles, batches=batches)
        return _indented(compared.to_json()) if options.json else str(compared)
    found = report(
        models,
        inputs,
        profiles=profiles,
        batches=batches,
        energy=budget_of(options.energy),
        pattern=options.pattern,
        explain=options.explain,
        measurements={name: _measured(models[name], inputs[name], options.measure) for name in models}
        if options.measure > 0
        else None,
    )
    if options.html is not None:
        found.write_html(options.html)
    if options.json:
        return _indented(found.to_json())
    return f"written: {options.html}" if options.html is not None else str(found)


def _measured(model: Any, example_inputs: Any, seconds: float) -> Any:
    from . import energy
    from .savings import _running

    with _running(model, example_inputs) as run:
        return energy.measure(run, max_s=seconds)


def _batches(text: str) -> list[int]:
    parts = text.split(",")
    if not all(part.strip().isdecimal() and part.isascii() and int(part) > 0 for part in parts):
        raise ValueError(f"--batches: expected whole numbers as 1,32, got {text!r}")
    return [int(part) for part in parts]


def budget_of(text: str | None) -> str | float | None:
    """What ``--energy`` says: "N%", or joules.

    Raises:
        ValueError: neither.
    """
    if text is None or text.strip().endswith("%"):
        return text
    try:
        return float(text)
    except ValueError:
        raise ValueError(f'--energy: expected "50%" or joules, got {text!r}') from None


def _indented(text: str) -> str:
    data: Any = json.loads(text)
    return json.dumps(data, indent=1)
