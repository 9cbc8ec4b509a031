"""Bounds that a search keeps by the count of the network that it built."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

import nasp
from nasp.complexity import parameter_count


def encoder(feedforward: int) -> nn.Module:
    return nn.TransformerEncoderLayer(32, 4, feedforward, dropout=0.0, batch_first=True)


class Attending(nn.Module):
    def __init__(self, heads: int) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(32, heads, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.attention(x, x, x)[0]


class Recurrent(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.GRU(32, width, batch_first=True)
        self.back = nn.Linear(width, 32)

    def forward(self, x: Tensor) -> Tensor:
        return self.back(self.layers(x)[0])


class Net(nn.Module):
    def __init__(self, make: Callable[[], dict[str, nn.Module]]) -> None:
        super().__init__()
        self.head = nn.Linear(32, 3)
        self.blocks = nn.Sequential(*[nasp.Choice(make()) for _ in range(3)])

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(x).mean(1))


@pytest.mark.parametrize(
    ("make", "limit"),
    [
        (lambda: {"64": encoder(64), "256": encoder(256), "skip": nn.Identity()}, 300_000),
        (lambda: {"2": Attending(2), "both": nn.Sequential(Attending(2), Attending(4))}, 330_000),
        (lambda: {"32": Recurrent(32), "8": Recurrent(8), "skip": nn.Identity()}, 100_000),
    ],
    ids=["encoder", "attention", "recurrent"],
)
def test_a_bound_on_multiply_adds_counts_fused_kernels(
    make: Callable[[], dict[str, nn.Module]], limit: int
) -> None:
    torch.manual_seed(0)
    batches = [(torch.randn(8, 16, 32), torch.randint(3, (8,))) for _ in range(4)]
    found = nasp.search(Net(make), batches[:2], batches[2:], epochs=2, at_most={"macs": limit})
    (bound,) = found.bounds
    # On meta no kernel of a recurrent layer hides what it computes.
    network = found.build().train().to("meta")
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        network(torch.empty(1, 16, 32, device="meta"))
    assert bound.reached == counter.get_total_flops() / 2 <= limit


def linear(*widths: int) -> nn.Module:
    pairs = zip((10, *widths), (*widths, 10), strict=True)
    return nn.Sequential(*(nn.Linear(one, other) for one, other in pairs))


def tied() -> nn.Module:
    big, small = linear(), linear(2)
    return nn.Sequential(
        *[nasp.Choice({"big": big, "small": small}, share="layer/0") for _ in range(4)]
    )


def tied_by_chance() -> nn.Module:
    """Each place chooses for itself, of the same blocks."""
    big, small = linear(), linear(2)
    return nn.Sequential(*[nasp.Choice({"big": big, "small": small}) for _ in range(4)])


def prefixed() -> nn.Module:
    stem = linear()
    return nn.Sequential(
        *[
            nasp.Choice({"a": nn.Sequential(stem, nn.Tanh()), "b": nn.Sequential(stem, nn.ReLU())})
            for _ in range(4)
        ]
    )


def with_a_choice_inside() -> nn.Module:
    """One block, with a choice of its own, at several places that choose for themselves."""
    block = nn.Sequential(linear(), nasp.Choice({"big": linear(), "small": linear(2)}))
    return nn.Sequential(*[nasp.Choice({"block": block, "skip": nn.Identity()}) for _ in range(3)])


@pytest.mark.parametrize(
    ("make", "limit"),
    [
        (with_a_choice_inside, 33),
        (tied, 200),
        (tied, 143),
        (tied_by_chance, 195),
        (tied_by_chance, 90),
        (prefixed, 143),
    ],
)
def test_a_bound_that_can_be_kept_is_not_refused(make: Callable[[], nn.Module], limit: int) -> None:
    torch.manual_seed(0)
    batches = [(torch.randn(8, 10), torch.randint(3, (8,))) for _ in range(4)]
    network = nn.Sequential(make(), nn.Linear(10, 3))
    at_most = {"parameters": limit}
    found = nasp.search(network, batches[:2], batches[2:], epochs=1, at_most=at_most)
    (bound,) = found.bounds
    assert bound.reached == parameter_count(found.build()) <= limit
