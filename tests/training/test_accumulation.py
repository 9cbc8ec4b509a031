"""accumulate=2 gives what accumulate=1 gives, or is refused in one sentence."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import nasp
from nasp.errors import UsageError
from nasp.training.batches import Part
from nasp.training.divisors import Divisor, divisor, ignored_label, is_known

CLASSES, IGNORED = 4, 255
WEIGHT = torch.tensor([0.2, 3.0, 1.0, 0.5], dtype=torch.float64)


@pytest.fixture(autouse=True)
def _doubles() -> Iterator[None]:
    """Let Fabric's 64-true give doubles: it converts outputs to the default type."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def pixels(count: int = 4, seed: int = 0) -> list[tuple[Tensor, Tensor]]:
    """Return images whose labels are ignored in half of the batch, and here and there."""
    make = torch.Generator().manual_seed(seed)
    data = []
    for _ in range(count):
        x = torch.randn(4, 3, 6, 6, generator=make, dtype=torch.float64)
        y = torch.randint(CLASSES, (4, 6, 6), generator=make)
        y[:2] = IGNORED
        y[2, :3] = IGNORED
        data.append((x, y))
    return data


def network() -> nn.Module:
    torch.manual_seed(3)
    choice = nasp.Choice({"a": nn.Conv2d(6, 6, 1), "b": nn.Identity()})
    return nn.Sequential(nn.Conv2d(3, 6, 1), choice, nn.Conv2d(6, CLASSES, 1)).double()


def searched(task: Any, parts: int, data: Any = None, **settings: Any) -> nasp.Found:
    given = data or pixels()
    chosen = {"epochs": 2, "precision": "64-true", "accumulate": parts, **settings}
    half = len(given) // 2
    return nasp.search(network(), given[:half], given[half:], task=task, **chosen)


def assert_alike(task: Callable[[], Any], data: Any = None) -> None:
    whole = searched(task(), 1, data)
    for parts in (2, 3, 4):
        other = searched(task(), parts, data)
        for line, expected in zip(other.metrics, whole.metrics, strict=True):
            for name in ("train_loss", "val_loss", "train_accuracy"):
                if name in expected:
                    assert line[name] == pytest.approx(expected[name], rel=1e-9), (parts, name)
        states = whole.supernet.state_dict(), other.supernet.state_dict()
        for name in states[0]:
            torch.testing.assert_close(states[1][name], states[0][name], rtol=1e-9, atol=1e-12)


LOSSES: dict[str, Callable[[], Any]] = {
    "ignored": lambda: nn.CrossEntropyLoss(ignore_index=IGNORED),
    "weighted": lambda: nn.CrossEntropyLoss(weight=WEIGHT, ignore_index=IGNORED),
    "smoothed": lambda: nn.CrossEntropyLoss(
        weight=WEIGHT, ignore_index=IGNORED, label_smoothing=0.1
    ),
    "function": lambda: partial(F.cross_entropy, ignore_index=IGNORED, weight=WEIGHT),
    "sum": lambda: nn.CrossEntropyLoss(ignore_index=IGNORED, reduction="sum"),
}


@pytest.mark.parametrize("loss", LOSSES)
def test_ignored_and_weighted_labels(loss: str) -> None:
    assert_alike(LOSSES[loss])


def test_the_default_loss_ignores_minus_100() -> None:
    assert_alike(lambda: None, [(x, y.masked_fill(y == IGNORED, -100)) for x, y in pixels()])


def test_probabilities_and_regressions_count_by_examples() -> None:
    soft = [(x, torch.rand(4, CLASSES, 6, 6).double().softmax(1)) for x, _ in pixels()]
    assert_alike(lambda: nn.CrossEntropyLoss(weight=WEIGHT), soft)
    for loss in (nn.MSELoss(), nn.HuberLoss(reduction="sum"), F.l1_loss, nn.BCEWithLogitsLoss()):
        assert_alike(lambda loss=loss: loss, soft)


def masked(output: Tensor, target: Tensor) -> Tensor:
    """Return a mean over what is not ignored, by a function that nobody knows."""
    return F.cross_entropy(output, target, ignore_index=IGNORED)


