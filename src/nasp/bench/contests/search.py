"""Runs one search in this process."""

from __future__ import annotations

import math
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from nasp.bench.contests.peers import Kept, kept_by
from nasp.bench.contests.stopwatch import TRAINING, Phase, Seconds, Stopwatch
from nasp.bench.steps.measure import machine
from nasp.bench.steps.memory import PeakMemory
from nasp.bilevel.found import Found
from nasp.bilevel.selection.rerank import rerank
from nasp.bilevel.selection.trial import Trial
from nasp.domains.domain import SearchLoaders
from nasp.domains.images.data import ImageConfig, ImageData
from nasp.jobs.search import search_in
from nasp.jobs.search_job import SearchJob
from nasp.runs.pool import Workplace
from nasp.spaces import find_space
from nasp.strategies import Horizon, find_strategy, strategy_config
from nasp.supernet.derive import derive
from nasp.training.events import EpochEnded, Started, Stepped, nobody
from nasp.training.passes import SamePass

FEWEST_BATCHES = 4
"""In an epoch of a share of the data: the first is left out of what a step takes."""


class SearchRequest(BaseModel):
    """What a fresh process is asked to run.

    Attributes:
        job: the search.
        share: of the data of each half that is used, and of the steps of an epoch, above 0, at
            most 1. Below 1 it is a calibration, in which a selection trains a network though the
            search came by a single one, and a search is not left to its fallback.
        cells: notations of cells that are measured at the end with the weights of the supernet.
        batches: of the alphas' half, on which each cell is measured; None for all.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    job: SearchJob
    share: float = Field(1.0, gt=0, le=1)
    cells: tuple[str, ...] = ()
    batches: int | None = Field(None, ge=1)


class SearchSample(BaseModel):
    """What the search found, and what it took.

    Attributes:
        architecture: the result.
        start: what the strategy would have returned before its first step; None where one step
            is its whole search.
        derived: the architecture at the end of each epoch.
        total: seconds in all, but for those of measuring cells.
        phases: the search, then the parts of its selection, then measuring cells.
        steps_per_epoch: of the search, with the share of the data that was used.
        full_steps_per_epoch: with all the data.
        batches: in a half, with that share.
        full_batches: with all the data.
        peak_bytes: the most memory above `idle_bytes`.
        idle_bytes: held with data and network in memory.
        peak_source: how the two were had, see `PeakMemory`.
        selection: every architecture that the selection looked at; None without one.
        shared: accuracy of each cell with the shared weights, on the alphas' half, a fraction;
            None where its loss was not finite.
        agreement: of the halves of the averaged steps, see `Health`; None where there is none.
        scored: the sum of the search's own scores over each cell's edges, see `Found.scores`.
        bounds: that the result keeps; none of a calibration, nor where costs do not add up.
        machine: what it ran on.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    architecture: dict[str, str | None]
    start: dict[str, str | None] | None = None
    derived: list[dict[str, str | None]]
    total: Seconds
    phases: list[Phase]
    steps_per_epoch: int
    full_steps_per_epoch: int
    batches: int
    full_batches: int
    peak_bytes: int
    idle_bytes: int
    peak_source: str
    selection: dict[str, Any] | None
    shared: list[float | None] = Field(default_factory=list)
    scored: list[float] = Field(default_factory=list)
    bounds: list[Kept] = Field(default_factory=list)
    agreement: float | None = None
    machine: dict[str, Any]


