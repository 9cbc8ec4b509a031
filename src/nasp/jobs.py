"""A search or a training that fits in a JSON file: from settings to networks and data."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import torch
from lightning_fabric import seed_everything
from pydantic import BaseModel, ConfigDict, Field
from torch import nn

from nasp.architecture import Architecture
from nasp.baseline import residual_network
from nasp.bilevel import Found, SearchConfig, run_search
from nasp.complexity import parameter_count
from nasp.errors import NaspError, UsageError, validated
from nasp.events import Loading, Observer, nobody
from nasp.runs import RunFolder
from nasp.spaces import NetworkConfig, Space, find_space
from nasp.spaces.sampling import random_architecture
from nasp.supernet import Supernet
from nasp.tasks.augment import augmentation, plain
from nasp.tasks.datasets import load_images
from nasp.tasks.image import ImageClassification
from nasp.tasks.image_set import ImageSet
from nasp.tasks.loader import Loader
from nasp.tasks.splits import halves, split
from nasp.train import TrainConfig, Trained, train

EVALUATION_BATCH = 256


class DataConfig(BaseModel):
    """Which images, and how they are fed.

    Attributes:
        name: ``digits``, ``cifar10``, ``cifar100``, ``fashion-mnist`` or ``folder:DIR``.
        root: where data sets lie; default ``$NASP_DATA``, else ``~/.cache/nasp``.
        batch_size: images a step.
        subset: use only this many training images (in a search, of each half); default all.
        cutout: side of the square that is cut out of each training image; 0 for none.
        image_size: side to which the images of a large folder are brought.
        workers: processes that read images which do not fit in memory.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    root: Path | None = None
    batch_size: int = Field(64, ge=1)
    subset: int | None = Field(None, ge=1)
    cutout: int = Field(0, ge=0)
    image_size: int | None = Field(None, ge=4)
    workers: int = Field(2, ge=0)


class SearchJob(BaseModel):
    """A search in a space that is known by name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: DataConfig
    space: str
    channels: int = Field(16, ge=1)
    cells: int = Field(8, ge=1)
    search: SearchConfig = Field(default_factory=SearchConfig)


class TrainJob(BaseModel):
    """The training of an architecture, and of others beside it under the same budget.

    Attributes:
        data: the images.
        architecture: edge -> candidate; None trains a hand-made residual network.
        parameters: of the hand-made network, about; read where `architecture` is None.
        beside: names of what is trained beside: ``random-1`` (a random architecture of the
            space, its number is its seed), ``resnet`` (hand-made, of the same size).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: DataConfig
    space: str
    architecture: dict[str, str | None] | None
    parameters: int | None = None
    channels: int = Field(36, ge=1)
    cells: int = Field(20, ge=1)
    train: TrainConfig = Field(default_factory=TrainConfig)
    beside: tuple[str, ...] = ()


@dataclass(frozen=True)
class Result:
    """What one network of a training reached."""

    name: str
    parameters: int
    trained: Trained
    seconds: float


