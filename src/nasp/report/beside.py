"""Several runs side by side, as a report shows them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from nasp.report.charts import Lines
from nasp.report.comparison import (
    FIGURES,
    Compared,
    compared,
    differing_settings,
    results,
    side_by_side,
)
from nasp.report.contents import Contents
from nasp.report.tables import Table
from nasp.runs.folder import RunFolder


class Beside(NamedTuple):
    """Runs side by side.

    Attributes:
        runs: the runs.
        results: a row a run.
        curves: of each figure on data that was not learnt from, a line a run.
        settings: that are not the same in all.
    """

    runs: list[Contents]
    results: Table
    curves: list[Lines]
    settings: Table


def beside_each_other(runs: Sequence[Contents]) -> Beside:
    """Return what is to be compared of two runs or more."""
    found = compared([RunFolder.open(Path(run.path)) for run in runs])
    settings = differing_settings(found)
    return Beside(
        list(runs),
        results(found),
        list(filter(None, (_curve(on, f, found) for on in ("val", "test") for f in FIGURES))),
        side_by_side("Settings that differ", "setting", settings, found),
    )


def _curve(on: str, figure: str, runs: Sequence[Compared]) -> Lines | None:
    """Return the curves of those runs that have it; None where less than two do."""
    own = {run.name: run.curves[f"{on}_{figure}"] for run in runs if f"{on}_{figure}" in run.curves}
    if len(own) < 2:
        return None
    epochs = max(map(len, own.values()))
    series = {name: [*values, *[None] * (epochs - len(values))] for name, values in own.items()}
    title = f"{on.replace('val', 'validation')} {figure}".capitalize()
    at = [float(epoch) for epoch in range(1, epochs + 1)]
    return Lines(title, "epoch", figure, at, series, figure == "accuracy")
