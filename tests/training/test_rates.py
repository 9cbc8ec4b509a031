"""Any optimiser and schedule for the weights, by name and of one's own making."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD, AdamW
from torch.optim.lr_scheduler import MultiStepLR, OneCycleLR, ReduceLROnPlateau

import nasp
from nasp.errors import UsageError
from nasp.runs.interruption import Interrupted
from nasp.training.events import Event, Stepped
from nasp.training.rates import Rates, factor_of
from nasp.training.recipe import Recipe
from nasp.training.supervised import Supervised

EPOCHS, STEPS = 3, 4


def batches(seed: int) -> list[tuple[Tensor, Tensor]]:
    make = torch.Generator().manual_seed(seed)
    return [
        (torch.randn(6, 5, generator=make), torch.randint(3, (6,), generator=make))
        for _ in range(STEPS)
    ]


def network() -> nn.Module:
    torch.manual_seed(1)
    choice = nasp.Choice({"linear": nn.Linear(5, 5), "skip": nn.Identity()})
    return nn.Sequential(choice, nn.Linear(5, 3))


def search(observe: Any = lambda _: None, **settings: Any) -> nasp.Found:
    chosen = {"epochs": EPOCHS, **settings}
    return nasp.search(network(), batches(0), batches(1), observe=observe, **chosen)


def grouped(parameters: Any) -> AdamW:
    decayed = [p for p in parameters if p.dim() > 1]
    others = [p for p in parameters if p.dim() <= 1]
    return AdamW(
        [{"params": decayed, "weight_decay": 0.1}, {"params": others, "lr": 0.02}], lr=0.01
    )


def one_cycle(optimizer: Any) -> OneCycleLR:
    return OneCycleLR(optimizer, max_lr=0.1, total_steps=EPOCHS * STEPS + 1)


WAYS: dict[str, dict[str, Any]] = {
    "adamw": {"optimizer": "adamw", "lr": 1e-3},
    "rmsprop with warm-up": {"optimizer": "rmsprop", "lr": 1e-3, "warmup_steps": 5},
    "linear by step": {"schedule": "linear", "schedule_per": "step"},
    "constant": {"schedule": "constant"},
    "groups": {"optimizer": grouped},
    "one cycle": {"schedule": one_cycle, "schedule_per": "step"},
    "milestones": {"schedule": lambda optimizer: MultiStepLR(optimizer, [1, 1, 2])},
    "plateau": {"schedule": lambda o: ReduceLROnPlateau(o, patience=0, threshold=10.0)},
    "all own": {"optimizer": grouped, "schedule": one_cycle, "schedule_per": "step"},
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("stop", [(2, 2), (3, 4)])
def test_a_stopped_search_resumes_to_the_same_bits(
    way: str, stop: tuple[int, int], tmp_path: Path
) -> None:
    settings = {"select": "train", "selection": {"epochs": 2}, **WAYS[way]}
    search(run=tmp_path / "whole", **settings)

    def observe(event: Event) -> None:
        if isinstance(event, Stepped) and (event.epoch, event.step) == stop:
            os.kill(os.getpid(), 15)

    with pytest.raises(Interrupted):
        search(observe, run=tmp_path / "run", **settings)
    search(run=tmp_path / "run", **settings)
    for name in ("metrics.jsonl", "selection.json", "weights.safetensors"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.parametrize("way", WAYS)
def test_each_way_is_another(way: str) -> None:
    assert search(**WAYS[way]).metrics != search().metrics


def test_the_default_is_sgd_along_a_cosine_by_epoch() -> None:
    def sgd(parameters: Any) -> SGD:
        return SGD(parameters, lr=0.025, momentum=0.9, weight_decay=3e-4)

    def cosine(optimizer: Any) -> Any:
        return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS, eta_min=0.001)

    default = search()
    assert search(optimizer=sgd, schedule=cosine).metrics == default.metrics
    assert [line["lr"] for line in default.metrics] == pytest.approx([0.025, 0.019, 0.007])


def test_the_groups_of_ones_own_optimiser_fall_each_from_its_own_rate() -> None:
    seen: list[list[float]] = []
    kept: list[AdamW] = []

    def making(parameters: Any) -> AdamW:
        kept.append(grouped(parameters))
        return kept[-1]

    def observe(event: Event) -> None:
        if isinstance(event, Stepped) and event.step == STEPS:
            seen.append([group["lr"] for group in kept[0].param_groups])

    search(observe, optimizer=making)
    assert seen[0] == [0.01, 0.02]
    assert all(two == pytest.approx(2 * one) for one, two in seen)
    end, falls = 0.001 / 0.025, [(1 + math.cos(math.pi * e / EPOCHS)) / 2 for e in range(EPOCHS)]
    assert [one for one, _ in seen] == pytest.approx([0.01 * (end + (1 - end) * f) for f in falls])


def test_a_warm_up_rises_step_by_step_and_then_falls() -> None:
    factor = factor_of("linear", 0.1, total=10, warmup=4)
    rates = [factor(step) for step in range(11)]
    assert rates[:4] == [0.25, 0.5, 0.75, 1.0]
    assert rates[4:] == pytest.approx([1 - 0.9 * step / 6 for step in range(7)])
    seen: list[float] = []
    recipe = Recipe(epochs=2, lr=0.1, lr_min=0.0, warmup_steps=2, device="cpu")
    net = nn.Linear(5, 3)
    learner = recipe.learner(net, Supervised(), list(net.parameters()))
    learner.steps_per_epoch = 3
    rates_of = recipe.rates(learner)
    for step, batch in enumerate((batches(0) * 2)[:6], 1):
        seen.append(rates_of.last)
        learner.weight_step(batch)
        if step % 3 == 0:
            rates_of.end_epoch({})  # which moves nothing
    cosine = [(1 + math.cos(math.pi * step / 4)) / 2 for step in range(4)]
    assert seen == pytest.approx([0.05, 0.1, *(0.1 * height for height in cosine)])
    assert isinstance(rates_of, Rates)


def test_the_rate_never_rises_to_its_end() -> None:
    assert [line["lr"] for line in search(lr=1e-4).metrics] == [1e-4] * EPOCHS


def test_a_plateau_is_told_the_validation_loss() -> None:
    told: list[float] = []

    class Listening(ReduceLROnPlateau):
        def step(self, metrics: Any, epoch: Any = None) -> None:
            told.append(metrics)
            super().step(metrics, epoch)

    found = search(schedule=lambda o: Listening(o, patience=0, threshold=10.0))
    assert told == [line["val_loss"] for line in found.metrics]
    assert [line["lr"] for line in found.metrics] == pytest.approx([0.025, 0.0025, 0.00025])


def closing(parameters: Any) -> torch.optim.LBFGS:
    return torch.optim.LBFGS(parameters)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"optimizer": "adamW"}, r"Setting 'optimizer' of search: Unknown optimizer 'adamW'"),
        ({"optimizer": 3}, r"'optimizer' of search: give a name or a function of the parameters"),
        ({"optimizer": closing}, r"gives a LBFGS: it must give a torch\.optim\.Optimizer whose"),
        ({"optimizer": lambda parameters: None}, "gives a NoneType"),
        ({"schedule": "exponential"}, "Unknown schedule 'exponential'"),
        ({"schedule": lambda optimizer: optimizer}, "gives a SGD: it must give a scheduler"),
        ({"schedule_per": "batch"}, "Setting 'schedule_per' of search"),
        ({"optimizer": "adam", "strategy": "darts-second-order"}, "one step of SGD ahead"),
        (
            {"optimizer": lambda p: SGD([{"params": [w]} for w in p], 0.1)}
            | {"strategy": "darts-second-order"},
            "SGD in 4 groups",
        ),
        (
            {"optimizer": grouped, "select": "train", "selection": {"lr": 0.1}},
            "selection's lr says nothing to an optimizer of your own",
        ),
    ],
)
def test_what_cannot_be(settings: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        search(run=tmp_path / "run", **settings)
    assert not (tmp_path / "run").exists()
