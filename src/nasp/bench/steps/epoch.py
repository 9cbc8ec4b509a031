"""``nasp bench epoch``: what a whole epoch of a search takes, its data and its files included."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field

from nasp.bench.harness import measure_missing
from nasp.bench.results import Measurements, Results
from nasp.bench.steps.measure import machine, refusing_uncaptured
from nasp.bench.steps.memory import PeakMemory
from nasp.domains.images.data import ImageConfig, ImageData
from nasp.domains.images.datasets import load_images
from nasp.domains.images.image_set import (
    SHAPES,
    ImageSet,
    LabelledImages,
    channel_statistics,
)
from nasp.domains.root import default_root
from nasp.jobs.job import begin
from nasp.jobs.options import search_job
from nasp.jobs.search import search_in
from nasp.jobs.search_job import SearchJob
from nasp.runs.pool import Work, Workplace
from nasp.strategies import find_strategy, strategy_config
from nasp.training.device import DeviceName, find_device
from nasp.training.events import EpochEnded, Event, Observer, Started, Stepped, nobody

DATA = "cifar10"
FILES = "cifar-10-batches-py"
"""The folder in which torchvision keeps CIFAR-10."""
IMAGES = 50_000
ADVICE = "give a smaller --batch-size, or leave it out by --strategies"


class EpochSettings(BaseModel):
    """A search and where it runs; the defaults are those of the paper's search on CIFAR-10."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    space: str = "darts"
    """The search space's name."""
    channels: int = Field(16, ge=1)
    """Channels of the first cell."""
    cells: int = Field(8, ge=1)
    """Cells in all; in nasbench201, mobile and vit cells a stage."""
    batch_size: int = Field(64, ge=1)
    """Images a step."""
    steps: int = Field(390, ge=1)
    """Steps of an epoch, each one A step and one w step; half of CIFAR-10 has 390 batches."""
    epochs: int = Field(2, ge=1)
    """Epochs that are run; the first one warms up."""
    cutout: int = Field(0, ge=0)
    """Side of the square cut out of each image; 0 for none."""
    data_dir: Path | None = None
    """Where CIFAR-10 lies; default $NASP_DATA, else ~/.cache/nasp."""
    device: DeviceName = "auto"
    """auto (a GPU if there is one), cpu, cuda, cuda:1 or mps."""
    deterministic: bool = True
    """On a CUDA device, take only algorithms that repeat themselves; False takes the fastest."""
    precision: Literal["32-true", "bf16-mixed", "16-mixed", "64-true"] = "32-true"
    """32-true, bf16-mixed, 16-mixed or 64-true, as Lightning Fabric calls them."""
    threads: int | None = Field(None, ge=1)
    """Threads of torch and OpenMP; default torch's own."""
    seed: int = Field(0, ge=0)
    """Fixes the search and, where CIFAR-10 is not there, the random images."""


class EpochRequest(BaseModel):
    """Which strategy's epochs a fresh process is asked to measure, and the rest."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    strategy: str
    settings: EpochSettings


class EpochSample(BaseModel):
    """What it found."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    seconds: list[float]
    """Of each epoch: its steps, what follows the last of them, and its checkpoint."""
    loading_seconds: float
    """Until the images were in memory."""
    data: str
    """Which images: ``"cifar10"``, or ``"random"`` bytes of that shape."""
    peak_bytes: int
    """The most memory above what was held before the search began."""
    peak_source: str
    """How that was had, see `PeakMemory`."""
    machine: dict[str, Any]
    """What it ran on."""


class Epochs:
    """Seconds from the start to the end of each epoch, as an observer.

    Args:
        observe: is told of steps and epochs, too; what else is said of a search so short is idle.
    """

    def __init__(self, observe: Observer) -> None:
        self.observe = observe
        self.seconds: list[float] = []
        self._last = time.perf_counter()

    def __call__(self, event: Event) -> None:
        """Take the time where an epoch begins or ends."""
        now = time.perf_counter()
        if isinstance(event, EpochEnded):
            self.seconds.append(now - self._last)
        if isinstance(event, EpochEnded | Started):
            self._last = now
        if isinstance(event, Started | Stepped | EpochEnded):
            self.observe(event)


