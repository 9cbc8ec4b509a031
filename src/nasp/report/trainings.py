"""What a training reached, of what was found and of rivals, read from its folder."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch

from nasp.complexity import parameter_count
from nasp.jobs.rebuild import run_size
from nasp.jobs.targets import is_from_python, job_of
from nasp.jobs.train_job import TrainJob
from nasp.report.charts import Lines
from nasp.report.facts import Fact
from nasp.report.tables import Table, table_of
from nasp.runs.folder import RunFolder, json_object

_EFFORT = {"epochs": "{epochs}", "seconds": "{seconds:.1f}"}
_BEST = {"accuracy": max, "perplexity": min, "loss": min}


class Training(NamedTuple):
    """Networks that were trained beside each other.

    Attributes:
        title: which figure, measured on what.
        facts: how well what was found does.
        table: a row a network.
        curves: of that figure.
    """

    title: str
    facts: list[Fact]
    table: Table
    curves: Lines


def training_of(run: RunFolder, kind: str) -> Training | None:
    """Return what a training reached, or that of a search's result in its folder ``train``.

    Args:
        run: the folder.
        kind: ``search`` or ``train``.
    """
    folder = run if kind == "train" else RunFolder(run.path / "train")
    if not folder.config_path.is_file():
        return None
    beside = sorted(folder.path.glob("beside/*/config.json"))
    networks = {"found": folder, **{path.parent.name: RunFolder(path.parent) for path in beside}}
    lines = {name: each.metrics() for name, each in networks.items() if each.metrics()}
    measured = [
        (on, figure)
        for figure in _BEST
        for on in ("val", "test")
        if all(f"{on}_{figure}" in own[-1] for own in lines.values())
    ]
    if not lines or not measured:
        return None
    on, figure = measured[0]
    name, best = f"{on}_{figure}", _BEST[figure]
    form, where = ".2%" if figure == "accuracy" else ".4g", on.replace("val", "validation")
    rows = []
    for each, own in lines.items():
        path = networks[each].path / "test.json"
        tested = json_object(path) if path.is_file() else {}
        rows.append(
            {
                "name": each.replace("random-", "random cell "),
                "parameters": _parameters(networks[each]),
                "last": own[-1][name],
                "best": best(line[name] for line in own),
                "epochs": own[-1]["epoch"],
                "test": tested.get(figure),
                "seconds": sum(line["seconds"] for line in networks[each].timing()),
            }
        )
    columns = {"network": "{name}", "parameters": "{parameters:,}"}
    if any(row["test"] is not None for row in rows):
        columns[f"test {figure}"] = f"{{test:{form}}}"
    title = f"{where} {figure}"
    columns |= {title: f"{{last:{form}}}", f"{title}, best": f"{{best:{form}}}", **_EFFORT}
    longest = max(map(len, lines.values()))
    series: dict[str, list[float | None]] = {}
    for each, own in lines.items():
        values = [line[name] if math.isfinite(line[name]) else None for line in own]
        series[each] = [*values, *[None] * (longest - len(own))]
    title = title.capitalize()
    at = [float(epoch) for epoch in range(1, longest + 1)]
    chart = Lines(title, "epoch", figure, at, series, figure == "accuracy")
    table = table_of(rows, columns)
    shown = zip(table.headings[1:], table.rows[0][1:], strict=True)
    facts = [
        Fact(name, said)
        for name, said in shown
        if said and name not in _EFFORT and not name.endswith("best")
    ]
    return Training(title, facts, table, chart)


def _parameters(run: RunFolder) -> int | None:
    """Return how many parameters a training's network has, if its shape is known."""
    job: Any = None if is_from_python(run) else job_of(run)
    if not isinstance(job, TrainJob) or not job.domain.known_shape(job.data, run.path):
        return None
    size = job.domain.sized(run_size(run, {}, observe=None))
    with torch.device("meta"):
        return parameter_count(job.network(size))
