"""The table of a selection, as people read it."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate
from typing import Any

from nasp.report.tables import Table, table_of
from nasp.runs.folder import RunFolder
from nasp.spaces import Space
from nasp.supernet.architecture import Architecture
from nasp.training.progress import compact

SHOWN = 20
"""Contenders that are shown; the file has all."""


def selection_table(run: RunFolder, space: Space | None) -> Table | None:
    """Return a run's selection, the winner first; None where it has none.

    Args:
        run: of a search.
        space: in whose notation architectures are written; None: edge by edge.
    """
    selection = run.selection()
    if selection is None:
        return None
    rows = []
    for place, contender in enumerate(selection["contenders"][:SHOWN], 1):
        architecture = Architecture(contender["edges"], None if space is None else space.name)
        rows.append(
            {
                **contender,
                "place": place,
                "found": compact(architecture) if space is None else space.notation(architecture),
                "at": ",".join(map(str, contender["epochs"])),
                "score": _figure(contender["shared"]),
                **{f"rung{rung}": _figure(each) for rung, each in enumerate(contender["rungs"])},
            }
        )
    columns = {"": "{place}", "architecture": "{found}"}
    if any(contender["visits"] for contender in selection["contenders"]):
        columns |= {"visits": "{visits}", "epochs": "{at}"}
    columns["shared"] = "{score}"
    ends = accumulate(rung["epochs"] for rung in selection["schedule"])
    columns |= {f"epoch {end}": f"{{rung{rung}}}" for rung, end in enumerate(ends)}
    return table_of(rows, columns, _title(selection), words=2)


def _title(selection: Mapping[str, Any]) -> str:
    how = "by the shared weights"
    if selection["schedule"]:
        rungs = ", ".join(f"{r['networks']} for {r['epochs']}" for r in selection["schedule"])
        how = f"by stand-alone training ({rungs} epochs)"
    count = len(selection["contenders"])
    if selection["contenders"][0].get("stands"):
        how += "; the first stands, as none leads it by more than two standard errors"
    part = f"; the first {SHOWN} of {count}, selection.json has all" if count > SHOWN else ""
    return f"Selection {how}, validation accuracy or loss{part}"


def _figure(metrics: Mapping[str, float | None] | None) -> str:
    if metrics is None:
        return ""
    if metrics["score"] is None:
        return "diverged"
    return f"{metrics['accuracy']:.2%}" if "accuracy" in metrics else f"{metrics['loss']:.4f}"
