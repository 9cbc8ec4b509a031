"""What one process of several does, or one alone: searches by every strategy, as plain values."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics.classification import MulticlassF1Score

import nasp
from nasp.domains.images.task import ImageClassification
from nasp.strategies import strategy_names
from nasp.training.recipe import BaseRecipe

STEPS = 20
ITERATIVE = [name for name in strategy_names() if nasp.strategies.find_strategy(name).iterative]
WITH_NORMS = ("nasp", "darts", "darts-second-order", "gdas", "pc-darts", "random-sharing")
"""One for each way in which a step runs an edge: what BatchNorm does is the edge's, not theirs."""
CASES = [(name, False) for name in ITERATIVE] + [(name, True) for name in WITH_NORMS]


class Network(nn.Module):
    """Edges that read images, and edges that read vectors; nothing that draws."""

    def __init__(self, norms: bool) -> None:
        super().__init__()

        def conv(size: int) -> nn.Module:
            layers: list[nn.Module] = [nn.ReLU(), nn.Conv2d(4, 4, size, padding=size // 2)]
            return nn.Sequential(*layers, *([nn.BatchNorm2d(4)] if norms else []))

        self.stem = nn.Conv2d(2, 4, 3, padding=1)
        self.edges = nn.ModuleList(
            nasp.Choice(
                {
                    "conv1": conv(1),
                    "conv3": conv(3),
                    "pool": nn.AvgPool2d(3, 1, 1),
                    "skip": nn.Identity(),
                }
            )
            for _ in range(2)
        )
        deep = nn.Sequential(nn.Linear(4, 4), *([nn.BatchNorm1d(4)] if norms else []), nn.Tanh())
        self.head = nasp.Choice({"deep": deep, "skip": nn.Identity()})
        self.classes = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = self.edges[0](x) + self.edges[1](x)
        return self.classes(self.head(x.mean((2, 3))))


def loader(seed: int, workers: int = 0) -> DataLoader[Any]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(28, 2, 6, 6, generator=generator)
    y = torch.randint(3, (28,), generator=generator)
    # Seven: the shares are unequal.
    return DataLoader(TensorDataset(x, y), batch_size=7, shuffle=True, num_workers=workers)


@contextmanager
def in_float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)  # in which Fabric hands over what a network returns
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@in_float64()
def searched(strategy: str, norms: bool, devices: int) -> dict[str, Any]:
    torch.manual_seed(0)
    return searched_in(Network(norms), loader(1), loader(2), strategy, norms, devices)


def searched_in(
    network: nn.Module,
    weights: Any,
    alphas: Any,
    strategy: str,
    norms: bool,
    devices: int,
    **settings: Any,
) -> dict[str, Any]:
    found = nasp.search(
        network,
        weights,
        alphas,
        strategy=strategy,
        epochs=2,
        epoch_steps=STEPS // 2,
        precision="64-true",
        device="cpu",
        devices=devices,
        sync_bn=norms,
        progress=False,
        **settings,
    )
    state = found.supernet.network.state_dict()
    return {
        "architecture": dict(found.architecture.edges),
        "state": {name: tensor.double().flatten().tolist() for name, tensor in state.items()},
        "alphas": {n: a.double().flatten().tolist() for n, a in found.supernet.alphas.items()},
        "metrics": [
            {k: v for k, v in line.items() if isinstance(v, float)} for line in found.metrics
        ],
    }


@in_float64()
def searched_in_shares(devices: int) -> dict[str, Any]:
    """Workers read the share alone."""
    torch.manual_seed(0)
    return searched_in(Network(False), loader(1, 1), loader(2, 1), "nasp", False, devices)


@in_float64()
def searched_text(devices: int) -> dict[str, Any]:
    """A recurrent cell: what a batch begins with is what the one before left in its columns."""
    from nasp.domains.text.loader import TextLoader
    from nasp.domains.text.task import LanguageModelling
    from nasp.spaces.language_model import Dropouts
    from nasp.spaces.recurrent import LanguageConfig, Recurrent

    torch.manual_seed(0)
    none = Dropouts(output=0, hidden=0, input=0, embedding=0)
    size = LanguageConfig(vocabulary=7, channels=4, dropouts=none)
    network = Recurrent().supernet(size)
    tokens = torch.randint(7, (200,), generator=torch.Generator().manual_seed(0))
    loaders = [
        TextLoader(tokens, batch_size=5, bptt=6, state_size=network.state_size) for _ in range(2)
    ]
    return searched_in(network, *loaders, "nasp", True, devices, task=LanguageModelling(6))


@in_float64()
def trained(devices: int) -> dict[str, Any]:
    """A training, which the first process measures, by metrics that would ask the others."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(72, 8), nn.BatchNorm1d(8), nn.Linear(8, 3))
    result = nasp.train(
        network,
        loader(1),
        loader(2),
        metrics={"f1": MulticlassF1Score(3)},
        epochs=2,
        precision="64-true",
        device="cpu",
        devices=devices,
        sync_bn=True,
        progress=False,
    )
    recipe = BaseRecipe(device="cpu", devices=devices)
    recipe.fabric()
    measured = recipe.ranks.share(lambda: ImageClassification(3).evaluate(network, loader(2)))
    state = {
        name: value.double().flatten().tolist() for name, value in network.state_dict().items()
    }
    lines = [{k: v for k, v in line.items() if isinstance(v, float)} for line in result.metrics]
    return {"architecture": measured, "state": state, "alphas": {}, "metrics": lines}


def drawn() -> dict[str, Any]:
    """Random numbers in a pass over a share, and after it."""
    ranks = BaseRecipe(device="cpu", devices=2).ranks
    with ranks.own_draws(0, 1):
        inside = torch.rand(3).tolist()
    return {"inside": inside, "after": torch.rand(3).tolist()}


def all_of_them(devices: int) -> dict[str, Any]:
    found = {
        f"{strategy}{', norms' * norms}": searched(strategy, norms, devices)
        for strategy, norms in CASES
    }
    torch.manual_seed(0)
    others = {
        "text": searched_text(devices),
        "shares": searched_in_shares(devices),
        "trained": trained(devices),
    }
    return {**found, **others, "drawn": drawn()}
