"""What is told of a repeat: a table of seeds and random networks, and how to read it."""

from __future__ import annotations

from itertools import accumulate
from string import ascii_uppercase
from typing import Any

from nasp.bench.contests.repeat.run import BETTER
from nasp.complexity.quantity import find_quantity
from nasp.report.tables import Table, table_of
from nasp.runs.folder import RunFolder


def repeat_table(report: dict[str, Any]) -> Table:
    """Return a row a seed, and below a row a random network.

    Args:
        report: of `nasp.bench.contests.repeat.run`, of a repeat that is done.
    """
    names, costs = _letters(report), dict.fromkeys(c for r in report["seeds"] for c in r["costs"])
    rows = []
    for number, row in enumerate([*report["seeds"], *report["random"]], 1):
        is_found = number <= len(report["seeds"])
        random = f"random {number - len(report['seeds'])}"
        written = {
            f"cost {name}": find_quantity(name).written(row["costs"][name]) for name in costs
        }
        figures = {f"rung {n}": _figure(report, each) for n, each in enumerate(row["figures"])}
        rows.append(
            {
                **row,
                **written,
                **figures,
                "who": f"seed {row['seed']}" if is_found else random,
                "found": _found(row, names) if is_found else "control",
                "result": _standing(row, report, is_found),
            }
        )
    columns = {"network": "{who}", "found": "{found}", "result": "{result}"}
    if "parameters" not in costs:
        columns["parameters"] = "{parameters:,}"
    columns |= {find_quantity(name).label: f"{{cost {name}}}" for name in costs}
    ends = accumulate(rung["epochs"] for rung in report["schedule"])
    columns |= {f"epoch {end}": f"{{rung {rung}}}" for rung, end in enumerate(ends)}
    on = f"validation {report['figure']}"
    title = f"{len(report['seeds'])} seeds, and random networks beside them: {on} when trained"
    return table_of(rows, columns, title, words=3)


def repeat_remarks(report: dict[str, Any], run: RunFolder) -> list[str]:
    """Return in words what was found, how far it lies apart, and whether chance does as well.

    Args:
        report: see `repeat_table`.
        run: of the repeat.
    """
    names, seeds = _letters(report), len(report["seeds"])
    remarks = [f"{letter}: {notation}" for notation, letter in names.items()]
    many = report["architectures"]
    remarks.append(
        f"{seeds} seeds found {many} architecture{'s' * (many > 1)}; two seeds agree in"
        f" {report['agreement']:.0%} of the edges, two random networks in {report['chance']:.0%}."
    )
    spread = report["spread"]
    if spread["found"] is not None:
        epochs = report["schedule"][0]["epochs"]
        said = [_said(report, who, spread[who]) for who in ("found", "random") if spread[who]]
        remarks.append(
            f"After {epochs} epoch{'s' * (epochs > 1)} each: {'; '.join(said)}"
            " (mean ± standard deviation)."
        )
    if report["beats"] is not None:
        remarks.append(
            f"Of a network that was found and a random one the former is better in"
            f" {report['beats']:.0%} of the pairs; chance is 50%."
        )
    kept, better = report["kept"], report["better"]
    if better is None:
        remarks.append(f"Kept: what seed {kept['seed']} found.")
    else:
        remarks.append(
            "A random network did better than all that was found: here the search brought nothing."
            f" Kept is what seed {kept['seed']} found, the best of a search. For the random one:"
            f" nasp train {run.path / BETTER} --data {run.config()['job']['data']['name']}"
        )
    return remarks


def _letters(report: dict[str, Any]) -> dict[str, str]:
    """Return notation -> letter of what was found, in the order of the seeds."""
    notations = dict.fromkeys(row["architecture"] for row in report["seeds"])
    return {
        notation: ascii_uppercase[number % 26] * (number // 26 + 1)
        for number, notation in enumerate(notations)
    }


def _found(row: dict[str, Any], names: dict[str, str]) -> str:
    letter = names[row["architecture"]]
    return letter if row["same"] == 1 else f"{letter}, of {row['same']} seeds"


def _standing(row: dict[str, Any], report: dict[str, Any], is_found: bool) -> str:
    if not row["keeps_bounds"]:
        return "breaks a bound"
    if is_found:
        return "kept" if row["seed"] == report["kept"]["seed"] else ""
    return "better" if report["better"] == row else ""


def _said(report: dict[str, Any], who: str, over: dict[str, Any]) -> str:
    mean, worst = _figure(report, over["mean"]), _figure(report, over["worst"])
    diverged = f", {over['diverged']} diverged" if over["diverged"] else ""
    spread = f" ± {_figure(report, over['std'])}" if over["networks"] > 1 else ""
    return f"{who} {mean}{spread}, worst {worst}{diverged}"


def _figure(report: dict[str, Any], value: float | None) -> str:
    if value is None:
        return "diverged"
    return f"{value:.2%}" if report["figure"].endswith("accuracy") else f"{value:.4f}"