def run_search(request: SearchRequest, at: Workplace | None = None) -> SearchSample:
    """Run the search; memory is right only in a fresh process.

    Raises:
        UsageError: a setting does not fit.
        NaspError: the search failed.
    """
    job = request.job
    device = job.search.fabric().device
    data = job.domain.read(job.data, nobody)
    assert isinstance(data, ImageData)
    half = data.config.subset or len(data.images.train) // 2
    full_batches = half // data.batch_size(half)
    full_steps = job.search.epoch_steps or full_batches
    if request.share < 1:
        job = _reduced(job, request.share, half, full_steps)
        assert isinstance(job.data, ImageConfig)
        data = ImageData(job.data, data.images)
    images = data.config.subset or half
    batches = images // data.batch_size(images)
    watch = Stopwatch(lambda: PeakMemory(device), nobody if at is None else at.tell)
    found = search_in(data, job, observe=watch)
    if request.share < 1 and job.search.select == "train" and watch.phases[-1].name != TRAINING:
        _train_one(found, job, data, watch)
    total = watch.now()
    assert watch.memory is not None
    return SearchSample(
        architecture=dict(found.architecture.edges),
        start=None if found.start is None else dict(found.start.edges),
        derived=watch.derived,
        total=total,
        steps_per_epoch=job.search.epoch_steps or batches,
        full_steps_per_epoch=full_steps,
        batches=batches,
        full_batches=full_batches,
        peak_bytes=watch.memory.above_idle(),
        idle_bytes=watch.memory.idle,
        peak_source=watch.memory.source,
        selection=None if found.selection is None else found.selection.as_dict(),
        shared=_shared(found, request, data, watch) if request.cells else [],
        scored=_scored(found, request),
        bounds=kept_by(data, job) if request.share == 1 else [],
        agreement=found.metrics[-1].get("agreement"),
        phases=watch.phases,
        machine=machine(device),
    )


def _reduced(job: SearchJob, share: float, half: int, steps: int) -> SearchJob:
    """Return a job on a share of the data, with as small a share of the steps of an epoch."""
    search, batch = job.search.model_copy(update={"fallback": "none"}), job.data.batch_size
    own = strategy_config(search.strategy, search.settings)
    every = find_strategy(search.strategy).weight_steps(own, Horizon(search.epochs, steps))
    if every > 1:  # as on all the data, though this is shorter
        search = search.model_copy(update={"settings": {**search.settings, "weight_steps": every}})
    images = max(FEWEST_BATCHES * batch, round(share * half))
    images = images if every == 1 else _whole(images // batch, every) * batch
    data = job.data.model_copy(update={"subset": min(half, images)})
    if search.epoch_steps is not None:
        fewer = _whole(max(FEWEST_BATCHES, round(share * steps)), every)
        search = search.model_copy(update={"epoch_steps": min(steps, fewer)})
    return job.model_copy(update={"data": data, "search": search})


def _whole(steps: int, every: int) -> int:
    """Return so many steps or some more, of which all but the first are whole turns of `every`."""
    return 1 + math.ceil((steps - 1) / every) * every


def _train_one(found: Found, job: SearchJob, data: ImageData, watch: Stopwatch) -> None:
    """Train the found network for an epoch as a selection would have."""
    network = derive(found.supernet, found.architecture, found.initial_weights)
    trial = Trial(network, data.task(), job.search)
    loader, _, selection = _loaders(found, job, data)
    watch(Started(0, 1, len(loader), phase=TRAINING))
    for index, batch in enumerate(loader):
        trial.step(batch, index / len(loader))
        watch(Stepped(1, index + 1, {}))
    trial.measure(selection)
    watch(EpochEnded(1, {}, 0.0))


def _shared(
    found: Found, request: SearchRequest, data: ImageData, watch: Stopwatch
) -> list[float | None]:
    """Measure each cell as a path of the supernet; BatchNorms normalise by each batch."""
    job, space = request.job, find_space(request.job.space)
    metrics = rerank(
        found.supernet,
        [space.parse(cell) for cell in request.cells],
        SamePass(_loaders(found, job, data).selection, job.search.seed, request.batches),
        data.task(),
        job.search,
        None,
        watch,
    )
    return [row.get("accuracy") for row in metrics]


def _scored(found: Found, request: SearchRequest) -> list[float]:
    rows = [row.tolist() for scores in found.scores.values() for row in scores]
    paths = map(found.supernet.path, map(find_space(request.job.space).parse, request.cells))
    held = ([row[k] for row, k in zip(rows, p, strict=True) if k is not None] for p in paths)
    return [math.fsum(each) for each in held]


def _loaders(found: Found, job: SearchJob, data: ImageData) -> SearchLoaders:
    device = job.search.fabric().device
    return data.search_loaders(found.supernet.network, device, job.search.seed)
