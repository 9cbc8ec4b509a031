"""What holds for every registered strategy."""

from __future__ import annotations

import io
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from pydantic import BaseModel
from torch import Tensor, nn
from torch.nn import functional as F

from nasp.complexity import Regulariser, parameter_counts
from nasp.errors import UsageError
from nasp.strategies import STRATEGIES, Horizon, Problem, Strategy, make_strategy
from nasp.supernet.architecture import Architecture
from nasp.supernet.choice import Choice, Node, Zero
from nasp.supernet.derive import derive
from nasp.supernet.supernet import Supernet
from nasp.training.learner import Learner
from nasp.training.task import Batch

every_strategy = pytest.mark.parametrize("name", STRATEGIES)
STEPS = 5
SHORT = Horizon(2, STEPS)


class Classification:
    def loss(self, network: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        return F.cross_entropy(network(batch[0]), batch[1]), {}


def edge(share: str | None = None) -> Choice:
    conv = nn.Conv2d(4, 4, 3, padding=1, bias=False)
    norm = nn.BatchNorm2d(4, affine=False)
    return Choice(
        {
            "conv": nn.Sequential(conv, norm, nn.ReLU(), nn.Dropout(0.1)),
            "pool": nn.AvgPool2d(3, 1, 1),
            "skip": nn.Identity(),
            "none": Zero(),
        },
        share,
    )


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.cells = nn.ModuleList(
            [Node([edge(f"cell/{row}") for row in range(3)], keep=2) for _ in range(2)]
        )
        self.alone = edge()
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        s = self.stem(x)
        t = s.tanh()
        for cell in self.cells:
            s, t = t, s + cell(s, t, s * t)
        return self.head((self.alone(t) + s).mean(dim=(2, 3)))


def batch(seed: int) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(8, 1, 6, 6, generator=generator)
    return x, torch.randint(3, (8,), generator=generator)


class Search:
    """A supernet, its learner and a strategy, fresh from a seed."""

    def __init__(self, name: str, seed: int = 3, horizon: Horizon = SHORT, **settings: Any) -> None:
        torch.manual_seed(7)
        self.supernet = Supernet(Net())
        self.learner = Learner(
            Fabric(accelerator="cpu", devices=1),
            self.supernet,
            Classification(),
            self.supernet.weights(),
            lambda weights: torch.optim.SGD(weights, lr=0.05, momentum=0.9),
        )
        penalty = Regulariser(parameter_counts(self.supernet), weight=0.1)
        problem = Problem(self.supernet, self.learner, horizon, seed, penalty)
        self.strategy: Strategy = make_strategy(name, problem, settings)

    def iterate(self, start: int, end: int) -> list[Any]:
        seen: list[Any] = []
        for step in range(start, end):
            torch.manual_seed(step)  # a run restores torch's own random state
            seen.append(self.strategy.arch_step(batch(2 * step)))
            seen.append(self.strategy.weight_step(batch(2 * step + 1)))
        torch.manual_seed(end)
        return [*seen, self.strategy.derive()]

    def saved(self) -> Any:
        parts = (self.supernet, self.strategy, self.learner)
        file = io.BytesIO()
        torch.save([part.state_dict() for part in parts], file)
        file.seek(0)
        return torch.load(file, weights_only=False)

    def load(self, state: Any) -> None:
        self.supernet.load_state_dict(state[0])
        self.strategy.load_state_dict(state[1])
        self.learner.load_state_dict(state[2])


def assert_same_state(one: Search, other: Search) -> None:
    expected = other.supernet.state_dict()
    for name, tensor in one.supernet.state_dict().items():
        assert torch.equal(tensor, expected[name]), name


@every_strategy
def test_same_seed_same_bits(name: str) -> None:
    one, other = Search(name), Search(name)
    assert one.iterate(0, 2 * STEPS) == other.iterate(0, 2 * STEPS)
    assert_same_state(one, other)


@every_strategy
@pytest.mark.parametrize("cut", [1, STEPS, STEPS + 2])
def test_resumed_it_goes_on_to_the_same_bits(name: str, cut: int) -> None:
    whole = Search(name)
    whole.iterate(0, cut)
    resumed = Search(name, seed=99)
    resumed.load(whole.saved())
    assert whole.iterate(cut, 2 * STEPS) == resumed.iterate(cut, 2 * STEPS)
    assert_same_state(whole, resumed)


@every_strategy
def test_it_finds_an_architecture_that_belongs_to_the_supernet(name: str) -> None:
    search = Search(name)
    architectures = [search.iterate(step, step + 1)[-1] for step in range(STEPS)]
    for architecture in architectures:
        assert isinstance(architecture, Architecture)
        path = search.supernet.path(architecture)
        assert search.supernet.architecture(path) == architecture
        assert [group.keep for group in search.supernet.groups] == [2]
        assert sum(architecture[f"cell/{row}"] is not None for row in range(3)) == 2
    network = derive(search.supernet, architectures[-1])
    assert network(batch(0)[0]).shape == (8, 3)


@every_strategy
def test_weights_move_and_all_stays_finite(name: str) -> None:
    search = Search(name)
    before = [weight.detach().clone() for weight in search.supernet.weights()]
    *metrics, _ = search.iterate(0, 2 * STEPS)
    weights = search.supernet.weights()
    assert any(not torch.equal(w, old) for w, old in zip(weights, before, strict=True))
    for tensor in search.supernet.state_dict().values():
        assert torch.isfinite(tensor).all()
    for values in metrics:
        assert values is None or all(isinstance(value, float) for value in values.values())


@every_strategy
def test_deriving_changes_nothing(name: str) -> None:
    one, other = Search(name), Search(name)
    one.iterate(0, 3)
    other.iterate(0, 3)
    torch.manual_seed(0)
    one.strategy.derive()
    assert one.iterate(3, 6) == other.iterate(3, 6)
    assert_same_state(one, other)


@every_strategy
def test_unknown_settings_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match=f"'learning_rat' of strategy '{name}'"):
        Search(name, learning_rat=0.1)