def begin(path: str | Path, job: SearchJob | TrainJob) -> RunFolder:
    """Make a run folder for a job; see `RunFolder.create`."""
    kind = "search" if isinstance(job, SearchJob) else "train"
    content = {
        "kind": kind,
        "job": job.model_dump(mode="json"),
        "versions": {
            "nasp": version("nasp"),
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
        "git": _git_hash(),
    }
    return RunFolder.create(path, content)


@contextmanager
def new_run(path: str | Path, job: SearchJob | TrainJob) -> Iterator[RunFolder]:
    """Make a run folder for a job, and take it away again where the job cannot even begin."""
    run = begin(path, job)
    try:
        yield run
    except NaspError:
        run.discard_unless_under_way()
        raise


def job_of(run: RunFolder) -> SearchJob | TrainJob:
    """Return the job a run folder was made for.

    Raises:
        UsageError: the run was begun from Python, or its settings do not fit this version.
    """
    content = run.config()
    models: dict[str, type[SearchJob] | type[TrainJob]] = {"search": SearchJob, "train": TrainJob}
    kind = content.get("kind")
    if kind == "python-search":
        raise UsageError(
            f"{run.path} was begun from Python, which alone knows its network: go on there with"
            f" nasp.search(..., run='{run.path}'), and train what found.build() returns."
        )
    if kind not in models or not isinstance(content.get("job"), dict):
        raise UsageError(f"{run.config_path} is not the settings of a search or a training.")
    return validated(models[kind], content["job"], str(run.config_path))


def run_search_job(job: SearchJob, run: RunFolder, observe: Observer = nobody) -> Found:
    """Search, or go on with a search that was stopped."""
    space = find_space(job.space)
    with run.lock():
        images = _images(job.data, observe)
        weights_half, alphas_half = halves(images, job.search.seed, job.data.subset)
        loaders = [
            Loader(
                images.train,
                augmentation(images, job.data.cutout),
                batch_size=job.data.batch_size,
                seed=2 * job.search.seed + index,
                indices=half,
                workers=job.data.workers,
            )
            for index, half in enumerate((weights_half, alphas_half))
        ]
        seed_everything(job.search.seed, verbose=False)
        config = network_config(images, job.channels, job.cells)
        network = _fast_layout(space.supernet(config))
        supernet = Supernet(network, space.name)
        task = ImageClassification(len(images.classes))
        return run_search(supernet, loaders[0], loaders[1], task, job.search, run, observe)


def run_train_job(job: TrainJob, run: RunFolder, observe: Observer = nobody) -> list[Result]:
    """Train the architecture and all beside it; finished ones are not trained again."""
    space = find_space(job.space)
    with run.lock():
        images = _images(job.data, observe)
        found = _train_one(job, "found", run, images, observe)
        results = [found]
        for name in job.beside:
            rival = _rival(job, name, space, found.parameters)
            folder = run.path / "beside" / name
            is_new = not (folder / "config.json").is_file()
            rival_run = begin(folder, rival) if is_new else RunFolder.open(folder)
            rival_run.go_on = run.go_on
            results.append(_train_one(rival, name, rival_run, images, observe))
    return results


def network_config(
    images: ImageSet, channels: int, cells: int, drop_path: bool = False
) -> NetworkConfig:
    """Return the size of a network for an image set: from 128 pixels on, with ImageNet's stem."""
    return NetworkConfig(
        in_channels=images.in_channels,
        image_size=images.image_size,
        classes=len(images.classes),
        channels=channels,
        cells=cells,
        stem="imagenet" if images.image_size >= 128 else "cifar",
        drop_path=drop_path,
    )


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
    subset = None
    if job.data.subset is not None:
        subset = split(images.train.labels, [job.data.subset], job.train.seed)[0]
    train_loader = Loader(
        images.train,
        augmentation(images, job.data.cutout),
        batch_size=job.data.batch_size,
        seed=job.train.seed,
        indices=subset,
        workers=job.data.workers,
    )
    test_loader = Loader(
        images.test,
        plain(images),
        batch_size=EVALUATION_BATCH,
        training=False,
        workers=job.data.workers,
    )
    task = ImageClassification(len(images.classes), job.train.label_smoothing)
    trained = train(
        _fast_layout(network), train_loader, test_loader, task, settings, auxiliary, run, observe
    )
    seconds = sum(line["seconds"] for line in run.timing())
    return Result(name, parameter_count(network), trained, seconds)


def _rival(job: TrainJob, name: str, space: Space, parameters: int) -> TrainJob:
    kind, _, number = name.partition("-")
    alone = {"beside": ()}
    if kind == "random" and number.isdigit():
        edges = dict(random_architecture(space, int(number)).edges)
        return job.model_copy(update={**alone, "architecture": edges})
    if name == "resnet":
        return job.model_copy(update={**alone, "architecture": None, "parameters": parameters})
    raise UsageError(f"Unknown rival '{name}': give random-N or resnet.")


def _images(data: DataConfig, observe: Observer) -> ImageSet:
    return load_images(
        data.name,
        data.root,
        image_size=data.image_size,
        progress=lambda done, total: observe(Loading(done, total)),
    )


def _fast_layout(network: nn.Module) -> nn.Module:
    # Measured on CPU: depthwise and small convolutions run about twice as fast channels-last.
    laid_out: nn.Module = network.to(memory_format=torch.channels_last)
    return laid_out


def _git_hash() -> str | None:
    try:
        result = subprocess.run(
            ["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.strip()
