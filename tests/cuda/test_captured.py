"""Work that repeats itself: replayed on a GPU to the bits of the work itself."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from nasp.domains.images.task import ImageClassification
from nasp.spaces import NetworkConfig, find_space
from nasp.supernet.probe.features import channel_products
from nasp.supernet.supernet import Supernet
from nasp.training.captured import MOST, PATIENCE, PATIENCE_WITH_CHANGES, Captured
from nasp.training.device import computing, make_fabric
from nasp.training.learner import Learner
from nasp.training.task import Batch, Task

pytestmark = pytest.mark.cuda

SIZE = NetworkConfig(channels=4, cells=3, image_size=16)


def learner(
    supernet: Supernet,
    task: Task,
    device: str = "cpu",
    capture: bool = True,
    precision: str = "32-true",
) -> Learner:
    def sgd(weights: Any) -> torch.optim.Optimizer:
        return torch.optim.SGD(weights, lr=0.05, momentum=0.9)

    fabric = make_fabric(device, precision)
    return Learner(fabric, supernet, task, supernet.weights(), sgd, capture=capture)


@pytest.fixture
def repeating() -> Iterator[None]:
    with computing("cuda", deterministic=True):
        yield


def searched(
    capture: bool, paths: list[int], precision: str = "32-true", space: str = "darts"
) -> tuple[list[Any], dict[str, Tensor], bool]:
    """Figures of one iteration on each of these paths, what they moved, and whether in pieces."""
    torch.manual_seed(0)
    supernet = Supernet(find_space(space).supernet(SIZE), space)
    moving = learner(supernet, ImageClassification(10), "cuda", capture, precision)
    generator = torch.Generator().manual_seed(0)
    drawn = [supernet.random_path(generator) for _ in range(max(paths) + 1)]
    seen: list[Any] = []
    for number in paths:
        x = torch.randn(8, 3, 16, 16, generator=generator).to("cuda", supernet.weights()[0].dtype)
        y = torch.randint(10, (8,), generator=generator).cuda()
        probe = supernet.probe(drawn[number], fixed_weights=True)
        seen += [moving.gradients((x, y), probe), probe.gradients()]
        supernet.single(drawn[number])
        seen.append(moving.weight_step((x, y)))
    state = {name: value.cpu() for name, value in supernet.state_dict().items()}
    return seen, copy.deepcopy(state), bool(moving._pieces)


@pytest.mark.usefixtures("repeating")
def test_a_replay_ends_with_the_bits_of_the_work_itself() -> None:
    still = [0] * (PATIENCE + 6)
    seen, state, _ = searched(True, still)
    plain_seen, plain, _ = searched(False, still)
    torch.testing.assert_close(seen, plain_seen, rtol=0, atol=0)
    torch.testing.assert_close(state, plain, rtol=0, atol=0)


@pytest.mark.filterwarnings("error::RuntimeWarning")  # of a capture that failed
@pytest.mark.usefixtures("repeating")
@pytest.mark.parametrize("space", ["darts", "nasbench201"])
def test_steps_in_pieces_are_those_of_the_paths_themselves(space: str) -> None:
    changing = [*range(8), 2, 2, *[3] * (PATIENCE_WITH_CHANGES + 2), 1, 0]
    seen, state, in_pieces = searched(True, changing, "64-true", space)
    plain_seen, plain, none = searched(False, changing, "64-true", space)
    assert (in_pieces, none) == (True, False)
    # The products are summed in float32, as the alphas are.
    torch.testing.assert_close(seen, plain_seen, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(state, plain, rtol=1e-8, atol=1e-10)


@pytest.mark.filterwarnings("error::RuntimeWarning")  # of a capture that failed
@pytest.mark.usefixtures("repeating")
def test_steps_in_pieces_repeat_themselves() -> None:
    changing = [*range(8), 2, *[3] * (PATIENCE_WITH_CHANGES + 2), 1, 0]
    seen, state, _ = searched(True, changing)
    again_seen, again, _ = searched(True, changing)
    torch.testing.assert_close(seen, again_seen, rtol=0, atol=0)
    torch.testing.assert_close(state, again, rtol=0, atol=0)


def test_work_is_captured_when_it_has_come_some_times() -> None:
    captured, calls = Captured(torch.device("cuda")), []

    def work(batch: Batch) -> Tensor:
        calls.append(1)
        return batch.square().sum()

    for value in range(PATIENCE + 4):
        x = torch.full((3,), float(value), device="cuda")
        assert float(captured.run("kind", "key", work, x)) == 3 * value**2
    assert len(calls) == PATIENCE + 1
    captured.run("kind", None, work, torch.ones(3, device="cuda"))
    captured.run("kind", "key", work, torch.ones(4, device="cuda"))
    assert len(calls) == PATIENCE + 3


def test_the_graph_that_was_used_longest_ago_gives_way() -> None:
    captured, calls = Captured(torch.device("cuda")), []

    def work(batch: Batch) -> Tensor:
        calls.append(1)
        return batch + 1

    x = torch.zeros(2, device="cuda")
    for key in range(MOST + 1):
        for _ in range(PATIENCE_WITH_CHANGES + 1):
            captured.run("kind", key, work, x)
    calls.clear()
    captured.run("kind", MOST, work, x)
    assert not calls
    captured.run("kind", 0, work, x)
    assert calls


def test_a_failed_capture_says_why_once_and_goes_on() -> None:
    captured = Captured(torch.device("cuda"))

    def waits(batch: Batch) -> Tensor:
        return batch * float(batch.sum())

    x = torch.ones(2, device="cuda")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(3 * PATIENCE):
            assert captured.run("kind", "key", waits, x).tolist() == [2, 2]
    assert [str(w.message).partition(":")[0] for w in caught] == [
        "Steps run kernel by kernel, for they could not be captured as a CUDA graph"
    ]
    assert torch.ones(2, device="cuda").sum().item() == 2


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_channel_products(layout: torch.memory_format) -> None:
    left, right = torch.randn(2, 3, 5, 4, 6, dtype=torch.float64)
    value = channel_products(*(t.cuda().contiguous(memory_format=layout) for t in (left, right)))
    torch.testing.assert_close(value.cpu(), (left * right).sum(dim=(0, 2, 3)))
