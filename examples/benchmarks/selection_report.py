"""The page of the selection study: all cells, areas, and paired tests."""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Callable, Mapping, Sequence

__all__ = ["page"]

Table = Mapping[tuple[str, str, str, int], Sequence[float]]


INTRODUCTION = """\
# Selection at equal joules

Printed by
`python examples/benchmarks/selection_study.py --seeds {seeds} --epochs {epochs} --tune {tune} --profile {profile} \
--units {units}`.

Joules are modelled. Data: scikit-learn's digits, 1,297 images to train with, 500 to test; another split, initialisation
and order for each seed. Accuracies in percent after {tune} epochs of fine-tuning, which is the same for all: mean and
standard deviation over the seeds. A budget is an upper bound for every method: the rivals' sparsity is the least that
meets it, found by bisection. A dash: the budget is below what the method reaches in some seed.

- per joule: `jp.plan` and `jp.shrink` with the default importance (LAMP, in `jp.shrink` of whole channels), least
  importance lost per joule saved;
- magnitude, LAMP: one threshold over all layers, blind to joules; uniform: the same share in each layer;
- Torch-Pruning: its `BasePruner` with group magnitudes, global; uniform: the same, not global.
"""

TESTS = """\
## Paired tests

Difference of areas (accuracy over the logarithm of the budget, from dense to the least budget that all methods of the
unit reach), per joule less rival, over the seeds; two-sided paired t tests, corrected after Holm over all {count}.

| network | unit | rival | difference | p | p, corrected | |
| --- | --- | --- | --- | --- | --- | --- |
"""


def page(
    table: Table, options: argparse.Namespace, area: Callable[[Mapping[int, float]], float],
    holm: Callable[[Sequence[float]], list[float]],
) -> str:  # fmt: skip
    """Markdown."""
    lines = [*INTRODUCTION.format(**{**vars(options), "units": " ".join(options.units)}).splitlines(), ""]
    tests: list[tuple[str, str, str, float, float]] = []
    for network in options.networks:
        dense = table[network, "dense", "", 100]
        lines += [f"## {network}: {statistics.mean(dense):.2f} dense", ""]
        budgets = sorted({key[3] for key in table if key[0] == network and key[1] != "dense"}, reverse=True)
        lines += ["| unit | method | " + " | ".join(f"{b} %" for b in budgets) + " | area |"]
        lines += ["| --- " * (len(budgets) + 3) + "|"]
        for unit in options.units:
            methods = list(dict.fromkeys(key[2] for key in table if key[:2] == (network, unit)))
            shared = [b for b in budgets if not any(math.isnan(v) for m in methods for v in table[network, unit, m, b])]
            areas = {
                method: [
                    area({100: dense[seed], **{b: table[network, unit, method, b][seed] for b in shared}})
                    for seed in range(options.seeds)
                ]
                for method in methods
            }
            for method in methods:
                cells = [cell(table[network, unit, method, b]) for b in budgets]
                lines.append(
                    f"| {unit} | {method} | " + " | ".join(cells) + f" | {statistics.mean(areas[method]):.2f} |"
                )
            tests += [
                (network, unit, rival, *paired(areas["per joule"], areas[rival]))
                for rival in methods if rival != "per joule"
            ]  # fmt: skip
        lines.append("")
    lines += TESTS.format(count=len(tests)).splitlines()
    verdicts = []
    for (network, unit, rival, difference, p), corrected in zip(tests, holm([test[4] for test in tests]), strict=True):
        verdict = "" if not corrected < 0.05 else "won" if difference > 0 else "lost"
        verdicts.append((unit, verdict))
        lines.append(f"| {network} | {unit} | {rival} | {difference:+.2f} | {p:.2g} | {corrected:.2g} | {verdict} |")
    counts = [
        f"{unit}: won {verdicts.count((unit, 'won'))}, lost {verdicts.count((unit, 'lost'))}, "
        f"not told apart {verdicts.count((unit, ''))}"
        for unit in options.units
    ]
    return "\n".join([*lines, "", "; ".join(counts) + "."])


def cell(values: Sequence[float]) -> str:
    if any(math.isnan(value) for value in values):
        return "-"
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.2f} ± {spread:.2f}"


def paired(mine: Sequence[float], other: Sequence[float]) -> tuple[float, float]:
    """Mean difference, and p of a paired t test; 1 where all differences are the same."""
    from scipy.stats import ttest_rel

    differences = [a - b for a, b in zip(mine, other, strict=True)]
    p = float(ttest_rel(mine, other).pvalue) if len(set(differences)) > 1 else 1.0
    return statistics.mean(differences), p
