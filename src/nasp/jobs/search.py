"""A search that fits in a JSON file, and how it is run."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

from pydantic import Field, SerializeAsAny

from nasp.bilevel.found import Found
from nasp.bilevel.search import run_search
from nasp.bilevel.search_costs import Bounded
from nasp.bilevel.settings import SearchConfig
from nasp.domains.domain import Data, SearchLoaders, SupernetConfig
from nasp.jobs.job import Job, Size, keep_data, run_of
from nasp.runs.folder import RunFolder
from nasp.runs.pool import Workplace
from nasp.runs.random_state import seed_all
from nasp.spaces import find_space
from nasp.supernet.supernet import Supernet
from nasp.training.events import Observer, nobody
from nasp.training.layout import laid_out


class SearchJob(Size, Job):
    """A search in a space that is known by name.

    Attributes:
        supernet: settings of a supernet for such data.
        bound_at: the size at which bounds hold; None: they hold for the searched network itself.
        search: settings of the search.
    """

    kind: ClassVar[str] = "search"
    own: ClassVar[tuple[str, ...]] = ("data", "supernet")

    supernet: SerializeAsAny[SupernetConfig] = Field(default_factory=SupernetConfig)
    bound_at: Size | None = None
    search: SearchConfig = Field(default_factory=SearchConfig)


class SearchRequest(NamedTuple):
    """A search as a piece of work.

    Attributes:
        job: the search.
        go_on: what the user is told to call where it is stopped.
    """

    job: SearchJob
    go_on: str


def search_at(request: SearchRequest, at: Workplace) -> dict[str, Any]:
    """Search in the run folder of a workplace, or go on there.

    Returns:
        The notations of the ``architecture`` that was found and of the one that the search was at
        before its first step, ``start``; None where it was at none.
    """
    assert at.folder is not None
    found = run_search_job(request.job, run_of(at.folder, *request), at.tell)
    notation = find_space(request.job.space).notation
    start = None if found.start is None else notation(found.start)
    return {"architecture": notation(found.architecture), "start": start}


def run_search_job(job: SearchJob, run: RunFolder, observe: Observer = nobody) -> Found:
    """Search, or go on with a search that was stopped."""
    with run.lock():
        return search_in(job.domain.read(job.data.in_run(run.path), observe), job, run, observe)


def search_in(
    data: Data, job: SearchJob, run: RunFolder | None = None, observe: Observer = nobody
) -> Found:
    """Search in data that are read already; without a run folder nothing is written."""
    supernet, loaders, bounded = prepared(data, job)
    # Not before the data are known to be enough: what cannot begin leaves no folder.
    if run is not None:
        keep_data(data, job, run)
    return run_search(
        supernet,
        loaders.weights,
        loaders.alphas,
        data.task(),
        job.search,
        run,
        observe,
        loaders.selection,
        bounded,
    )


class Prepared(NamedTuple):
    """What a search begins with.

    Attributes:
        supernet: with fresh weights, on the job's device.
        loaders: of the data.
        bounded: makes the network that bounds are about; None: the searched one.
    """

    supernet: Supernet
    loaders: SearchLoaders
    bounded: Bounded | None


def prepared(data: Data, job: SearchJob) -> Prepared:
    """Return what a search in these data begins with, as its seed has it."""
    space, config, domain = find_space(job.space), job.search, job.domain
    size = {**data.shape, "channels": job.channels, "cells": job.cells}
    device = config.fabric().device
    seed_all(config.seed)
    network = laid_out(space.supernet(domain.sized({**size, **dict(job.supernet)})), device)
    loaders = data.search_loaders(network, device, config.seed)
    bounded = None
    if job.bound_at is not None:
        final = domain.sized({**size, **dict(job.bound_at)})
        bounded = lambda device: domain.target(space, final, device)  # noqa: E731
    return Prepared(Supernet(network, space.name), loaders, bounded)
