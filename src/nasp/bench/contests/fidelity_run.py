"""Searches, and asks the supernet."""

from __future__ import annotations

import time
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field

from nasp.bench.steps.measure import machine
from nasp.bilevel.selection.rerank import rerank
from nasp.jobs.search import SearchJob, search_in
from nasp.spaces import find_space
from nasp.training.device import make_fabric
from nasp.training.events import nobody
from nasp.training.stream import SamePass


class FidelityRequest(BaseModel):
    """What a fresh process is asked to run.

    Attributes:
        job: the search.
        cells: notations of the cells to measure with the weights that it leaves.
        batches: of the alphas' half, on which each cell is measured; None for all.
        threads: of torch; None leaves them to it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    job: SearchJob
    cells: list[str]
    batches: int | None = Field(None, ge=1)
    threads: int | None = Field(None, ge=1)


class FidelitySample(BaseModel):
    """What it found.

    Attributes:
        shared: accuracy of each cell with the shared weights, on the alphas' half, a fraction;
            None where its loss was not finite.
        search_seconds: of the search.
        ranking_seconds: of all cells together.
        machine: what it ran on.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    shared: list[float | None]
    search_seconds: float
    ranking_seconds: float
    machine: dict[str, Any]


def run(request: FidelityRequest) -> FidelitySample:
    """Search, then measure each cell as a path of the supernet.

    BatchNorms normalise by each batch, as they did in the search.

    Raises:
        UsageError: a setting does not fit.
        NaspError: the search failed.
    """
    if request.threads is not None:
        torch.set_num_threads(request.threads)
    job, config = request.job, request.job.search
    data = job.domain.read(job.data, nobody)
    device = make_fabric(config.device, config.precision).device
    space = find_space(job.space)
    start = time.perf_counter()
    found = search_in(data, job)
    searched = time.perf_counter()
    network = found.supernet.network
    loader = data.search_loaders(network, device, config.seed).selection
    metrics = rerank(
        found.supernet,
        [space.parse(cell) for cell in request.cells],
        SamePass(loader, config.seed, request.batches),
        data.task(),
        config,
        None,
        nobody,
    )
    return FidelitySample(
        shared=[row.get("accuracy") for row in metrics],
        search_seconds=searched - start,
        ranking_seconds=time.perf_counter() - searched,
        machine=machine(device),
    )
