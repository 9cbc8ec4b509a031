"""A run's network is measured at the run's own size and classes, as it is trained."""

from __future__ import annotations

from pathlib import Path

from nasp.domains.images.preparation import Preparation
from nasp.jobs.job import begin
from nasp.jobs.options import search_job
from nasp.report.standing import standing
from nasp.spaces import find_space
from nasp.spaces.sampling import random_architecture

CHANNELS = (0.5, 0.5, 0.5)


def test_images_of_a_folder_that_is_gone(tmp_path: Path) -> None:
    data = {"name": "folder:gone", "batch_size": 2}
    job = search_job(data, "nasbench201", {"channels": 2, "cells": 1}, {"epochs": 1}, {})
    run = begin(tmp_path / "run", job)
    architecture = random_architecture(find_space("nasbench201"), 0)
    for size, stem in ((40, "cifar"), (128, "imagenet")):
        kept = Preparation(
            classes=("a", "b", "c"),
            in_channels=3,
            image_size=size,
            mean=CHANNELS,
            std=CHANNELS,
            fit="margin",
        )
        (run.path / "images.json").write_text(kept.model_dump_json())
        config = standing(architecture, run, costs=["params"]).config
        assert (config.image_size, config.classes, config.stem) == (size, 3, stem)
        assert (config.channels, config.cells) == (2, 1)
    assert standing(architecture, run, {"classes": 7}, costs=["params"]).config.classes == 7
