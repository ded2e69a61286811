"""The command ``jouleprune``: text for people, ``--json`` for programs on stdout, errors on stderr with a non-zero
exit code."""

from __future__ import annotations

import argparse
import json
import sys
import traceback
from collections.abc import Sequence
from typing import Any

from .cli_measure import add_calibrate, add_measure
from .cli_prune import add_prune
from .cli_report import add_report

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command line; returns the exit code: 0, 1 when the work failed, 2 when the command line is wrong.

    ``count``: 1 when what a case expects does not come out, 2 when the file is malformed.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = _parser().parse_args(given)
    try:
        done: str | tuple[str, int]
        done = _bench(options, given) if options.command == "bench" else options.run(options)
        text, code = done if isinstance(done, tuple) else (done, 0)
    except Exception as error:  # a model on the command line may raise anything
        if options.traceback:
            traceback.print_exc()
        model = f" {options.model}" if options.command in ("estimate", "measure", "prune") else ""
        what = " ".join(str(error).split())
        print(f"jouleprune {options.command}{model}: {type(error).__name__}: {what}", file=sys.stderr)
        return 2 if options.command == "count" else 1
    print(text)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="jouleprune", description="Prune PyTorch networks to a joule budget.")
    parser.add_argument("--traceback", action="store_true", help="when something fails, tell where in the code")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    info = commands.add_parser("info", help="version, torch, kernels and devices of this installation")
    info.add_argument("--json", action="store_true", help="JSON on stdout")
    info.set_defaults(run=_info)

    profiles = commands.add_parser("profiles", help="the built-in device profiles")
    profiles.add_argument("--show", metavar="NAME", help="one profile, each number with its source; --json: the file")
    profiles.add_argument("--json", action="store_true", help="JSON on stdout")
    profiles.set_defaults(run=_profiles)

    estimate = commands.add_parser("estimate", help="joules of one forward pass, layer by layer")
    estimate.add_argument(
        "model", help="module:callable returning (model, example_inputs), or a TorchScript file with --input"
    )
    estimate.add_argument("--profile", default="generic-cpu", help="built-in name or path (default: %(default)s)")
    estimate.add_argument("--batch", type=int, help="inferences in the pass (default: dim 0 of the first input)")
    estimate.add_argument(
        "--input", action="append", metavar="1x1x28x28:float32", help="input of a saved model; repeat for several"
    )
    estimate.add_argument("--explain", metavar="LAYER", help="where this layer's joules come from, down to sources")
    estimate.add_argument("--json", action="store_true", help="JSON on stdout")
    estimate.set_defaults(run=_estimate)

    count = commands.add_parser("count", help="counts and energies of a published case, held to what it expects")
    count.add_argument("case", metavar="CASE.json", help="a case file (docs/energy_model.md, Case files)")
    count.add_argument(
        "--assumptions", action="store_true", help="tell on stderr what the file does not give and the counts rest on"
    )
    count.set_defaults(run=_count)
    add_measure(commands)
    add_calibrate(commands)
    add_report(commands)
    add_prune(commands)

    from .bench.options import add_arguments

    bench = commands.add_parser("bench", help="speed of sparse layers on this machine, against torch and others")
    add_arguments(bench)
    return parser


def _info(options: argparse.Namespace) -> str:
    import torch

    from . import _C, energy

    build = dict(_C.build_info())
    facts = {
        **build,
        "torch_running": torch.__version__,
        "threads": torch.get_num_threads(),
        "kernels": _C.active_isa(),
        "kernels_here": _C.supported_isas(),
        "matrix_tiles": _C.matrix_tiles(),
        "gpus": [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())],
        "profiles": energy.profiles(),
        "meters": str(energy.Meters()),
    }
    if options.json:
        return json.dumps(facts, indent=1)
    return "\n".join(
        f"{name:<16} {', '.join(value) or 'none' if isinstance(value, list) else value}".rstrip()
        for name, value in facts.items()
    )


def _profiles(options: argparse.Namespace) -> str:
    from . import energy

    if options.show:
        from .profile_table import profile_text

        profile = energy.load_profile(options.show)
        return profile.to_json() if options.json else profile_text(profile)
    loaded = [energy.load_profile(name) for name in energy.profiles()]
    if options.json:
        return json.dumps(
            [{"name": profile.name, "kind": profile.kind, "hash": profile.hash} for profile in loaded], indent=1
        )
    return "\n".join(f"{profile.name:<20} {profile.kind}" for profile in loaded)


def _estimate(options: argparse.Namespace) -> str:
    from .estimate import estimate
    from .model_spec import load_model

    model, example_inputs = load_model(options.model, options.input)
    report = estimate(model, example_inputs, profile=options.profile, batch=options.batch)
    found = report if options.explain is None else report.explain(options.explain)
    return _indented(found.to_json()) if options.json else str(found)


def _count(options: argparse.Namespace) -> tuple[str, int]:
    from . import energy

    counts = energy.count(options.case)
    for line in (*counts.deviations, *(counts.assumptions if options.assumptions else ())):
        print(line, file=sys.stderr)
    return json.dumps(counts.values, indent=1), 1 if counts.deviations else 0


def _bench(options: argparse.Namespace, arguments: Sequence[str]) -> tuple[str, int]:
    from .bench.command import bench

    return bench(options, arguments)


def _indented(text: str) -> str:
    data: Any = json.loads(text)
    return json.dumps(data, indent=1)
