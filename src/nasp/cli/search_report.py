"""Summaries of runs and architectures, as plain values and as tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from nasp.bilevel.history import ALPHAS, averaged
from nasp.bilevel.search_costs import bounds_of
from nasp.cli.selection_report import show_selection
from nasp.cli.tables import print_table
from nasp.complexity import parameter_count
from nasp.complexity.bound import Reached
from nasp.complexity.quantity import find_quantity
from nasp.domains import find_domain
from nasp.errors import UsageError
from nasp.jobs.repeat import RepeatJob
from nasp.jobs.search_job import SearchJob
from nasp.jobs.targets import is_from_python, job_of
from nasp.runs.folder import RunFolder, load_tensors
from nasp.spaces import find_space, space_names
from nasp.spaces.sampling import (
    candidates_of,
    has_parameters,
    share_without_parameters,
    small_supernet,
    without_parameters,
)
from nasp.strategies.average import SHOWN
from nasp.supernet.architecture import Architecture

HEALTH = (
    *("changed_edges", "flips_per_step", "margin_mean", "margin_min", "agreement"),
    *("size_tau", "knows", "parameterless"),
)


def architecture_summary(architecture: Architecture, size: Any = None) -> dict[str, Any]:
    """Return an architecture with its notation, wiring and, at a size, parameters."""
    summary: dict[str, Any] = {"space": architecture.space, "edges": dict(architecture.edges)}
    if architecture.space in space_names():
        space = find_space(architecture.space)
        summary["notation"] = space.notation(architecture)
        summary["wiring"] = [wire._asdict() for wire in space.wiring(architecture)]
        if size is not None:
            summary["network"] = size.model_dump()
            summary["parameters"] = parameter_count(space.network(architecture, size))
    return summary


def tell_search(run: RunFolder, architecture: Architecture, as_json: bool) -> dict[str, Any]:
    """Print what a search found, unless it is told as JSON; return its summary."""
    summary = search_summary(run, architecture)
    if not as_json:
        show_selection(run)
        show_search(summary)
    return summary


def search_summary(run: RunFolder, architecture: Architecture) -> dict[str, Any]:
    """Return what a finished search has to say."""
    last = run.metrics()[-1]
    return {
        "run": str(run.path),
        "architecture": architecture_summary(architecture),
        "decided_by": run.decided_by(),
        "selection": run.selection(),
        "epochs": last["epoch"],
        "seconds": round(sum(line["seconds"] for line in run.timing()), 1),
        "metrics": {k: v for k, v in last.items() if k.startswith(("train_", "val_"))},
        "health": {**{name: last.get(name) for name in HEALTH}, **_made_of(architecture)},
        "warnings": last.get("warnings", []),
        "bounds": [each.as_dict() for each in bounds_of(run)],
        "next": f"nasp train {run.path}",
    }


def show_architecture(summary: dict[str, Any]) -> None:
    """Print an architecture as a table of edges."""
    if "wiring" not in summary:
        edges = [{"edge": e, "operation": c or "off"} for e, c in summary["edges"].items()]
        print_table(edges, {"edge": "{edge}", "operation": "{operation}"}, words=2)
        return
    columns = {"cell": "{cell}", "from": "{source}", "to": "{target}", "operation": "{operation}"}
    print_table(summary["wiring"], columns, words=4)
    typer.echo(summary["notation"])
    if "parameters" in summary:
        size = summary["network"]
        reads = find_domain(find_space(summary["space"]).data).described(size)
        cells = f"{size['cells']} cell{'s' * (size['cells'] > 1)}"
        typer.echo(
            f"{summary['parameters']:,} parameters at {size['channels']} channels, {cells}, {reads}"
        )


def _made_of(architecture: Architecture) -> dict[str, float]:
    """Return what the result is made of, which bounds and a selection may have changed."""
    if architecture.space not in space_names():
        return {}
    free = without_parameters(find_space(architecture.space))
    return {"parameterless": share_without_parameters(architecture.edges, free)}


def show_search(summary: dict[str, Any]) -> None:
    """Print what a search found and where it is."""
    show_architecture(summary["architecture"])
    health = summary["health"]
    free = ""
    if has_parameters(find_space(summary["architecture"]["space"])):
        free = f" {health['parameterless']:.0%} of the edges without parameters;"
    agreement, size_tau = health.get("agreement"), health.get("size_tau")
    agreed = "" if agreement is None else f"; its halves agree by {agreement:.2f}"
    agreed += "" if size_tau is None else f", with size by {size_tau:.2f}"
    typer.echo(
        f"Searched {summary['epochs']} epochs in {summary['seconds']} s;{free}"
        f" smallest margin {health['margin_min']:.4f}{agreed}"
    )
    if summary["decided_by"] is not None:
        typer.echo(f"Decided by: {summary['decided_by']}")
    for bound in summary["bounds"]:
        typer.echo(Reached.from_dict(bound).sentence())
    run = summary["run"]
    typer.echo(f"Run folder: {run}\nNext: {summary['next']}\nTo look at it: nasp report {run}")


def draw_run(target: RunFolder | Architecture, path: Path) -> None:
    """Draw a run's curves and, for a finished search in a known space, its alphas.

    Raises:
        UsageError: the target is no run, or no epoch of it is done.
    """
    from nasp.report.curves import curves_of, draw

    if isinstance(target, Architecture):
        raise UsageError("An architecture has no curves: give --plot with a run folder.")
    candidates: dict[str, list[str]] = {}
    title = target.path.name
    if not is_from_python(target):
        job = job_of(target)
        if isinstance(job, RepeatJob):
            raise UsageError(
                "A repeat has no curves, its searches have: give --plot with"
                f" {target.path}/seed-{job.search.seed}."
            )
        if isinstance(job, SearchJob):
            candidates = candidates_of(find_space(job.space))
        title += f": {job.space} on {job.data.name.rpartition('/')[2]}"
    draw(curves_of(target, candidates), path, title)


def show_progress(run: RunFolder) -> None:
    """Print a run's metrics, a row an epoch."""
    lines = run.metrics()
    if not lines:
        typer.echo("No epoch is done yet.")
        return
    columns = {
        name.replace("_", " "): f"{{{name}:{'.4f' * isinstance(value, float)}}}"
        for name, value in lines[-1].items()
        if name.endswith(("_loss", "_accuracy", "_perplexity")) or name in ("epoch", *HEALTH)
    }
    print_table(lines, columns, words=0)
    for warning in lines[-1].get("warnings", []):
        typer.echo(f"warning: {warning}")
    if (decided_by := run.decided_by()) is not None:
        typer.echo(f"Decided by: {decided_by}")