@every_strategy
def test_settings_are_frozen_and_have_defaults(name: str) -> None:
    config: BaseModel = STRATEGIES[name].config()
    assert config.model_config["frozen"]
    assert config.model_config["extra"] == "forbid"
    assert type(config)(**config.model_dump()) == config


def test_unknown_strategies_are_refused() -> None:
    with pytest.raises(UsageError, match=r"Unknown strategy 'nsap': choose one of .*nasp"):
        Search("nsap")


def test_values_out_of_range_are_refused() -> None:
    with pytest.raises(UsageError, match=r"'exploration' of strategy 'nasp': .*less than or equal"):
        Search("nasp", exploration=2)


@pytest.mark.parametrize(
    ("epochs", "steps", "resting", "expected"),
    [
        (50, 390, 0, 3e-4),  # the authors' search
        (5, 390, 0, 3e-3),
        (10, 390, 5 * 390, 3e-3),
        (100, 390, 0, 1.5e-4),
        (1, 5, 0, 0.02),
        (2, 5, 10, 0.02),
    ],
)
def test_the_step_size_goes_by_the_length_of_the_search(
    epochs: int, steps: int, resting: int, expected: float
) -> None:
    assert Horizon(epochs, steps).step_size(3e-4, resting) == pytest.approx(expected)


@pytest.mark.parametrize(
    "name", [n for n, r in STRATEGIES.items() if "lr" in r.config.model_fields]
)
def test_in_a_search_as_long_as_the_authors_it_is_theirs(name: str) -> None:
    authors = 6e-4 if name == "pc-darts" else 3e-4
    for horizon, expected in ((Horizon(50, 390), authors), (Horizon(1, 1), 0.02)):
        settings = {"rest": 0.0} if name == "nasp" else {}
        state = Search(name, horizon=horizon, **settings).strategy.state_dict()
        while "optimizer" not in state:  # of the strategy that it is made of
            state = next(part for part in state.values() if isinstance(part, dict))
        assert state["optimizer"]["param_groups"][0]["lr"] == pytest.approx(expected)
