"""The errors of architectures: under shared weights, after a short training, or from a table."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import NamedTuple

import torch
from torch import nn

from nasp.bench.contests.sweep.job import ErrorSource, SweepJob
from nasp.bench.tables.accuracies import open_table
from nasp.bilevel.selection import SelectConfig
from nasp.bilevel.selection.rerank import rerank
from nasp.domains.domain import Data
from nasp.errors import UsageError
from nasp.jobs.job import run_of
from nasp.jobs.options import train_job
from nasp.jobs.search import run_search_job
from nasp.jobs.train import run_train_job
from nasp.runs.folder import RunFolder
from nasp.runs.pool import Work, Workplace
from nasp.spaces import find_space
from nasp.training.passes import SamePass

Errors = dict[str, float]
"""Notation of an architecture -> its error, a fraction."""


class ErrorRequest(NamedTuple):
    """Which architectures' errors are asked for.

    Attributes:
        job: says where they come from.
        notations: of the architectures.
        go_on: what the user is told to call where it is stopped.
    """

    job: SweepJob
    notations: Sequence[str]
    go_on: str


def works_of(job: SweepJob, notations: Sequence[str], folder: RunFolder) -> dict[str, Work]:
    """Return what has to be done to have the errors: name -> what.

    Args:
        job: says where errors come from.
        notations: of the architectures.
        folder: of the sweep, whose inner runs go on where they were stopped.
    """
    how, path, name = folder.go_on, folder.path, described(job)
    if job.error == "train":
        return {
            (key := f"{name} of {notation}"): Work(
                key,
                _trained,
                ErrorRequest(job, [notation], how),
                path / "trained" / blake2b(notation.encode(), digest_size=6).hexdigest(),
            )
            for notation in notations
        }
    key = f"{name} of {len(notations)} architectures"
    request = ErrorRequest(job, notations, how)
    if job.error == "table":
        return {key: Work(key, _in_the_table, request)}
    return {key: Work(key, _under_shared_weights, request, path / "shared-weights")}


def check_judged(job: SweepJob, data: Data, network: nn.Module) -> int:
    """Try whether the data suffice to search and to judge, before the first search.

    Returns:
        Batches of a pass over what a search trains weights on.

    Raises:
        UsageError: they are too few.
    """
    seed, device = job.seeds[0], torch.device("cpu")
    try:
        loaders = data.search_loaders(network, device, seed)
        if job.error == "shared" and not len(loaders.selection):
            raise UsageError("no batch is full.")
        if job.error == "train":
            data.train_loaders(network, device, seed)
    except UsageError as error:
        raise UsageError(f"The sweep could not be judged by {described(job)}: {error}") from error
    return len(loaders.weights)


def described(job: SweepJob) -> str:
    """Return what the errors are, for a table's or a picture's heading."""
    epochs = f"{job.train_epochs} epoch{'s' * (job.train_epochs > 1)}"
    words: dict[ErrorSource, str] = {
        "shared": "validation error under shared weights",
        "train": f"test error after {epochs}",
        "table": "test error in the table",
    }
    return words[job.error]


def _under_shared_weights(request: ErrorRequest, at: Workplace) -> Errors:
    """Measure all under one supernet, trained on uniformly random paths: no search's own.

    A search trains the weights of what it chooses, and would be judged by what it favours.
    """
    job, notations, observe = request.job, request.notations, at.tell
    common, domain, seed = job.search.search, job.search.domain, job.seeds[0]
    impartial = common.model_copy(
        update={
            "strategy": "random-sharing",
            "settings": {},
            "seed": seed,
            "select": "none",
            "selection": SelectConfig(candidates=1),
        }
    )
    search = job.search.model_copy(update={"search": impartial, "supernet": domain.supernet()})
    assert at.folder is not None
    run = run_of(at.folder, search, request.go_on)
    found = run_search_job(search, run, observe)
    data = domain.read(job.search.data, observe)
    device = common.fabric().device
    loader = data.search_loaders(found.supernet.network, device, seed).selection
    rows = rerank(
        found.supernet,
        [find_space(job.search.space).parse(notation) for notation in notations],
        SamePass(loader, seed),
        data.task(),
        common,
        run.part("errors"),
        observe,
    )
    # Without an accuracy the network's loss was not finite.
    errors = [1 - row.get("accuracy", 0.0) for row in rows]
    return dict(zip(notations, errors, strict=True))


def _trained(request: ErrorRequest, at: Workplace) -> Errors:
    job, (notation,) = request.job, request.notations
    common, data = job.search.search, job.search.data
    plan = train_job(
        find_space(job.search.space).parse(notation),
        data.model_dump(include={*data.handed_on, "subset"}),
        job.size.model_dump(),
        {
            "epochs": job.train_epochs,
            "seed": job.seeds[0],
            **common.model_dump(include={"device", "precision", "checkpoint_minutes"}),
        },
    )
    assert at.folder is not None
    result = run_train_job(plan, run_of(at.folder, plan, request.go_on), at.tell)[0]
    assert result.test is not None
    return {notation: 1 - result.test["accuracy"]}


def _in_the_table(request: ErrorRequest, _: Workplace) -> Errors:
    job, notations = request.job, request.notations
    table, space = open_table(job.table, job.search.data.name, job.search.space), job.search.space
    parse = find_space(space).parse
    return {notation: 1 - table.accuracy(parse(notation)) / 100 for notation in notations}
