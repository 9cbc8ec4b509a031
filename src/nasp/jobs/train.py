"""A training and all that is trained beside it, from its job to its results."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from torch import nn

from nasp.complexity import parameter_count
from nasp.domains.domain import Batches, Data
from nasp.jobs.job import inner_run, keep_data
from nasp.jobs.rivals import rival_of
from nasp.jobs.train_job import TrainJob
from nasp.jobs.weights import keep_derived_start
from nasp.runs.files import write_text_atomic
from nasp.runs.folder import RunFolder, json_object, load_tensors
from nasp.runs.random_state import seed_all
from nasp.spaces import find_space
from nasp.supernet.architecture import Architecture
from nasp.training.events import Observer, nobody
from nasp.training.layout import laid_out
from nasp.training.train import Trained, train


@dataclass(frozen=True)
class Result:
    """What one network of a training reached.

    Attributes:
        name: ``found``, or that of a rival.
        parameters: of the network.
        trained: the training.
        epoch_seconds: of the steps of each epoch.
        test: figures on the test part, where they were left for the end.
        speed: how much of what it read in a second, by name, where that is told.
    """

    name: str
    parameters: int
    trained: Trained
    epoch_seconds: tuple[float, ...]
    test: dict[str, float] | None = None
    speed: Mapping[str, float] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """Of all steps."""
        return sum(self.epoch_seconds)


def at_equal_time(results: Sequence[Result]) -> tuple[float, list[float | None]]:
    """Return how long the shortest training took, and what each network had reached by then.

    That is its figure after the last epoch that was over; None where not one was.
    """
    shortest = min(result.seconds for result in results)
    figures = []
    for result in results:
        lines, name = result.trained.metrics, result.trained.name
        over = sum(end <= shortest * (1 + 1e-9) for end in accumulate(result.epoch_seconds))
        figures.append(float(lines[over - 1][name]) if over else None)
    return shortest, figures


def run_train_job(job: TrainJob, run: RunFolder, observe: Observer = nobody) -> list[Result]:
    """Train the architecture and all beside it; finished ones are not trained again."""
    with run.lock():
        data = job.domain.read(job.data.in_run(run.path), observe)
        results = [_train_one(job, "found", run, data, observe)]
        for name in job.beside:
            rival = rival_of(job, name, results[0].parameters, data.shape, run)
            folder = inner_run(run, f"beside/{name}", rival)
            results.append(_train_one(rival, name, folder, data, observe))
    return results


def _train_one(job: TrainJob, name: str, run: RunFolder, data: Data, observe: Observer) -> Result:
    config, size = job.train, job.size(data.shape)
    device = config.fabric().device
    seed_all(config.seed)
    network, auxiliary = laid_out(job.network(size), device), None
    if job.architecture is not None:
        auxiliary = find_space(job.space).auxiliary_head(size)
    loaders = data.train_loaders(network, device, config.seed)
    keep_data(data, job, run)
    if config.init is not None and job.architecture is not None:
        architecture = Architecture(job.architecture, job.space)
        keep_derived_start(config.init, architecture, run, observe)
    trained = train(
        network,
        loaders.train,
        loaders.measured,
        data.task(config),
        config,
        auxiliary,
        run,
        observe,
    )
    test = None
    if loaders.test is not None:
        test = _tested(job.network(size), trained, loaders.test, data, job, run)
    seconds = tuple(float(line["seconds"]) for line in run.timing())
    passes = len(seconds) / max(sum(seconds), 1e-9)
    speed = {what: passes * count for what, count in loaders.counted.items()}
    return Result(name, parameter_count(network), trained, seconds, test, speed)


def _tested(
    network: nn.Module,
    trained: Trained,
    loader: Batches,
    data: Data,
    job: TrainJob,
    run: RunFolder,
) -> dict[str, float]:
    """Return the figures of the best epoch's network on the test part; written down once."""
    path = run.path / "test.json"
    if path.is_file():
        return json_object(path)
    network.load_state_dict(load_tensors(run.path / "best.safetensors"))
    fabric = job.train.fabric()
    task, running = data.task(job.train), fabric.setup_module(network)
    figures = job.train.ranks.share(lambda: task.evaluate(running, loader, fabric.device))
    figures["epoch"] = trained.best["epoch"]
    write_text_atomic(path, json.dumps(figures) + "\n")
    return figures