def measure_epochs(
    settings: EpochSettings, strategies: Sequence[str], path: Path | None, observe: Observer
) -> Results:
    """Measure the epochs of strategies, each in a fresh process.

    Args:
        settings: all but the strategy.
        strategies: their names.
        path: the results' file, which is taken up where it exists; its other rows stay.
        observe: told before each measurement, and how it goes.

    Returns:
        The results. Their report has ``rows`` and ``machine``; ``seconds`` of a row are those of
        its last epoch.

    Raises:
        UsageError: there is no such strategy, network or device, or the file has other settings.
        NaspError: the file cannot be written.
        Interrupted: Ctrl-C or SIGTERM; what was measured is kept.
    """
    find_device(settings.device)
    for name in strategies:
        strategy_config(name, {})
    results = Results(path, "epoch", settings.model_dump(mode="json"), _summary, one_machine=True)

    def work_of(strategy: str) -> Work:
        request = EpochRequest(strategy=strategy, settings=settings)
        return Work(strategy, run_epochs_of, request, None, True, settings.threads, ADVICE)

    measure_missing(
        strategies,
        work_of,
        results,
        observe,
        kept=lambda _, sample: {"sample": sample.model_dump()},
    )
    return results


def run_epochs_of(request: EpochRequest, at: Workplace | None = None) -> EpochSample:
    """Search for some epochs in this process; memory is right only in a fresh one.

    Args:
        request: which.
        at: is told how it goes; default nobody is.

    Raises:
        UsageError: there is no such space, or its networks do not have this size.
        NaspError: the search failed, or steps of it could not be captured on a GPU.
    """
    settings = request.settings
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    start = time.perf_counter()
    images = _images(settings)
    loading_seconds = time.perf_counter() - start
    job = _job(request)
    assert isinstance(job.data, ImageConfig)
    data = ImageData(job.data, images)
    device = find_device(settings.device)
    memory, epochs = PeakMemory(device), Epochs(nobody if at is None else at.tell)
    with TemporaryDirectory() as folder:
        run = begin(Path(folder) / "run", job)
        with run.lock(), refusing_uncaptured():
            search_in(data, job, run, epochs)
    return EpochSample(
        seconds=epochs.seconds,
        loading_seconds=loading_seconds,
        data=images.name,
        peak_bytes=memory.above_idle(),
        peak_source=memory.source,
        machine=machine(device),
    )


def random_images(seed: int, count: int = IMAGES) -> ImageSet:
    """Return random bytes in the shape of CIFAR-10; they take as long as real ones."""
    channels, size, classes = SHAPES[DATA]
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(
        256, (count, channels, size, size), dtype=torch.uint8, generator=generator
    )
    part = LabelledImages(pixels, torch.arange(count) % classes)
    names = tuple(str(number) for number in range(classes))
    return ImageSet("random", part, part, names, channels, size, *channel_statistics(pixels))


def _images(settings: EpochSettings) -> ImageSet:
    root = settings.data_dir or default_root()
    return load_images(DATA, root) if (root / FILES).is_dir() else random_images(settings.seed)


def _job(request: EpochRequest) -> SearchJob:
    settings = request.settings
    registration = find_strategy(request.strategy)
    # Every step of the epoch is whole: nothing only warms up.
    whole = {"warmup_epochs": 0, "weight_steps": 1}
    return search_job(
        data={"name": DATA, "batch_size": settings.batch_size, "cutout": settings.cutout},
        space=settings.space,
        size={"channels": settings.channels, "cells": settings.cells},
        search={
            "strategy": request.strategy,
            "fallback": "none",
            "epochs": settings.epochs,
            "epoch_steps": settings.steps,
            **settings.model_dump(include={"device", "deterministic", "precision", "seed"}),
        },
        settings={n: v for n, v in whole.items() if n in registration.config.model_fields},
    )


def _summary(measurements: Measurements) -> Mapping[str, Any]:
    samples = {
        name: EpochSample.model_validate(value["sample"]) for name, value in measurements.items()
    }
    first = next(iter(samples.values()), None)
    return {
        "rows": [
            {
                "name": name,
                "seconds": sample.seconds[-1],
                "epoch_seconds": sample.seconds,
                "loading_seconds": sample.loading_seconds,
                "data": sample.data,
                "peak_bytes": sample.peak_bytes,
                "peak_source": sample.peak_source,
            }
            for name, sample in samples.items()
        ],
        "machine": first and first.machine,
    }
