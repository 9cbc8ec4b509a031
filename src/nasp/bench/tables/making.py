"""``nasp bench table``: every cell of a small space, trained alone, with several seeds.

Passes go seed by seed, and in each the cells come in one shuffled order. So a table that was
stopped is still an unbiased sample of the space.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field

from nasp.bench.harness import measure_missing
from nasp.bench.results import Measurements, Results
from nasp.bench.seeds import over_seeds
from nasp.bench.steps.measure import machine
from nasp.complexity import parameter_count
from nasp.domains.images.data import ImageConfig, ImageData, read_images
from nasp.domains.images.networks import sized
from nasp.domains.images.train import ImageTrainConfig
from nasp.runs.pool import Pool, Work, Workplace
from nasp.runs.random_state import seed_all
from nasp.spaces import find_space
from nasp.spaces.sampling import all_architectures
from nasp.supernet.architecture import Architecture
from nasp.training.device import make_fabric
from nasp.training.events import Observer
from nasp.training.layout import laid_out
from nasp.training.train import train

BENCH = "table"
SPACE = "nasbench201-3"

_DIGITS: Mapping[str, Any] = MappingProxyType(
    {"channels": 4, "epochs": 25, "batch_size": 32, "subset": 300}
)
_OTHERS: Mapping[str, Any] = MappingProxyType(
    {"channels": 8, "epochs": 5, "batch_size": 32, "subset": 5000}
)


_ALWAYS_SAID = ("name", "batch_size", "subset", "cutout", "image_size")
"""Of the data; what came later is said where it is not as ever, so that older files go on."""


def table_defaults(data: str) -> dict[str, Any]:
    """Return channels, epochs, batch_size and subset of a table: such as tell cells apart."""
    return dict(_DIGITS if data == "digits" else _OTHERS)


class TableSettings(BaseModel):
    """How each cell of a space is trained."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    data: ImageConfig
    """The images; with a subset, each seed draws its own, and all cells of one seed train on the
    same."""
    space: str = SPACE
    """A search space in which every edge survives."""
    channels: int = Field(8, ge=1)
    """Channels of the first cell."""
    cells: int = Field(1, ge=1)
    """Cells in all; in nasbench201 cells a stage, of three."""
    epochs: int = Field(5, ge=1)
    """Passes over the training images."""
    lr: float = Field(0.05, gt=0)
    """Learning rate at the start, falling to 0 along a cosine."""
    weight_decay: float = Field(5e-4, ge=0)
    """Weight decay of the weights."""
    device: str = "auto"
    """auto (an accelerator if there is one), cpu, cuda or mps."""


class CellRequest(BaseModel):
    """Which cell is trained, and how."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cell: str
    seed: int
    settings: TableSettings


def make_table(
    settings: TableSettings,
    seeds: int,
    path: Path | None,
    observe: Observer,
    pool: Pool | None = None,
) -> Results:
    """Train every cell with seeds 0 to `seeds` - 1; what the file holds is not trained again.

    A cell that cuts its input from its output is trained like all others, and isomorphic cells
    are all trained.

    Args:
        settings: how each cell is trained.
        seeds: trainings of each cell; they fix weights, subset and order.
        path: the file that keeps the table.
        observe: told of each training; see `measure_missing`.
        pool: runs them; default one after the other.

    Returns:
        The results. Their report has ``rows`` in the order of the cells' notation, ``machine``,
        ``settings``, ``failed``.

    Raises:
        UsageError: an unknown space or data, or one in which not every edge survives; the file
            holds another table.
        Interrupted: Ctrl-C; the same call goes on.
    """
    space = find_space(settings.space)
    cells = {space.notation(cell): cell for cell in all_architectures(space)}
    device = make_fabric(settings.device, "32-true").device
    shared = settings.model_dump(mode="json", exclude={"data": {"root", "workers"}, "device": True})
    shared["data"] = {
        name: value
        for name, value in shared["data"].items()
        if name in _ALWAYS_SAID or value != ImageConfig.model_fields[name].default
    }
    results = Results(
        path,
        BENCH,
        shared,
        lambda found: {"rows": rows(found), "machine": machine(device)},
    )
    order = torch.randperm(len(cells), generator=torch.Generator().manual_seed(0)).tolist()
    shuffled = [list(cells)[index] for index in order]
    wanted = [_key(name, seed) for seed in range(seeds) for name in shuffled]
    if results.missing(wanted):
        _images(_Reading(settings.data, observe))  # where there are none, that is said once

    def work_of(key: str) -> Work:
        name, seed = key.rsplit(" ", 1)
        request = CellRequest(cell=name, seed=int(seed), settings=settings)
        return Work(key, train_cell_of, request)

    measure_missing(wanted, work_of, results, observe, pool)
    return results


def train_cell_of(request: CellRequest, at: Workplace) -> dict[str, float]:
    """Train a cell that is told by its notation; a process reads the images once."""
    settings = request.settings
    cell = find_space(settings.space).parse(request.cell)
    return train_cell(cell, settings, _images(_Reading(settings.data, at.tell)), request.seed)


@dataclass(frozen=True)
class _Reading:
    data: ImageConfig
    observe: Observer = field(compare=False)


@lru_cache(maxsize=1)
def _images(reading: _Reading) -> ImageData:
    return read_images(reading.data, reading.observe)


def train_cell(
    architecture: Architecture, settings: TableSettings, images: ImageData, seed: int
) -> dict[str, float]:
    """Train one cell's network from scratch, and test it on all test images, once, at the end.

    Returns:
        ``test_accuracy`` in per cent, ``test_loss``, ``parameters``, ``seconds`` of wall clock.
    """
    start = time.perf_counter()
    seed_all(seed)
    size = sized({**images.shape, "channels": settings.channels, "cells": settings.cells})
    device = make_fabric(settings.device, "32-true").device
    network = laid_out(find_space(settings.space).network(architecture, size), device)
    task = images.task()
    recipe = ImageTrainConfig(
        epochs=settings.epochs,
        lr=settings.lr,
        weight_decay=settings.weight_decay,
        auxiliary=0.0,
        drop_path=0.0,
        seed=seed,
        device=settings.device,
    )
    train(network, images.learnt(device, seed), None, task, recipe)
    tested = task.evaluate(network, images.tested(device), device)
    return {
        "test_accuracy": round(100 * tested["accuracy"], 4),
        "test_loss": round(tested["loss"], 6),
        "parameters": parameter_count(network),
        "seconds": round(time.perf_counter() - start, 3),
    }


def rows(found: Measurements) -> list[dict[str, Any]]:
    """Return a row a cell: name, parameters, and each seed's accuracy, loss and seconds."""
    by_cell: dict[str, list[dict[str, Any]]] = {}
    for key, value in sorted(found.items(), key=lambda item: int(item[0].partition(" ")[2])):
        by_cell.setdefault(key.partition(" ")[0], []).append(value)
    return [
        {
            "name": name,
            "parameters": values[0]["parameters"],
            "test_accuracy": over_seeds([value["test_accuracy"] for value in values]),
            "test_loss": [value["test_loss"] for value in values],
            "seconds": [value["seconds"] for value in values],
        }
        for name, values in sorted(by_cell.items())
    ]


def _key(name: str, seed: int) -> str:
    return f"{name} {seed}"
