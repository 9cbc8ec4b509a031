"""A run's network on examples that it did not learn from."""

from __future__ import annotations

from nasp.domains import domain_of
from nasp.domains.evaluation import Evaluation
from nasp.errors import UsageError
from nasp.jobs.rebuild import Rebuilt, rebuild
from nasp.jobs.search_job import SearchJob
from nasp.jobs.targets import job_of
from nasp.runs.folder import RunFolder
from nasp.training.device import find_device, make_fabric
from nasp.training.events import Observer, nobody


def evaluate_run(
    run: RunFolder,
    data: str | None = None,
    weights: str | None = None,
    observe: Observer = nobody,
) -> tuple[Rebuilt, Evaluation]:
    """Measure a run's network, in its precision, and on its device where that is there.

    Args:
        run: of a training, or of a search.
        data: name of other data of its kind, or the place where its own are now; default its own.
        weights: which; see `nasp.jobs.rebuild.rebuild`.
        observe: is told how far it is.

    Raises:
        UsageError: there are no such weights or data, or the network is not for them.
        NaspError: weights or data are damaged.
    """
    rebuilt = rebuild(run, weights, observe=observe)
    own = RunFolder(rebuilt.run or run.path)
    job = job_of(own)
    if data is not None and domain_of(data) is not job.domain:
        raise UsageError(
            f"The network in {own.path} is for {job.domain.name}, and '{data}' is not."
        )
    config = job.search if isinstance(job, SearchJob) else job.train
    fabric = make_fabric(_device(config.device), config.precision)
    network = fabric.setup_module(rebuilt.network)
    if job.domain.evaluate is not None:
        args = network, job.data, own.path, data, fabric.device, observe
        return rebuilt, job.domain.evaluate(*args)
    of = job.data.in_run(own.path) if data is None else job.data.moved(data)
    read = job.domain.read(of, observe)
    read.keep(own.path)
    loaders = read.train_loaders(rebuilt.network, fabric.device, config.seed)
    part = "test" if loaders.test is not None else "measured"
    task = read.task(None if isinstance(job, SearchJob) else config)
    figures = task.evaluate(network, loaders.test or loaders.measured, fabric.device)
    return rebuilt, Evaluation(f"{of.name}, {part} part", figures)


def _device(name: str) -> str:
    try:
        find_device(name)
    except UsageError:  # the run is of another machine
        return "auto"
    return name
