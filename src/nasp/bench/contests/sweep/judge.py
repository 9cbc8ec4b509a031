"""The error of an architecture: by shared weights, by a short training, or from a table."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from nasp.bench.contests.sweep.job import Judge, SweepJob
from nasp.bench.truth.truth import open_truth
from nasp.bilevel.selection import SelectConfig
from nasp.bilevel.selection.rerank import rerank
from nasp.errors import NaspError
from nasp.jobs.job import inner_run
from nasp.jobs.options import train_job
from nasp.jobs.search import run_search_job
from nasp.jobs.train import run_train_job
from nasp.runs.folder import RunFolder
from nasp.spaces import find_space
from nasp.supernet.architecture import Architecture
from nasp.training.device import make_fabric
from nasp.training.events import Observer
from nasp.training.stream import SamePass

Errors = Callable[[SweepJob, Sequence[Architecture], RunFolder, Observer], list[float]]


def errors_of(
    job: SweepJob, architectures: Sequence[Architecture], folder: RunFolder, observe: Observer
) -> list[float]:
    """Return the error of each architecture, a fraction; a judge that was stopped goes on.

    Raises:
        UsageError: there is no such table.
        NaspError: a search or a training failed, or the table lacks an architecture.
    """
    return _JUDGES[job.judge](job, architectures, folder, observe)


def described(job: SweepJob) -> str:
    """Return what the errors are, for a table's or a picture's heading."""
    epochs = f"{job.train_epochs} epoch{'s' * (job.train_epochs > 1)}"
    return {
        "shared": "validation error under shared weights",
        "train": f"test error after {epochs}",
        "table": "test error in the table",
    }[job.judge]


def _by_shared_weights(
    job: SweepJob, architectures: Sequence[Architecture], folder: RunFolder, observe: Observer
) -> list[float]:
    """Measure all under one supernet, trained on uniformly random paths: no search's own.

    A search trains the weights of what it chooses, and would be judged by what it favours.
    """
    common = job.search.search
    impartial = common.model_copy(
        update={
            "strategy": "random-sharing",
            "settings": {},
            "seed": job.seeds[0],
            "select": "none",
            "selection": SelectConfig(candidates=1),
        }
    )
    search = job.search.model_copy(
        update={"search": impartial, "supernet": job.search.domain.supernet()}
    )
    run = inner_run(folder, "judge", search)
    found = run_search_job(search, run, observe)
    data = job.search.domain.read(job.search.data, observe)
    network, device = found.supernet.network, make_fabric(common.device, common.precision).device
    loader = data.search_loaders(network, device, job.seeds[0]).selection
    rows = rerank(
        found.supernet,
        architectures,
        SamePass(loader, job.seeds[0]),
        data.task(),
        common,
        run.part("errors"),
        observe,
    )
    # Without an accuracy the network's loss was not finite.
    return [1 - row.get("accuracy", 0.0) for row in rows]


def _by_training(
    job: SweepJob, architectures: Sequence[Architecture], folder: RunFolder, observe: Observer
) -> list[float]:
    common, data = job.search.search, job.search.data
    fed = data.model_dump(include={*data.handed_on, "subset"})
    training = {
        "epochs": job.train_epochs,
        "seed": job.seeds[0],
        **common.model_dump(include={"device", "precision", "checkpoint_minutes"}),
    }
    errors = []
    for architecture in architectures:
        plan = train_job(architecture, fed, job.size.model_dump(), training)
        notation = find_space(job.search.space).notation(architecture)
        key = hashlib.blake2b(notation.encode(), digest_size=6).hexdigest()
        run = inner_run(folder, f"trained/{key}", plan)
        lines = run.metrics() if run.metrics_path.is_file() else []
        if len(lines) < job.train_epochs:
            lines = run_train_job(plan, run, observe)[0].trained.metrics
        errors.append(1 - lines[-1]["test_accuracy"])
    return errors


def _by_table(
    job: SweepJob, architectures: Sequence[Architecture], folder: RunFolder, observe: Observer
) -> list[float]:
    del folder, observe
    truth = open_truth(job.table, job.search.data.name, job.search.space)
    return [1 - truth.accuracy(architecture) / 100 for architecture in architectures]


_JUDGES: dict[Judge, Errors] = {
    "shared": _by_shared_weights,
    "train": _by_training,
    "table": _by_table,
}


def check_table(job: SweepJob) -> None:
    """Raise before anything is searched where the table cannot be read.

    Raises:
        NaspError: so it is.
    """
    if job.judge == "table":
        truth = open_truth(job.table, job.search.data.name, job.search.space)
        if not truth.accuracies:
            raise NaspError(f"The table {truth.name} is empty.")
