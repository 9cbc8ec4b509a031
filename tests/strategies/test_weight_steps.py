"""Several weight steps to an architecture step: how many, when, and what the loop draws for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import nasp
from nasp.errors import UsageError
from nasp.strategies import NASP, Horizon, NASPConfig, find_strategy
from nasp.strategies.nasp import PAPER, arch_steps, weight_steps
from nasp.training.events import Event, Stepped
from nasp.training.task import Batch, Metrics


@pytest.mark.parametrize(
    ("epochs", "steps", "every", "in_all"),
    [
        (1, 1, 1, 1),
        (10, 19, 1, 190),
        (10, 20, 2, 100),  # at least 100 of them
        (30, 23, 6, 115),
        (50, 390, 8, 2438),
        (500, 4, 4, 500),  # one an epoch
    ],
)
def test_by_default_the_longer_a_search_the_more(
    epochs: int, steps: int, every: int, in_all: int
) -> None:
    horizon = Horizon(epochs, steps)
    assert weight_steps(NASPConfig(), horizon) == every
    assert arch_steps(NASPConfig(), horizon) == in_all
    assert weight_steps(NASPConfig(weight_steps=3), horizon) == 3
    assert weight_steps(NASPConfig(**PAPER), horizon) == 1
    assert find_strategy("darts").weight_steps(None, horizon) == 1


def network() -> nn.Module:
    torch.manual_seed(0)
    choice = nasp.Choice({"linear": nn.Linear(4, 4), "skip": nn.Identity()})
    return nn.Sequential(choice, nn.Linear(4, 3))


def loader(seed: int, count: int = 6) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    return [(torch.randn(5, 4, generator=generator), torch.arange(5) % 3) for _ in range(count)]


def searched(run: Path | None = None, observe: Any = None, **settings: Any) -> nasp.Found:
    given = {"epochs": 3, "settings": {"weight_steps": 4} | settings, "checkpoint_minutes": 1e-9}
    watched = {} if observe is None else {"observe": observe}
    loaders = loader(1), loader(2)
    return nasp.search(network(), *loaders, run=run, progress=False, **watched, **given)


def test_alphas_rest_between_and_need_no_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    drawn: list[Any] = []
    arch_step, weight_step = NASP.arch_step, NASP.weight_step

    def noting_arch_step(self: NASP, batch: Batch) -> Metrics:
        steps.append("A")
        drawn.append(batch[0])
        return arch_step(self, batch)

    def noting_weight_step(self: NASP, batch: Batch) -> Metrics:
        steps.append("w")
        return weight_step(self, batch)

    monkeypatch.setattr(NASP, "arch_step", noting_arch_step)
    monkeypatch.setattr(NASP, "weight_step", noting_weight_step)
    val = loader(2)
    found = nasp.search(
        network(), loader(1), val, epochs=2, settings={"weight_steps": 4}, progress=False
    )
    assert "".join(steps) == 3 * "Awwww"
    assert all(torch.equal(one, other[0]) for one, other in zip(drawn, val, strict=False))
    assert all("val_loss" in line for line in found.metrics)


def test_stopped_between_it_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    def stop(event: Event) -> None:
        if isinstance(event, Stepped) and (event.epoch, event.step) == (2, 1):
            raise KeyboardInterrupt

    whole = searched(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        searched(tmp_path / "stopped", observe=stop)
    again = searched(tmp_path / "stopped")
    for name, value in whole.supernet.state_dict().items():
        assert torch.equal(value, again.supernet.state_dict()[name]), name
    assert again.architecture == whole.architecture


def test_none_at_all_is_refused() -> None:
    with pytest.raises(UsageError, match="weight_steps"):
        searched(weight_steps=0)
