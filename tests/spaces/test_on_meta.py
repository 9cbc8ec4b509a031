"""The passes of both steps on torch's `meta` device, which stands in for a GPU.

It refuses an operation on tensors of two devices, and a value that is read before the step is over:
what a GPU refuses, and what would make it wait.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from nasp.bench.steps.networks import make_supernet
from nasp.bench.steps.settings import BenchSettings
from nasp.bench.steps.workloads import workload
from nasp.spaces import find_space, space_names
from nasp.supernet.supernet import Supernet

SMALL = BenchSettings(
    channels=4, cells=2, batch=2, image_size=8, bptt=3, vocabulary=5, device="cpu"
)
every_space = pytest.mark.parametrize("space", space_names())

Loss = Callable[[], Tensor]


@pytest.fixture(autouse=True)
def _autocast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answer for a device of which torch does not know that it has no autocast."""
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda *_: False)


def on_meta(space: str, partial_channels: int = 1) -> tuple[Supernet, Loss]:
    """Return a supernet whose network is on `meta`, and its loss on a batch there."""
    cells = min(SMALL.cells, find_space(space).small.cells)
    settings = SMALL.model_copy(update={"space": space, "cells": cells})
    supernet = make_supernet(settings, partial_channels)
    work = workload(settings, supernet.network)
    batch = tuple(part.to("meta") for part in work.batches[0])
    supernet.to("meta")
    assert all(a.device.type == "cpu" for a in supernet.alphas.values())
    return supernet, lambda: work.task.loss(supernet, batch)[0]


def path_of(supernet: Supernet, seed: int) -> tuple[int | None, ...]:
    return supernet.random_path(torch.Generator().manual_seed(seed))


def assert_all_on_meta(gradients: tuple[Tensor | None, ...]) -> None:
    assert any(gradient is not None for gradient in gradients)
    assert all(gradient.is_meta for gradient in gradients if gradient is not None)


def more(space: str, fused: bool, seed: int) -> bool:
    """Tell whether a case says more of a space than its others."""
    return (space not in ("mobile", "vit") or seed == 0) and (space != "mobile" or fused)


@every_space
def test_a_weight_step_of_one_path(space: str) -> None:
    supernet, loss = on_meta(space)
    supernet.single(path_of(supernet, 0))
    assert_all_on_meta(torch.autograd.grad(loss(), supernet.weights(), allow_unused=True))


@pytest.mark.parametrize(
    ("space", "partial_channels"),
    # Where a part is seen, some layers of mobile see all channels.
    [(s, k) for s in space_names() for k in (1, 4) if (s, k) != ("mobile", 1)],
)
def test_both_steps_of_a_mixture(space: str, partial_channels: int) -> None:
    supernet, loss = on_meta(space, partial_channels)
    weights = {
        name: a.detach().softmax(dim=1).to("meta").requires_grad_()
        for name, a in supernet.alphas.items()
    }
    supernet.mixture(weights)
    leaves = [*weights.values(), *supernet.weights()]
    assert_all_on_meta(torch.autograd.grad(loss(), leaves, allow_unused=True))


@every_space
def test_a_mixture_along_a_path(space: str) -> None:
    supernet, loss = on_meta(space)
    path = path_of(supernet, 0)
    weights = {n: a.to("meta").requires_grad_() for n, a in supernet.one_hot(path).items()}
    supernet.mixture(weights, path)
    assert_all_on_meta(torch.autograd.grad(loss(), list(weights.values())))


@pytest.mark.parametrize(
    ("space", "fused", "seed"),
    # Candidates that are all alike say as much by one path as by three.
    [(s, f, n) for s in space_names() for f in (True, False) for n in range(3) if more(s, f, n)],
)
def test_an_architecture_step_by_the_probe(space: str, fused: bool, seed: int) -> None:
    supernet, loss = on_meta(space)
    probe = supernet.probe(path_of(supernet, seed), fused)
    torch.autograd.backward(loss(), inputs=probe.anchors)
    places, products = probe.take()
    assert products.is_meta
    assert len(products) == len(places) > 0
