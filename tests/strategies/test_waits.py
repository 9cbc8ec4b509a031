"""How often a step waits for the device: the network is on `meta`, where nothing can be read.

Whatever is not read by `to_host`, all at once, is an error there; what is, is counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.accelerators import CPUAccelerator
from lightning_fabric.strategies import SingleDeviceStrategy
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from nasp import Choice, Node, Zero
from nasp.complexity import Regulariser, parameter_counts
from nasp.strategies import STRATEGIES, Horizon, Problem, Strategy, make_strategy
from nasp.supernet.supernet import Supernet
from nasp.training.learner import Learner

ITERATIVE = [name for name, registration in STRATEGIES.items() if registration.iterative]
SETTINGS: dict[str, dict[str, Any]] = {
    "nasp": {"lr": 0.3},
    "pc-darts": {"warmup_epochs": 0},
    "drnas": {"kl": 0.1},
}


class Classification:
    """Cross entropy, with two metrics beside it."""

    def loss(self, network: nn.Module, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
        logits = network(batch[0])
        right = (logits.argmax(1) == batch[1]).float().mean()
        return F.cross_entropy(logits, batch[1]), {"accuracy": right, "size": logits.norm()}


class Watch(TorchDispatchMode):
    """Counts reads, and copies from one kind of device to another."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = self.copies = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        given = [x for x in args if isinstance(x, Tensor)]
        name = func.overloadpacket
        if name is torch.ops.aten._local_scalar_dense:
            self.reads += given[0].device.type == "meta"
        elif name in (torch.ops.aten._to_copy, torch.ops.aten.copy_):
            devices = {x.device.type for x in (*given, output)}
            self.copies += len(devices) > 1
        return output


def edge(share: str | None = None) -> Choice:
    conv = nn.Sequential(nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4))
    return Choice({"conv": conv, "skip": nn.Identity(), "none": Zero()}, share)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 1)
        self.node = Node([edge(f"cell/{k}") for k in range(2)], keep=1)
        self.last, self.head = edge(), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.stem(x)
        return self.head(self.last(self.node(y, y.tanh())).mean((2, 3)))


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list to which each copy from the device adds how many tensors came."""
    seen: list[int] = []
    make = torch.Generator().manual_seed(0)

    def counted(tensors: Sequence[Tensor]) -> list[Tensor]:
        seen.append(len(tensors))
        assert any(tensor.device.type == "meta" for tensor in tensors)
        return [
            torch.rand(t.shape, generator=make, dtype=torch.float32).to(t.dtype) for t in tensors
        ]

    for module in ("supernet.leaves", "supernet.probe.taps", "training.unread"):
        monkeypatch.setattr(f"nasp.{module}.to_host", counted)
    # torch does not know that this device has no autocast.
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda *_: False)
    # Fabric would have such weights made real first.
    monkeypatch.setattr(Fabric, "_validate_setup_optimizers", lambda *_: None)
    return seen


class Meta(CPUAccelerator):
    """An accelerator that computes nothing."""

    def setup_device(self, device: torch.device) -> None:
        assert device.type == "meta"


def on_meta(name: str, accumulate: int) -> Strategy:
    with torch.device("meta"):
        supernet = Supernet(Net())
    learner = Learner(
        Fabric(strategy=SingleDeviceStrategy(torch.device("meta"), Meta())),
        supernet,
        Classification(),
        supernet.weights(),
        lambda weights: torch.optim.SGD(weights, lr=0.1, momentum=0.9),
        accumulate=accumulate,
    )
    penalty = Regulariser(parameter_counts(supernet), 0.1)
    problem = Problem(supernet, learner, Horizon(2, 10), 0, penalty)
    return make_strategy(name, problem, SETTINGS.get(name, {}))


@pytest.mark.parametrize("name", ITERATIVE)
@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_step_waits_twice_at_most(name: str, accumulate: int, reads: list[int]) -> None:
    strategy = on_meta(name, accumulate)
    batch = torch.empty(6, 3, 5, 5, device="meta"), torch.empty(6, device="meta").long()
    for step in range(3):
        for act in (strategy.arch_step, strategy.weight_step):
            reads.clear()
            with Watch() as watch:
                act(batch)
            assert len(reads) <= 2, (step, reads)
            assert watch.reads == 0
            assert watch.copies <= 1  # the weights of a mixture, of all tables, or a probe's path
        strategy.derive()


def test_nothing_but_to_host_can_be_read_here() -> None:
    with pytest.raises((RuntimeError, NotImplementedError)):
        float(torch.ones((), device="meta"))
