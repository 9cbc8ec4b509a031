"""A search as long as the time that it is given, and no shorter than its least steps."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import nasp
from nasp.bilevel import minutes
from nasp.errors import UsageError
from nasp.runs.folder import RunFolder
from nasp.strategies import Horizon, NASPConfig
from nasp.strategies.nasp import weight_steps
from nasp.training.events import Event, Stepped


def network() -> nn.Module:
    torch.manual_seed(0)
    conv = nn.Sequential(nn.Conv2d(2, 2, 3, padding=1), nn.BatchNorm2d(2))
    choice = nasp.Choice({"conv": conv, "skip": nn.Identity()})
    return nn.Sequential(choice, nn.Flatten(), nn.Linear(32, 3))


def loader(seed: int) -> torch.utils.data.DataLoader[tuple[Tensor, ...]]:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(24, 2, 4, 4, generator=generator)
    data = torch.utils.data.TensorDataset(images, torch.arange(24) % 3)
    return torch.utils.data.DataLoader(data, 4, shuffle=True, generator=generator)


def searched(**settings: Any) -> nasp.Found:
    return nasp.search(network(), loader(1), loader(2), progress=False, device="cpu", **settings)


def state(found: nasp.Found) -> dict[str, Tensor]:
    return found.supernet.state_dict()


@pytest.mark.parametrize(
    ("seconds", "epochs", "steps"), [(1.0, 9, 6), (0.5, 19, 6), (12.0, 1, 4), (100.0, 1, 1)]
)
def test_the_schedule_is_laid_out_over_the_time(
    seconds: float, epochs: int, steps: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(minutes, "_seconds", lambda *_: (seconds / 2, seconds / 2))
    found = searched(minutes=1, run=tmp_path / "run")
    assert len(found.metrics) == epochs
    held = RunFolder.open(tmp_path / "run").config()["within_minutes"]
    assert held == {"epochs": epochs, "epoch_steps": steps}


@pytest.mark.parametrize(
    ("seconds", "steps"),
    [
        (150, 75),  # an architecture step to each
        (600, 500),  # to five
        (9000, 8000),  # to eight
    ],
)
def test_what_the_weight_steps_between_leave_of_the_time_is_given_to_weight_steps(
    seconds: float, steps: int
) -> None:
    def every(total: int) -> int:
        return weight_steps(NASPConfig(), Horizon(max(1, total // 10), 10))

    assert minutes._fitting(seconds, 1.0, 1.0, every) == steps


def test_measuring_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = minutes._seconds

    def measured(*args: Any) -> tuple[float, float]:
        assert min(seconds(*args)) > 0
        return 1.0, 2.0

    monkeypatch.setattr(minutes, "_seconds", measured)
    found, plain = searched(minutes=1), searched(epochs=3)
    assert len(found.metrics) == 3
    assert found.architecture == plain.architecture
    torch.testing.assert_close(state(found), state(plain), rtol=0, atol=0)


def test_a_search_that_goes_on_keeps_its_schedule(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(minutes, "_seconds", lambda *_: (1.0, 1.0))
    whole = searched(minutes=1, run=tmp_path / "whole", checkpoint_minutes=1e-9)

    def stop(event: Event) -> None:
        if isinstance(event, Stepped) and event.epoch == 2:
            raise KeyboardInterrupt

    settings = {"minutes": 1, "run": tmp_path / "stopped", "checkpoint_minutes": 1e-9}
    with pytest.raises(KeyboardInterrupt):
        searched(observe=stop, **settings)
    monkeypatch.setattr(minutes, "_seconds", lambda *_: (25.0, 25.0))
    resumed = searched(**settings)
    torch.testing.assert_close(state(resumed), state(whole), rtol=0, atol=0)


@pytest.mark.slow
def test_it_takes_about_that_long() -> None:
    searched(epochs=1)  # libraries are loaded
    begun = time.perf_counter()
    found = searched(minutes=0.1)
    assert 1 < time.perf_counter() - begun < 30
    assert len(found.metrics) > 3


@pytest.mark.parametrize(("least", "steps"), [(0, 6), (18, 6), (19, 7), (60, 20)])
def test_few_batches_make_longer_epochs_and_not_fewer_steps(least: int, steps: int) -> None:
    seen: list[tuple[int, int]] = []

    def note(event: Event) -> None:
        if isinstance(event, Stepped):
            seen.append((event.epoch, event.step))

    found = searched(epochs=3, least_steps=least, observe=note)
    assert seen == [(epoch, step) for epoch in (1, 2, 3) for step in range(1, steps + 1)]
    assert len(found.metrics) == 3


def test_minutes_and_least_steps_are_two_lengths() -> None:
    with pytest.raises(UsageError, match="minutes say how long it is: leave least_steps out"):
        searched(minutes=1, least_steps=10)


def test_a_search_of_a_single_step_is_refused() -> None:
    with pytest.raises(UsageError, match="minutes say nothing"):
        searched(minutes=1, strategy="random")
