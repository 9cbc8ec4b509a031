"""What a report says of one run: read from its folder, not yet drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nasp.bench.contests.repeat.run import report_in
from nasp.bilevel.search_costs import bounds_of
from nasp.complexity.among_random import TIMED, AmongRandom
from nasp.complexity.bound import Reached
from nasp.jobs.repeat import RepeatJob
from nasp.jobs.search_job import SearchJob
from nasp.jobs.train_job import TrainJob
from nasp.report.by_epoch import Metrics, curves, figures_of
from nasp.report.cells import Cell, draw_cells, ends_of
from nasp.report.charts import Lines
from nasp.report.facts import Asked, Fact, Warned, asked, health, settings_of, warnings_of
from nasp.report.moves import Moves, Stop, read_moves
from nasp.report.repeat import repeat_remarks, repeat_table
from nasp.report.selection import selection_table
from nasp.report.standing import costs_table, standing
from nasp.report.tables import Table
from nasp.report.trainings import Training, training_of
from nasp.runs.folder import RunFolder
from nasp.spaces import Space, find_space, space_names
from nasp.spaces.sampling import small_supernet
from nasp.strategies import find_strategy
from nasp.supernet.architecture import Architecture

_COSTS = ("parameters", "flops")
"""What is counted of a network; multiply-adds are half of its FLOPs."""


@dataclass(frozen=True)
class Contents:
    """One run, as a report shows it; what there is none of is empty or None.

    Attributes:
        name: of the run, as the tabs call it.
        path: of its folder.
        asked: what it was asked to do.
        lead: one sentence of what it was.
        facts: the first things that people ask.
        is_finished: whether it has its result.
        warnings: of its search.
        health: the last epoch's figures, in words.
        notation: of the architecture.
        bounds: each bound or target and what was reached.
        moves: of its path and alphas; of a training the architecture alone.
        cells: their drawing.
        labels: edge -> what people call it.
        curves: by epoch.
        figures: the same as a table.
        selection: its table.
        seeds: of a repeat, what each found, and random networks beside them.
        remarks: how to read that.
        costs: of the network, beside random ones.
        training: of what was found, and of rivals.
        settings: section -> setting -> value.
        origin: versions and commit.
        missing: what a report could have and this one does not, and why.
    """

    name: str
    path: str
    asked: Asked
    lead: str
    facts: list[Fact]
    is_finished: bool
    warnings: list[Warned]
    health: list[Fact]
    notation: str
    bounds: list[Reached]
    moves: Moves
    cells: list[Cell]
    curves: list[Lines]
    figures: Table
    selection: Table | None
    seeds: Table | None
    remarks: list[str]
    costs: list[AmongRandom]
    costs_of: str
    training: Training | None
    settings: dict[str, dict[str, str]]
    origin: list[Fact]
    missing: list[str] = field(default_factory=list)

    @property
    def labels(self) -> dict[str, str]:
        """Edge -> what people call it."""
        return {edge.name: edge.label for cell in self.cells for edge in cell.edges}


def contents_of(run: RunFolder, latency: bool = False) -> Contents:
    """Read a run folder, of a search or a training, finished or not.

    Args:
        run: the folder.
        latency: whether the network's latency is measured now, on this machine.

    Raises:
        UsageError: its settings do not fit this version.
        NaspError: a file is damaged.
    """
    what = asked(run)
    lines = run.metrics() if _has_epochs(what) else []
    job = what.job
    space = find_space(job.space) if job is not None and job.space in space_names() else None
    architecture = _architecture(run, job)
    is_search = what.kind == "search"
    moves = read_moves(run, space, lines) if is_search else _still(architecture, space)
    missing: list[str] = []
    costs, costs_of = [], ""
    if architecture is not None and space is not None:
        measured = standing(architecture, run, costs=(*_COSTS, *TIMED) if latency else _COSTS)
        costs, costs_of = measured.rows, measured.network
        if not latency:
            missing.append(
                "Latency was not measured for this report: nasp report --latency measures it on"
                " the machine that it runs on."
            )
    elif architecture is not None:
        missing.append(
            "Costs beside random networks: the network is Python's own, so a run folder cannot"
            " build it. What nasp.search measured for a bound is shown."
        )
    if is_search:
        missing += _missing(moves, lines, architecture is not None)
    is_finished = (run.path / "weights.safetensors").is_file()
    charts, training = curves(lines), training_of(run, what.kind)
    repeated = report_in(run) if what.kind == "repeat" else None
    seconds = sum(line["seconds"] for line in run.timing())
    return Contents(
        name=run.path.name,
        path=str(run.path),
        asked=what,
        lead=_lead(what, lines, seconds, is_finished),
        facts=_facts(what.kind, charts, training, costs),
        is_finished=is_finished,
        warnings=warnings_of(lines),
        health=health(lines[-1], run.decided_by()) if lines else [],
        notation="" if architecture is None or space is None else space.notation(architecture),
        bounds=bounds_of(run) if run.architecture_path.is_file() else [],
        moves=moves,
        cells=draw_cells(moves.candidates, {} if space is None else ends_of(space)),
        curves=charts,
        figures=figures_of(charts),
        selection=None if repeated else selection_table(run, space),
        seeds=None if repeated is None else repeat_table(repeated),
        remarks=[] if repeated is None else repeat_remarks(repeated, run),
        costs=costs,
        costs_of=costs_of,
        training=training,
        settings=settings_of(run),
        origin=_origin(run.config()),
        missing=missing,
    )


def _architecture(run: RunFolder, job: SearchJob | TrainJob | None) -> Architecture | None:
    if run.architecture_path.is_file():
        return Architecture.load(run.architecture_path)
    if isinstance(job, TrainJob) and job.architecture is not None:
        return Architecture(job.architecture, job.space)
    return None


def _still(architecture: Architecture | None, space: Space | None) -> Moves:
    """Return an architecture that does not move."""
    if architecture is None:
        return Moves({}, [], [])
    tables = {} if space is None else small_supernet(space).tables
    could = {e: list(table.candidates) for table in tables.values() for e in table.edges}
    held = {edge: [] if name is None else [name] for edge, name in architecture.edges.items()}
    return Moves({**held, **could}, [Stop("found", 0, dict(architecture.edges))], [])


def _lead(what: Asked, lines: Metrics, seconds: float, is_finished: bool) -> str:
    job, done = what.job, len(lines)
    if isinstance(job, RepeatJob):
        return f"{job.seeds} searches by {job.search.strategy} in {job.space} on {job.data.name}."
    how = f"A search by {what.config['strategy']}" if what.kind == "search" else "A training"
    where = "of a module of your own" if job is None else f"in {job.space} on {job.data.name}"
    epochs = f"{done} epoch{'s' * (done != 1)}" + f" of {what.epochs}" * (not is_finished)
    if is_finished and not lines:
        epochs = "one step"
    return f"{how} {where}: {epochs} in {_duration(seconds)}, seed {what.config['seed']}."


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.3g} s"


def _has_epochs(what: Asked) -> bool:
    return what.kind == "train" or find_strategy(what.config["strategy"]).iterative


def _facts(
    kind: str, charts: Sequence[Lines], training: Training | None, costs: Sequence[AmongRandom]
) -> list[Fact]:
    """Return how well the network does on data it did not learn from, and its size."""
    if training is not None:
        return training.facts
    facts = []
    of_supernet, searched = (
        (", supernet's weights", ", as searched") if kind == "search" else ("", "")
    )
    for chart in charts:
        for part in ("test", "validation"):
            value = chart.series.get(part, [None])[-1]
            if value is not None:
                said = f"{value:.2%}" if chart.are_shares else f"{value:.4g}"
                facts.append(Fact(f"{part} {chart.y}{of_supernet}", said))
    return [*facts[:2], *(Fact(row[0] + searched, row[1]) for row in costs_table(costs).rows)]


def _missing(moves: Moves, lines: Metrics, is_finished: bool) -> list[str]:
    if not lines and not is_finished:
        return ["Paths and curves: no epoch is done yet."]
    missing = []
    if not is_finished:
        missing.append("The result and what it costs: the search is not finished.")
    if not moves.grids:
        missing.append("Alphas by epoch: this strategy moves none, or the folder holds none.")
    return missing


def _origin(content: Mapping[str, Any]) -> list[Fact]:
    versions = [Fact(name, str(value)) for name, value in content.get("versions", {}).items()]
    return [*versions, Fact("git commit", content["git"])] if content.get("git") else versions
