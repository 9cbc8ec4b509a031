"""What must hold for every strategy, on a small supernet with node groups and shared rows."""

from __future__ import annotations

import io
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn import functional as F

from nasp.complexity import Regulariser, parameter_counts
from nasp.errors import UsageError
from nasp.strategies import Horizon, Problem, Strategy, find_strategy, make_strategy
from nasp.supernet.architecture import Architecture
from nasp.supernet.choice import Choice, Node
from nasp.supernet.derive import derive
from nasp.supernet.supernet import Supernet
from nasp.supernet.zero import Zero
from nasp.training.learner import Learner
from nasp.training.task import Batch

STEPS = 5
SHORT = Horizon(2, STEPS)


class Classification:
    """Cross entropy, as a task."""

    def loss(self, network: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss; there are no metrics."""
        return F.cross_entropy(network(batch[0]), batch[1]), {}


def _edge(share: str | None = None) -> Choice:
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
    """Two cells that share the rows of a node which keeps two edges of three, and an edge alone."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.cells = nn.ModuleList(
            [Node([_edge(f"cell/{row}") for row in range(3)], keep=2) for _ in range(2)]
        )
        self.alone = _edge()
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B,1,H,W] to [B,3]."""
        s = self.stem(x)
        t = s.tanh()
        for cell in self.cells:
            s, t = t, s + cell(s, t, s * t)
        out: Tensor = self.head((self.alone(t) + s).mean(dim=(2, 3)))
        return out


def batch(seed: int) -> Batch:
    """Return 8 random images and classes."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(8, 1, 6, 6, generator=generator)
    return x, torch.randint(3, (8,), generator=generator)


class Search:
    """A supernet, its learner and a strategy, fresh from a seed.

    Args:
        name: of the strategy.
        seed: of the strategy; the supernet's is always the same.
        horizon: how long the search is said to be.
        settings: of the strategy.
    """

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
        problem = Problem(self.supernet, self.learner, horizon, seed, penalty, penalty.prices())
        self.strategy: Strategy = make_strategy(name, problem, settings)

    def iterate(self, start: int, end: int) -> list[Any]:
        """Take steps; return all metrics, and the architecture at the end."""
        seen: list[Any] = []
        for step in range(start, end):
            torch.manual_seed(step)  # a run restores torch's own random state
            seen.append(self.strategy.arch_step(batch(2 * step)))
            seen.append(self.strategy.weight_step(batch(2 * step + 1)))
        torch.manual_seed(end)
        return [*seen, self.strategy.derive()]

    def saved(self) -> Any:
        """Return the state as a checkpoint would hold it."""
        parts = (self.supernet, self.strategy, self.learner)
        file = io.BytesIO()
        torch.save([part.state_dict() for part in parts], file)
        file.seek(0)
        return torch.load(file, weights_only=False)

    def load(self, state: Any) -> None:
        """Take up a state that `saved` returned."""
        self.supernet.load_state_dict(state[0])
        self.strategy.load_state_dict(state[1])
        self.learner.load_state_dict(state[2])


def assert_same_state(one: Search, other: Search) -> None:
    """Assert that two searches have the same alphas and weights, bit by bit."""
    expected = other.supernet.state_dict()
    for name, tensor in one.supernet.state_dict().items():
        assert torch.equal(tensor, expected[name]), name


class StrategyTests:
    """The tests of strategies; a subclass says which, by the parameter ``name``.

    Example::

        @pytest.mark.parametrize("name", ["mine"])
        class TestMine(StrategyTests): ...
    """

    def test_same_seed_same_bits(self, name: str) -> None:
        """A seed fixes metrics, architectures and weights."""
        one, other = Search(name), Search(name)
        assert one.iterate(0, 2 * STEPS) == other.iterate(0, 2 * STEPS)
        assert_same_state(one, other)

    @pytest.mark.parametrize("cut", [1, STEPS, STEPS + 2])
    def test_resumed_it_goes_on_to_the_same_bits(self, name: str, cut: int) -> None:
        """Its state holds all that it needs, wherever a run is cut."""
        whole = Search(name)
        whole.iterate(0, cut)
        resumed = Search(name, seed=99)
        resumed.load(whole.saved())
        assert whole.iterate(cut, 2 * STEPS) == resumed.iterate(cut, 2 * STEPS)
        assert_same_state(whole, resumed)

    def test_it_finds_an_architecture_that_belongs_to_the_supernet(self, name: str) -> None:
        """What it derives keeps the node groups, and can be built."""
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

    def test_weights_move_and_all_stays_finite(self, name: str) -> None:
        """Steps train weights, and metrics are plain numbers."""
        search = Search(name)
        before = [weight.detach().clone() for weight in search.supernet.weights()]
        *metrics, _ = search.iterate(0, 2 * STEPS)
        weights = search.supernet.weights()
        assert any(not torch.equal(w, old) for w, old in zip(weights, before, strict=True))
        for tensor in search.supernet.state_dict().values():
            assert torch.isfinite(tensor).all()
        for values in metrics:
            assert values is None or all(isinstance(value, float) for value in values.values())

    def test_deriving_changes_nothing(self, name: str) -> None:
        """A search that was looked at goes on as one that was not."""
        one, other = Search(name), Search(name)
        one.iterate(0, 3)
        other.iterate(0, 3)
        torch.manual_seed(0)
        one.strategy.derive()
        assert one.iterate(3, 6) == other.iterate(3, 6)
        assert_same_state(one, other)

    def test_unknown_settings_are_refused(self, name: str) -> None:
        """A setting that does not exist is named."""
        with pytest.raises(UsageError, match=f"'learning_rat' of strategy '{name}'"):
            Search(name, learning_rat=0.1)

    def test_settings_are_frozen_and_have_defaults(self, name: str) -> None:
        """The settings can be made of nothing, and written and read."""
        config = find_strategy(name).config()
        assert config.model_config["frozen"]
        assert config.model_config["extra"] == "forbid"
        assert type(config)(**config.model_dump()) == config
