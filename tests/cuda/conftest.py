"""Small searches on the device under test."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from nasp.bench.steps.networks import make_supernet
from nasp.bench.steps.settings import BenchSettings
from nasp.bench.steps.workloads import workload
from nasp.complexity import Regulariser, parameter_counts
from nasp.strategies import STRATEGIES, Horizon, Problem, Strategy, make_strategy
from nasp.training.device import computing, make_fabric
from nasp.training.learner import Learner

SMALL = BenchSettings(
    channels=4, cells=2, batch=8, image_size=8, bptt=5, vocabulary=20, device="cpu"
)


class Steps:
    """A supernet of a space on the device, a strategy, and one batch for each of its steps.

    Args:
        device: where the network is.
        space: the search space's name.
        strategy: the strategy's name.
        precision: Lightning Fabric's name of it.
        seed: of what the strategy draws.
        options: the strategy's settings.
    """

    def __init__(
        self,
        device: str,
        space: str,
        strategy: str = "nasp",
        precision: str = "32-true",
        seed: int = 3,
        options: dict[str, Any] | None = None,
    ) -> None:
        # Laid out for the device: see `nasp.training.layout`.
        settings = SMALL.model_copy(update={"space": space, "device": device})
        self.supernet = make_supernet(settings, STRATEGIES[strategy].partial_channels)
        work = workload(settings, self.supernet.network)
        self.learner = Learner(
            make_fabric(device, precision),
            self.supernet,
            work.task,
            self.supernet.weights(),
            work.optimizer,
            work.clip,
        )
        penalty = Regulariser(parameter_counts(self.supernet), weight=0.1)
        problem = Problem(self.supernet, self.learner, Horizon(2, 4), seed, penalty)
        self.strategy: Strategy = make_strategy(strategy, problem, options or {})
        self.train, self.val = work.batches

    def iterate(self, start: int, end: int, weights: bool = True) -> list[Any]:
        """Take steps; return what they said."""
        seen: list[Any] = []
        for step in range(start, end):
            torch.manual_seed(step)  # a run restores torch's own random state
            seen.append(self.strategy.arch_step(self.val))
            if weights:
                seen.append(self.strategy.weight_step(self.train))
        return [*seen, self.strategy.derive()]

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return copies of alphas, weights and statistics, on the CPU."""
        state = self.supernet.state_dict()
        return {name: value.detach().cpu().clone() for name, value in state.items()}

    def saved(self) -> Any:
        """Return all states as a checkpoint has them."""
        file = io.BytesIO()
        parts = (self.supernet, self.strategy, self.learner)
        torch.save([part.state_dict() for part in parts], file)
        file.seek(0)
        return torch.load(file, map_location="cpu", weights_only=True)

    def load(self, states: Any) -> None:
        """Take up what `saved` returned."""
        for part, state in zip((self.supernet, self.strategy, self.learner), states, strict=True):
            part.load_state_dict(state)


@pytest.fixture
def make(device: str) -> Iterator[Callable[..., Steps]]:
    """Return what makes `Steps` on the device, which repeats itself meanwhile."""

    def made(*args: Any, **kwargs: Any) -> Steps:
        return Steps(device, *args, **kwargs)

    with computing(device, deterministic=True):
        yield made
