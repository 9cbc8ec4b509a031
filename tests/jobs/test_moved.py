"""A run that was stopped goes on to the same bits although its images lie elsewhere by then."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nasp.jobs.job import begin
from nasp.jobs.options import search_job, train_job
from nasp.jobs.search import run_search_job
from nasp.jobs.search_job import SearchJob
from nasp.jobs.targets import job_of
from nasp.jobs.train import run_train_job
from nasp.jobs.train_job import TrainJob
from nasp.runs.folder import RunFolder, load_tensors
from nasp.runs.interruption import Interrupted
from nasp.spaces import find_space
from nasp.training.events import Event, Observer, Stepped, nobody

CELL = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|none~1|none~2|"


def photos(base: Path) -> Path:
    """Draw images of two sizes, three times as many of one class as of the other."""
    generator = np.random.default_rng(0)
    for kind, count in (("many", 24), ("few", 8)):
        (base / kind).mkdir(parents=True)
        for i in range(count):
            size = (14, 10) if i % 2 else (11, 12)
            array = generator.integers(0, 256, (*size, 3), dtype=np.uint8)
            Image.fromarray(array).save(base / kind / f"{i:02}.png")
    return base


def job_for(kind: str, base: Path) -> SearchJob | TrainJob:
    data = {"name": f"folder:{base}", "image_size": 8, "workers": 0, "batch_size": 4}
    data["balanced"] = True
    if kind == "search":
        size = {"channels": 2, "cells": 1}
        return search_job(data, "nasbench201", size, {"epochs": 2, "device": "cpu"}, {})
    architecture, recipe = find_space("nasbench201").parse(CELL), {"epochs": 2, "device": "cpu"}
    return train_job(architecture, data, {"channels": 2, "cells": 1}, recipe)


def run_job(job: SearchJob | TrainJob, run: RunFolder, observe: Observer = nobody) -> None:
    if isinstance(job, SearchJob):
        run_search_job(job, run, observe)
    else:
        run_train_job(job, run, observe)


@pytest.mark.parametrize("kind", ["search", "train"])
def test_it_ends_to_the_same_bits(tmp_path: Path, kind: str) -> None:
    job = job_for(kind, photos(tmp_path / "photos"))
    whole, stopped = (begin(tmp_path / name, job) for name in ("whole", "stopped"))
    run_job(job, whole)
    steps = 0

    def stop(event: Event) -> None:
        nonlocal steps
        steps += isinstance(event, Stepped)
        if steps == 4:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted):
        run_job(job, stopped, stop)
    (tmp_path / "photos").rename(tmp_path / "pictures")
    Image.new("RGB", (9, 9)).save(tmp_path / "pictures/few/00a.png")
    moved = job_of(stopped).moved(f"folder:{tmp_path / 'pictures'}")
    run_job(moved, stopped)
    assert stopped.metrics() == whole.metrics()
    ours, theirs = (load_tensors(run.path / "weights.safetensors") for run in (stopped, whole))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    for name in ("images.json", "splits.json"):
        assert (stopped.path / name).read_bytes() == (whole.path / name).read_bytes()
    assert job_of(stopped).data.name == f"folder:{tmp_path / 'pictures'}"
