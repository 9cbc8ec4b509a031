"""The trainings of a selection beside one another: to the bits of one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from nasp.bilevel.found import Found
from nasp.errors import NaspError
from nasp.jobs.job import begin
from nasp.jobs.options import search_job
from nasp.jobs.search import run_search_job
from nasp.jobs.search_job import SearchJob
from nasp.runs.folder import RunFolder
from nasp.runs.interruption import Interrupted, Interruption
from nasp.runs.pool import Done, Work, Workplace
from nasp.runs.pool.work import Tell
from nasp.training.events import Event, Measured, Measuring, Within, nobody


def job(strategy: str = "random-sharing", **selection: Any) -> SearchJob:
    return search_job(
        {"name": "digits", "subset": 40, "batch_size": 20},
        "nasbench201-3",
        {"channels": 2, "cells": 1},
        {"epochs": 1, "strategy": strategy, "select": "train", "seed": 2},
        {},
        selection={"epochs": 8, "first_rung": 1, "candidates": 4, **selection},
    )


class Backwards:
    """A pool that runs works here, the last first, and fails or stops at one."""

    def __init__(self, fails: str = "", stops: str = "") -> None:
        self.fails, self.stops = fails, stops
        self.keys: list[str] = []

    def run(
        self, works: Any, interruption: Interruption, tell: Tell, at_once: int | None = None
    ) -> Iterator[Done]:
        for work in reversed(list[Work](works)):
            self.keys.append(work.key)
            if work.key == self.stops:
                raise Interrupted
            if work.key == self.fails:
                yield Done(work.key, error=NaspError("The disk is full."))
                continue
            at = Workplace(work.folder, lambda event, key=work.key: tell(key, event))
            yield Done(work.key, work.function(work.request, at))


def searched(path: Path, pool: Any = None, observe: Any = nobody, **selection: Any) -> Found:
    asked = job(**selection)
    run = begin(path, asked) if not path.exists() else RunFolder.open(path)
    return run_search_job(asked, run, observe, pool)


def kept(path: Path) -> dict[str, bytes]:
    names = ["selection.json", "architecture.json", "weights.safetensors"]
    names += sorted(str(p.relative_to(path)) for p in path.glob("selection/**/metrics.jsonl"))
    return {name: (path / name).read_bytes() for name in names}


def same(one: Found, other: Found) -> bool:
    assert one.selection is not None
    assert other.selection is not None
    ours, theirs = one.selection.weights or {}, other.selection.weights or {}
    assert ours.keys() == theirs.keys() != set()
    return one.selection == other.selection and all((ours[k] == theirs[k]).all() for k in ours)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Found]:
    """Return a search whose selection trains one after the other."""
    path = tmp_path_factory.mktemp("whole") / "run"
    return path, searched(path)


@pytest.mark.parametrize("weights", ["fresh", "inherit"])
def test_in_another_order_stopped_and_failed(tmp_path: Path, weights: str) -> None:
    path, pool = tmp_path / "run", Backwards(stops="network 3, rung 1")
    with pytest.raises(Interrupted, match=rf"Stopped in the selection; .* nasp resume {path}"):
        searched(path, pool, weights=weights)
    assert pool.keys == ["network 4, rung 1", "network 3, rung 1"]
    pool = Backwards(fails="network 2, rung 1")
    with pytest.raises(NaspError, match="The disk is full"):
        searched(path, pool, weights=weights)
    assert pool.keys == [f"network {number}, rung 1" for number in (3, 2, 1)]
    pool, events = Backwards(), list[Event]()
    found = searched(path, pool, events.append, weights=weights)
    assert pool.keys[0] == "network 2, rung 1"
    assert len(pool.keys) == 1 + 2
    over = [event for event in events if isinstance(event, Measured)]
    assert [(event.what, event.done, event.total) for event in over] == [
        (pool.keys[0], 1, 1),
        (pool.keys[1], 1, 2),
        (pool.keys[2], 2, 2),
    ]
    within = {event.what for event in events if isinstance(event, Within)}
    assert within == set(pool.keys) == {e.what for e in events if isinstance(e, Measuring)}
    assert same(found, searched(tmp_path / "alone", weights=weights))
    assert kept(path) == kept(tmp_path / "alone")


def test_half_beside_one_another_and_half_in_turn(
    tmp_path: Path, whole: tuple[Path, Found]
) -> None:
    path, pool = tmp_path / "run", Backwards(stops="network 2, rung 1")
    with pytest.raises(Interrupted):
        searched(path, pool)
    assert same(searched(path), whole[1])
    assert kept(path) == kept(whole[0])


def test_a_damaged_folder_is_named(tmp_path: Path) -> None:
    path = tmp_path / "run"
    searched(path)
    (left,) = path.glob("selection/train/*/checkpoints")
    (left.parent / "metrics.jsonl").write_text("")
    with pytest.raises(NaspError, match=rf"{left.parent}/metrics.jsonl is damaged: it lacks"):
        searched(path)


def test_images_that_come_later_are_not_trained_on(tmp_path: Path) -> None:
    photos, generator = tmp_path / "photos", torch.Generator().manual_seed(0)

    def draw(first: int, last: int) -> None:
        for name in ("cat", "dog"):
            (photos / name).mkdir(parents=True, exist_ok=True)
            for number in range(first, last):
                pixels = torch.randint(256, (8, 8, 3), generator=generator, dtype=torch.uint8)
                Image.fromarray(pixels.numpy()).save(photos / name / f"{number}.png")

    draw(0, 16)
    asked = search_job(
        {"name": f"folder:{photos}", "batch_size": 4, "workers": 0, "image_size": 8},
        "nasbench201-3",
        {"channels": 2, "cells": 1},
        {"epochs": 1, "strategy": "random", "select": "train"},
        {},
        selection={"epochs": 3, "first_rung": 1},
    )
    alone = run_search_job(asked, begin(tmp_path / "alone", asked))
    run, pool = begin(tmp_path / "run", asked), Backwards(fails="network 1, rung 1")
    with pytest.raises(NaspError, match="The disk is full"):
        run_search_job(asked, run, pool=pool)
    draw(16, 20)
    assert same(run_search_job(asked, run, pool=Backwards()), alone)
