"""The table of a selection, as people read it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from nasp.jobs.jobs import AnySearchJob, job_of
from nasp.runs.folder import RunFolder
from nasp.spaces import find_space
from nasp.supernet.architecture import Architecture

SHOWN = 20
"""Contenders that are printed; the file has all."""


def show_selection(run: RunFolder) -> None:
    """Print a run's selection, the winner first; nothing where it has none."""
    selection = run.selection()
    if selection is None:
        return
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = 160  # a file has no edge at which cells must be folded
    job = job_of(run)
    space = find_space(job.space) if isinstance(job, AnySearchJob) else None
    table = Table(title=_title(selection), title_justify="left", box=SIMPLE_HEAD, padding=(0, 1))
    for name in ("", "visits", "epochs", "shared", *_rung_names(selection)):
        table.add_column(name, justify="right")
    table.add_column("architecture", overflow="fold")
    for place, contender in enumerate(selection["contenders"][:SHOWN], 1):
        architecture = Architecture(contender["edges"], None if space is None else space.name)
        table.add_row(
            str(place),
            str(contender["visits"]),
            ",".join(map(str, contender["epochs"])),
            _figure(contender["shared"]),
            *(
                _figure(contender["rungs"][rung] if rung < len(contender["rungs"]) else None)
                for rung in range(len(selection["schedule"]))
            ),
            _cell(architecture) if space is None else space.notation(architecture),
        )
    console.print(table)
    left = len(selection["contenders"]) - SHOWN
    if left > 0:
        console.print(f"{left} more in {run.selection_path}", soft_wrap=True)


def _title(selection: Mapping[str, Any]) -> str:
    how = "by the shared weights"
    if selection["schedule"]:
        rungs = ", ".join(f"{r['networks']} for {r['epochs']}" for r in selection["schedule"])
        how = f"by stand-alone training ({rungs} epochs)"
    return f"Selection {how}, validation accuracy or loss"


def _rung_names(selection: Mapping[str, Any]) -> list[str]:
    epochs, names = 0, []
    for rung in selection["schedule"]:
        epochs += rung["epochs"]
        names.append(f"epoch {epochs}")
    return names


def _figure(metrics: Mapping[str, float | None] | None) -> str:
    if metrics is None:
        return ""
    if metrics["score"] is None:
        return "diverged"
    return f"{metrics['accuracy']:.2%}" if "accuracy" in metrics else f"{metrics['loss']:.4f}"


def _cell(architecture: Architecture) -> str:
    return "  ".join(f"{e}={c}" for e, c in architecture.edges.items() if c is not None)
