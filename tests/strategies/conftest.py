"""A supernet small enough to compute by hand, and its loss by hand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn import functional as F

from nasp.complexity import Regulariser, parameter_counts
from nasp.strategies import Horizon, Problem, Strategy, make_strategy
from nasp.supernet.choice import Choice, Node
from nasp.supernet.supernet import Supernet
from nasp.supernet.zero import Zero
from nasp.training.learner import Learner

Data = tuple[Tensor, Tensor]


class Loss:
    """Cross entropy, as a task."""

    def loss(self, network: nn.Module, batch: Data) -> tuple[Tensor, dict[str, Tensor]]:
        return F.cross_entropy(network(batch[0]), batch[1]), {}


def edge(share: str | None = None) -> Choice:
    conv = nn.Conv2d(4, 4, 3, padding=1, bias=False)
    wide = nn.Conv2d(4, 4, 5, padding=2, bias=False)
    return Choice(
        {
            "wide": nn.Sequential(nn.ReLU(), wide, nn.BatchNorm2d(4)),
            "conv": nn.Sequential(conv, nn.BatchNorm2d(4), nn.Tanh()),
            "skip": nn.Identity(),
            "none": Zero(),
        },
        share,
    )


class SmallNet(nn.Module):
    """Two cells that share the two rows of their node, and an edge in no node."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.cells = nn.ModuleList(
            Node([edge(f"cell/{row}") for row in range(2)], keep=1) for _ in range(2)
        )
        self.alone = edge()
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        s = self.stem(x)
        t = s.tanh()
        for cell in self.cells:
            s, t = t, cell(s, t)
        return self.head((self.alone(t) + s).mean(dim=(2, 3)))


class Small:
    """Makes strategies on the small supernet in float64, and computes what they should."""

    LR = 0.2
    ETA = 0.3

    def make(
        self, name: str, epochs: int = 5, steps: int = 2, seed: int = 4, **settings: Any
    ) -> Any:
        """Return a strategy whose alphas are far from uniform."""
        torch.manual_seed(1)
        self.supernet = Supernet(SmallNet())
        self.learner = Learner(
            Fabric(accelerator="cpu", devices=1, precision="64-true"),
            self.supernet,
            Loss(),
            self.supernet.weights(),
            lambda weights: torch.optim.SGD(weights, lr=self.LR),
            clip=None,
        )
        self.penalty = Regulariser(parameter_counts(self.supernet), self.ETA)
        problem = Problem(self.supernet, self.learner, Horizon(epochs, steps), seed, self.penalty)
        strategy: Strategy = make_strategy(name, problem, settings)
        return strategy

    def spread(self) -> None:
        """Set the alphas far from uniform."""
        generator = torch.Generator().manual_seed(2)
        with torch.no_grad():
            for a in self.supernet.alphas.values():
                a.copy_(torch.randn(a.shape, generator=generator, dtype=a.dtype))

    @staticmethod
    def batch(seed: int) -> Data:
        generator = torch.Generator().manual_seed(seed)
        x = torch.randn(6, 1, 5, 5, generator=generator, dtype=torch.float64)
        return x, torch.randint(3, (6,), generator=generator)

    def loss(self, weights: Mapping[str, Tensor], data: Data) -> Tensor:
        """Return the loss where edges are plain sums, without a `Supernet` or a `Node`."""
        net: Any = self.supernet.network
        s = net.stem(data[0])
        t = s.tanh()
        for cell in net.cells:
            rows = zip(cell.choices, weights["cell"], (s, t), strict=True)
            s, t = t, torch.stack([mix(*row) for row in rows]).sum(dim=0)
        out = mix(net.alone, weights["alone"][0], t) + s
        return F.cross_entropy(net.head(out.mean(dim=(2, 3))), data[1])

    def objective(self, weights: Mapping[str, Tensor], data: Data) -> Tensor:
        """Return loss and penalty at a mixture's weights."""
        return self.loss(weights, data) + self.penalty(weights)

    def alpha_gradients(self) -> dict[str, Tensor]:
        """Return what the last architecture step left in the alphas' ``.grad``."""
        grads = {name: a.grad for name, a in self.supernet.alphas.items()}
        return {name: grad.clone() for name, grad in grads.items() if grad is not None}

    def snapshot(self) -> dict[str, Tensor]:
        """Return copies of the network's parameters."""
        named = self.supernet.network.named_parameters()
        return {name: w.detach().clone() for name, w in named}


def mix(choice: Choice, weights: Tensor, x: Tensor) -> Tensor:
    """Return the weighted sum of all candidates."""
    products = [w * o(x) for w, o in zip(weights, choice.operations, strict=True)]
    return torch.stack(products).sum(dim=0)


@pytest.fixture
def small() -> Iterator[Small]:
    """Return the small supernet's maker; float64 is the default type meanwhile."""
    torch.set_default_dtype(torch.float64)
    yield Small()
    torch.set_default_dtype(torch.float32)