class Contrast:
    """A task whose loss compares all pairs of a batch."""

    def loss(self, network: nn.Module, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
        features = F.normalize(network(batch[0]).flatten(1))
        scores = features @ features.T
        return F.cross_entropy(10 * scores, torch.arange(len(scores))), {}


@pytest.mark.parametrize("task", [masked, Contrast(), nasp.Supervised(masked)])
def test_what_is_no_mean_over_examples_is_refused(task: Any) -> None:
    with pytest.raises(UsageError, match=r"accumulate=2 would change the loss: of the first batch"):
        searched(task, 2)
    assert searched(task, 1).metrics[0]["train_loss"] > 0
    with pytest.raises(UsageError, match="accumulate=2 would change the loss"):
        nasp.train(network(), pixels(), task=task, accumulate=2, precision="64-true")


def test_a_function_that_is_a_mean_is_taken() -> None:
    soft = [(x, x.mean(1, keepdim=True)) for x, _ in pixels()]
    assert_alike(lambda: lambda output, target: (output - target).square().mean(), soft)


def test_a_task_may_say_each_parts_share() -> None:
    class Masked:
        def loss(self, network: nn.Module, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
            return masked(network(batch[0]), batch[1]), {}

        def split(self, batch: Any, parts: int) -> list[tuple[Any, float]]:
            x, y = batch
            counts = [int((each != IGNORED).sum()) for each in y.chunk(parts)]
            split = zip(x.chunk(parts), y.chunk(parts), counts, strict=True)
            return [((a, b), count / sum(counts)) for a, b, count in split if count]

    assert_alike(Masked)


def test_a_loss_that_draws_cannot_be_asked() -> None:
    def noisy(output: Tensor, target: Tensor) -> Tensor:
        return (output + torch.randn_like(output)).square().mean()

    assert searched(noisy, 2).metrics[0]["train_loss"] > 0


def test_the_check_leaves_everything_as_it_was() -> None:
    def plain(output: Tensor, target: Tensor) -> Tensor:
        return output.square().mean(dim=(1, 2, 3)).mean()

    # A task with `evaluate` is not asked; the numbers are the same.
    class Trusted(nasp.Supervised):
        def evaluate(self, network: Any, loader: Any, device: Any) -> dict[str, float]:
            raise NotImplementedError

    assert searched(plain, 2).metrics == searched(Trusted(plain), 2).metrics


def test_the_loss_of_a_whole_loader_divides_as_that_of_one_batch() -> None:
    data = pixels(3)
    data[1][1][:] = IGNORED  # a batch without a label
    loss = nn.CrossEntropyLoss(weight=WEIGHT, ignore_index=IGNORED)
    settings: dict[str, Any] = {"epochs": 1, "precision": "64-true"}
    plain = nn.Sequential(nn.Conv2d(3, CLASSES, 1)).double()
    trained = nasp.train(plain, pixels(), data, task=loss, **settings)
    output = torch.cat([trained.network(x).detach() for x, _ in data])
    target = torch.cat([y for _, y in data])
    assert trained.last["val_loss"] == pytest.approx(float(loss(output, target)))
    right = (output.argmax(1) == target).sum() / (target != IGNORED).sum()
    assert trained.last["val_accuracy"] == pytest.approx(float(right))


def test_divisors() -> None:
    y = torch.tensor([0, 1, 1, IGNORED])
    plain = nn.CrossEntropyLoss(ignore_index=IGNORED)
    assert divisor(plain, y) == Divisor(3.0, 3.0)
    assert divisor(nn.NLLLoss(WEIGHT, ignore_index=IGNORED), y) == Divisor(6.2, 3.0)
    assert divisor(partial(F.nll_loss, ignore_index=1), y) == Divisor(2.0, 2.0)
    assert divisor(nn.CrossEntropyLoss(reduction="sum"), y) == Divisor(None, 4.0)
    assert divisor(plain, torch.rand(4, 3)) is None
    assert divisor(nn.MSELoss(), torch.rand(4, 3)) is None
    assert ignored_label(F.cross_entropy) == -100
    assert ignored_label(plain) == IGNORED
    assert ignored_label(nn.MSELoss()) is None

    class Own(nn.CrossEntropyLoss):
        pass

    assert [is_known(loss) for loss in (plain, F.l1_loss, Own(), masked)] == [
        True,
        True,
        False,
        False,
    ]


def test_accuracy_is_of_the_labels_that_count() -> None:
    output = torch.eye(3)[[0, 0, 2, 1]]
    batch = (output, torch.tensor([0, 1, IGNORED, 1]))
    task = nasp.Supervised(nn.CrossEntropyLoss(ignore_index=IGNORED))
    _, metrics = task.loss(nn.Identity(), batch)
    assert metrics["accuracy"] == pytest.approx(2 / 3)
    parts = task.split(batch, 4)
    assert len(parts) == 3
    assert all(isinstance(part, Part) and part.share == pytest.approx(1 / 3) for part in parts)