def average_of(run: RunFolder) -> dict[str, Any]:
    """Return what the strategy's average says at the end, by edge and candidate.

    Nothing for a search that is not finished, or whose strategy takes no average.
    """
    path = run.path / ALPHAS
    if is_from_python(run):
        return {}
    job = job_of(run)
    if not isinstance(job, SearchJob) or not path.is_file():
        return {}
    averages, edges, says = averaged(load_tensors(path)), dict[str, dict[str, float]](), ""
    for name, table in small_supernet(find_space(job.space)).tables.items():
        if name in averages:
            says, history = averages[name]
            for edge, row in zip(table.edges, history[-1].tolist(), strict=True):
                edges[edge] = dict(zip(table.candidates, row, strict=True))
    return {"says": says, "edges": edges} if edges else {}


def show_average(average: dict[str, Any]) -> None:
    """Print what the average says of the candidates of each edge, the best first."""
    rows = []
    written = "{:.0%}" if average.get("says") == SHOWN["shares"] else "{:.2g}"
    for edge, row in average.get("edges", {}).items():
        ranked = sorted(row.items(), key=lambda item: -item[1])[:3]
        rows.append(
            {
                "edge": edge,
                **{f"c{i}": f"{name} {written.format(v)}" for i, (name, v) in enumerate(ranked)},
            }
        )
    if rows:
        columns = {"edge": "{edge}", "first": "{c0}", "then": "{c1}", "and": "{c2}"}
        title = f"The average: {average['says']}"
        print_table(rows, columns, title, words=4)


def run_summary(run: RunFolder) -> dict[str, Any]:
    """Return the state of a run, finished or not."""
    lines = run.metrics()
    if is_from_python(run):
        content = run.config()
        kind = str(content["kind"]).removeprefix("python-")
        job, epochs = {kind: content[kind]}, content[kind]["epochs"]
    else:
        found = job_of(run)
        kind = found.kind
        epochs = found.search.epochs if isinstance(found, SearchJob) else found.train.epochs
        job = found.model_dump(mode="json")
    return {
        "run": str(run.path),
        "kind": kind,
        "job": job,
        "epochs": run.epochs(epochs),
        "epochs_done": len(lines),
        "finished": (run.path / "weights.safetensors").is_file(),
        "metrics": lines,
        "selection": run.selection(),
        "decided_by": run.decided_by(),
        "average": average_of(run),
    }


def show_costs(rows: list[dict[str, Any]], example: str) -> None:
    """Print each cost of a network, the mean of random ones, and how many are cheaper.

    Args:
        rows: `nasp.complexity.among_random.AmongRandom` as dictionaries.
        example: what goes through the network, such as ``"image"``.
    """
    cells = []
    for row in rows:
        quantity = find_quantity(row["cost"])
        written = {name: quantity.written(row[name]) for name in ("value", "mean")}
        spread = f" ± {quantity.written(row['spread'])}" if row["spread"] else ""
        cells.append({**row, **written, "label": quantity.label, "spread": spread})
    columns = {
        "cost": "{label}",
        "this network": "{value}{spread}",
        f"mean of {rows[0]['random']} random": "{mean}",
        "cheaper than it": "{cheaper:.0%}",
    }
    print_table(cells, columns, f"One {example} through it")
    for row in rows:
        if row["cost"] == "latency" and row["estimate"] != row["value"]:
            typer.echo(
                "Random ones are timed by the sum of their candidates; so timed, this network"
                f" takes {find_quantity('latency').written(row['estimate'])}."
            )
