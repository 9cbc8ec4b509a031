"""A search or a training that fits in a JSON file: from settings to networks and data."""

from __future__ import annotations

from typing import ClassVar

from lightning_fabric import seed_everything
from pydantic import BaseModel, ConfigDict, Field

from nasp.bilevel.found import Found
from nasp.bilevel.search import SearchConfig, run_search
from nasp.complexity import parameter_count
from nasp.domains.images.baseline import residual_network
from nasp.domains.images.feed import (
    DataConfig,
    fast_layout,
    network_config,
    read_images,
    search_loaders,
    selection_loader,
    training_loaders,
)
from nasp.domains.images.image_set import ImageSet
from nasp.domains.images.task import ImageClassification
from nasp.domains.images.train import TrainConfig
from nasp.errors import UsageError, validated
from nasp.jobs.job_folders import Job, Result, epoch_seconds, inner_run
from nasp.jobs.language_jobs import (
    LanguageSearchJob,
    LanguageTrainJob,
    run_language_search,
    run_language_training,
)
from nasp.runs.folder import RunFolder
from nasp.spaces import Space, find_space
from nasp.spaces.sampling import random_architecture
from nasp.spaces.target import space_target
from nasp.supernet.architecture import Architecture
from nasp.supernet.supernet import Supernet
from nasp.training.events import Observer, nobody
from nasp.training.train import train


class Size(BaseModel):
    """Channels and cells of a network, as in `NetworkConfig`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    channels: int = Field(ge=1)
    cells: int = Field(ge=1)


class SearchJob(Job):
    """A search in a space that is known by name, its supernet as `NetworkConfig` sizes it.

    Attributes:
        bound_at: the size at which bounds hold; default that of the searched network.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: ClassVar[str] = "search"

    data: DataConfig
    space: str
    channels: int = Field(16, ge=1)
    cells: int = Field(8, ge=1)
    partial_channels: int = Field(1, ge=1)
    bound_at: Size | None = None
    search: SearchConfig = Field(default_factory=SearchConfig)


class TrainJob(Job):
    """The training of an architecture, and of others beside it under the same budget.

    Attributes:
        data: the images.
        architecture: edge -> candidate; None trains a hand-made residual network.
        parameters: of the hand-made network, about; read where `architecture` is None.
        beside: names of what is trained beside: ``random-1`` (a random architecture of the
            space, its number is its seed), ``resnet`` (hand-made, of the same size).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: ClassVar[str] = "train"

    data: DataConfig
    space: str
    architecture: dict[str, str | None] | None
    parameters: int | None = None
    channels: int = Field(36, ge=1)
    cells: int = Field(20, ge=1)
    train: TrainConfig = Field(default_factory=TrainConfig)
    beside: tuple[str, ...] = ()


AnySearchJob = SearchJob | LanguageSearchJob
AnyTrainJob = TrainJob | LanguageTrainJob

_JOBS: dict[str, type[AnySearchJob] | type[AnyTrainJob]] = {
    job.kind: job for job in (SearchJob, TrainJob, LanguageSearchJob, LanguageTrainJob)
}


def job_of(run: RunFolder) -> AnySearchJob | AnyTrainJob:
    """Return the job a run folder was made for.

    Raises:
        UsageError: the run was begun from Python, or its settings do not fit this version.
    """
    content = run.config()
    kind = content.get("kind")
    if kind == "python-search":
        raise UsageError(
            f"{run.path} was begun from Python, which alone knows its network: go on there with"
            f" nasp.search(..., run='{run.path}'), and train what found.build() returns."
        )
    if kind not in _JOBS or not isinstance(content.get("job"), dict):
        raise UsageError(f"{run.config_path} is not the settings of a search or a training.")
    return validated(_JOBS[kind], content["job"], str(run.config_path))


def run_search_job(job: AnySearchJob, run: RunFolder, observe: Observer = nobody) -> Found:
    """Search, or go on with a search that was stopped."""
    if isinstance(job, LanguageSearchJob):
        return run_language_search(job, run, observe)
    with run.lock():
        return search_images(job, read_images(job.data, observe), run, observe)


def search_images(
    job: SearchJob, images: ImageSet, run: RunFolder | None = None, observe: Observer = nobody
) -> Found:
    """Search on images that are read already; without a run folder nothing is written."""
    space = find_space(job.space)
    weights_loader, alphas_loader = search_loaders(images, job.data, job.search.seed)
    seed_everything(job.search.seed, verbose=False)
    config = network_config(images, job.channels, job.cells, partial_channels=job.partial_channels)
    supernet = Supernet(fast_layout(space.supernet(config)), space.name)
    at = job.bound_at or Size(channels=job.channels, cells=job.cells)
    final = network_config(images, at.channels, at.cells)
    return run_search(
        supernet,
        weights_loader,
        alphas_loader,
        ImageClassification(len(images.classes)),
        job.search,
        run,
        observe,
        selection_loader(images, job.data, job.search.seed),
        lambda device: space_target(space, final, device),
    )


def run_train_job(job: AnyTrainJob, run: RunFolder, observe: Observer = nobody) -> list[Result]:
    """Train the architecture and all beside it; finished ones are not trained again."""
    if isinstance(job, LanguageTrainJob):
        return run_language_training(job, run, observe)
    space = find_space(job.space)
    with run.lock():
        images = read_images(job.data, observe)
        found = _train_one(job, "found", run, images, observe)
        results = [found]
        for name in job.beside:
            rival = _rival(job, name, space, found.parameters)
            folder = inner_run(run, f"beside/{name}", rival)
            results.append(_train_one(rival, name, folder, images, observe))
    return results


def _train_one(
    job: TrainJob, name: str, run: RunFolder, images: ImageSet, observe: Observer
) -> Result:
    space = find_space(job.space)
    seed_everything(job.train.seed, verbose=False)
    config = network_config(images, job.channels, job.cells, drop_path=job.train.drop_path > 0)
    auxiliary, settings = None, job.train
    if job.architecture is None:
        network = residual_network(config, job.parameters or 1)
        settings = settings.model_copy(update={"drop_path": 0.0, "auxiliary": 0.0})
    else:
        network = space.network(Architecture(job.architecture, space.name), config)
        if settings.auxiliary > 0:
            auxiliary = space.auxiliary_head(config)
    train_loader, test_loader = training_loaders(images, job.data, job.train.seed)
    task = ImageClassification(len(images.classes), job.train.label_smoothing)
    trained = train(
        fast_layout(network), train_loader, test_loader, task, settings, auxiliary, run, observe
    )
    return Result(name, parameter_count(network), trained, epoch_seconds(run))


def _rival(job: TrainJob, name: str, space: Space, parameters: int) -> TrainJob:
    kind, _, number = name.partition("-")
    alone = {"beside": ()}
    if kind == "random" and number.isdigit():
        edges = dict(random_architecture(space, int(number)).edges)
        return job.model_copy(update={**alone, "architecture": edges})
    if name == "resnet":
        return job.model_copy(update={**alone, "architecture": None, "parameters": parameters})
    raise UsageError(f"Unknown rival '{name}': give random-N or resnet.")
