"""Steps from pieces: those of the path itself, whichever it is and whatever came before."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nasp.domains.images.task import ImageClassification
from nasp.spaces import NetworkConfig, find_space
from nasp.supernet.choice import Choice
from nasp.supernet.path import Path
from nasp.supernet.supernet import Supernet
from nasp.training.pieces import Pieces, UnfitError
from tests.training.tape import Recorder, Tape

SIZE = NetworkConfig(channels=2, cells=2, image_size=8, classes=3)
TASK = ImageClassification(3)


def batches(count: int) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    return [
        (
            torch.randn(4, 3, 8, 8, generator=generator, dtype=torch.float64),
            torch.randint(3, (4,), generator=generator),
        )
        for _ in range(count)
    ]


def step_of(network: nn.Module) -> Callable[[Any, Sequence[Tensor]], tuple[Any, ...]]:
    def step(batch: Any, leaves: Sequence[Tensor]) -> tuple[Any, ...]:
        loss, metrics = TASK.loss(network, batch)
        return loss, metrics, list(torch.autograd.grad(loss, leaves, allow_unused=True))

    return step


def supernet_of(space: str) -> Supernet:
    torch.manual_seed(0)
    return Supernet(find_space(space).supernet(SIZE), space).double()


def paths(supernet: Supernet, count: int) -> list[Path]:
    generator = torch.Generator().manual_seed(2)
    return [supernet.random_path(generator) for _ in range(count)]


def buffers(supernet: Supernet) -> dict[str, Tensor]:
    return {name: buffer.clone() for name, buffer in supernet.named_buffers()}


@pytest.mark.parametrize("space", ["darts", "nasbench201"])
def test_steps_of_paths_that_change_are_those_of_the_paths_themselves(space: str) -> None:
    supernet = supernet_of(space)
    rival = copy.deepcopy(supernet)
    weights, rival_weights = supernet.weights(), rival.weights()
    given = batches(4)
    with Recorder() as recorder:
        pieces = Pieces(supernet, weights, step_of(supernet), given[0], lambda: Tape(recorder))
        made = paths(supernet, 3)
        for path, batch in zip([*made, made[0]], given, strict=True):
            loss, metrics, gradients = pieces.weight_step(path, batch)
            rival.single(path)
            expected, known, wanted = step_of(rival)(batch, rival_weights)
            torch.testing.assert_close(loss, expected)
            torch.testing.assert_close(metrics, known)
            for own, other in zip(gradients, wanted, strict=True):
                assert (own is None) == (other is None)
                if own is not None:
                    torch.testing.assert_close(own, other)
            torch.testing.assert_close(buffers(supernet), buffers(rival))
    assert not recorder.strange


@pytest.mark.parametrize("space", ["darts", "nasbench201"])
def test_probed_steps_give_the_products_of_all_candidates(space: str) -> None:
    supernet = supernet_of(space)
    rival = copy.deepcopy(supernet)
    given = batches(3)
    with Recorder() as recorder:
        pieces = Pieces(
            supernet, supernet.weights(), step_of(supernet), given[0], lambda: Tape(recorder)
        )
        for path, batch in zip(paths(supernet, 3), given, strict=True):
            *_, found = pieces.probed_step(path, batch)
            own = supernet.probe(path, fixed_weights=True)
            own.give(found)
            probe = rival.probe(path, fixed_weights=True)
            loss, _ = TASK.loss(rival, batch)
            loss.backward(inputs=probe.anchors)
            torch.testing.assert_close(own.gradients(), probe.gradients())
            torch.testing.assert_close(buffers(supernet), buffers(rival))
    assert not recorder.strange


def made_of(network: nn.Module) -> Pieces:
    supernet = Supernet(network)
    batch = (torch.randn(2, 3, 4, 4), torch.zeros(2, dtype=torch.long))
    with Recorder() as recorder:
        return Pieces(
            supernet, supernet.weights(), step_of(supernet), batch, lambda: Tape(recorder)
        )


def end() -> list[nn.Module]:
    return [nn.Flatten(), nn.Linear(48, 3)]


def convolutions() -> dict[str, nn.Module]:
    return {"a": nn.Conv2d(3, 3, 1), "b": nn.Conv2d(3, 3, 3, padding=1)}


def test_networks_of_another_make_are_refused_with_the_reason() -> None:
    choice = Choice(convolutions())
    with pytest.raises(UnfitError, match="once a pass"):
        made_of(nn.Sequential(choice, choice, *end()))
    with pytest.raises(UnfitError, match="draw random numbers"):
        made_of(nn.Sequential(Choice(convolutions() | {"c": nn.Dropout()}), *end()))
    with pytest.raises(UnfitError, match="draw random numbers"):
        made_of(nn.Sequential(Choice(convolutions()), nn.Dropout(), *end()))
    shared = nn.Conv2d(3, 3, 1)
    with pytest.raises(UnfitError, match="share weights"):
        made_of(nn.Sequential(Choice({"a": shared}), Choice({"a": shared}), *end()))
    with pytest.raises(UnfitError, match="in place"):
        made_of(nn.Sequential(nn.Conv2d(3, 3, 1), _ReadThenChanged(), *end()))


class _ReadThenChanged(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.edge = Choice({"skip": nn.Identity(), **convolutions()})

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.edge(x)
        return y + x.mul_(2)
