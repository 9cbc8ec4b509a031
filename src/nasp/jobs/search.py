"""How a search of a job is run."""

from __future__ import annotations

from typing import Any, NamedTuple

from nasp.bilevel.found import Found
from nasp.bilevel.search import run_search
from nasp.domains.domain import Data
from nasp.jobs.job import keep_data, run_of
from nasp.jobs.search_job import SearchJob, prepared
from nasp.jobs.selection import trained_beside
from nasp.runs.folder import RunFolder
from nasp.runs.pool import Pool, Workplace
from nasp.spaces import find_space
from nasp.training.events import Observer, nobody


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


def run_search_job(
    job: SearchJob, run: RunFolder, observe: Observer = nobody, pool: Pool | None = None
) -> Found:
    """Search, or go on with a search that was stopped.

    Args:
        job: the search.
        run: its folder.
        observe: is told what happens.
        pool: runs the trainings of its selection; default they are run here, in turn.
    """
    with run.lock():
        data = job.domain.read(job.data.in_run(run.path), observe)
        return search_in(data, job, run, observe, pool)


def search_in(
    data: Data,
    job: SearchJob,
    run: RunFolder | None = None,
    observe: Observer = nobody,
    pool: Pool | None = None,
) -> Found:
    """Search in data that are read already; without a run folder nothing is written.

    A pool needs a run folder.
    """
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
        beside=None if run is None else trained_beside(job, data, pool, observe, run.go_on),
    )
