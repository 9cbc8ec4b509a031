"""A task from any loss function."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nasp.errors import NaspError, UsageError
from nasp.training.supervised import Supervised
from nasp.training.task import Task


class Same(nn.Module):
    """Returns its only input, or what it was made with."""

    def __init__(self, output: Any = None) -> None:
        super().__init__()
        self.output = output

    def forward(self, *inputs: Any) -> Any:
        return inputs[0] if self.output is None else self.output


def test_cross_entropy_and_accuracy_by_default() -> None:
    assert isinstance(Supervised(), Task)
    logits = torch.tensor([[2.0, 1.0, 0.0], [0.0, 3.0, 0.0], [5.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    logits.requires_grad_()
    target = torch.tensor([0, 1, 2, 2])
    loss, metrics = Supervised().loss(Same(), (logits, target))
    assert torch.equal(loss, F.cross_entropy(logits, target))
    assert loss.requires_grad
    assert metrics.keys() == {"accuracy"}
    assert metrics["accuracy"] == 0.75
    assert not metrics["accuracy"].requires_grad


def test_accuracy_of_a_class_a_pixel() -> None:
    logits = torch.zeros(2, 3, 4, 5)
    logits[:, 1] = 1.0
    target = torch.ones(2, 4, 5, dtype=torch.int64)
    target[0] = 2
    _, metrics = Supervised().loss(Same(), [logits, target])
    assert metrics["accuracy"] == 0.5


@pytest.mark.parametrize(
    ("output", "target"),
    [
        (torch.randn(4, 3), torch.rand(4, 3)),
        (torch.randn(4), torch.randint(2, (4,))),
        (torch.randn(4, 3), torch.zeros(4, dtype=torch.int32)),
        ((torch.randn(4, 3),), torch.zeros(4, dtype=torch.int64)),
    ],
)
def test_no_accuracy_where_it_means_nothing(output: Any, target: Tensor) -> None:
    criterion = lambda output, target: torch.tensor(1.0)  # noqa: E731
    loss, metrics = Supervised(criterion).loss(Same(output), (torch.zeros(1), target))
    assert loss == 1.0
    assert metrics == {}


def test_all_inputs_reach_the_network() -> None:
    class Sum(nn.Module):
        def forward(self, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
            return a + 2 * b + 3 * c

    one = torch.ones(2)
    loss, _ = Supervised(F.mse_loss).loss(Sum(), (one, one, one, torch.full((2,), 4.0)))
    assert loss == 4.0


def wordless(output: object, target: object) -> Tensor:
    raise ValueError


@pytest.mark.parametrize(
    ("criterion", "message"),
    [
        (F.cross_entropy, r"output of shape \[4, 3\] and a target of shape \[5\]"),
        (lambda output, target: output + None, r"output of shape \[4, 3\]"),
        (lambda output, target: (output.mean(),), "must be a scalar tensor, but is a tuple"),
        (lambda output, target: 1.0, "must be a scalar tensor, but is a float"),
        (wordless, r"output of shape \[4, 3\] and a target of shape \[5\]: ValueError"),
        (lambda output, target: output, r"must be a scalar tensor, but is of the shape \[4, 3\]"),
    ],
)
def test_a_loss_that_cannot_be_computed(criterion: Any, message: str) -> None:
    batch = (torch.randn(4, 3), torch.zeros(5, dtype=torch.int64))
    with pytest.raises(NaspError, match=message) as caught:
        Supervised(criterion).loss(Same(), batch)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "batch",
    [
        {"x": torch.zeros(1)},
        torch.zeros(2, 2),
        (torch.zeros(1),),
        [],
        7,
    ],
)
def test_a_batch_of_another_kind(batch: Any) -> None:
    with pytest.raises(UsageError, match="The batch is a"):
        Supervised().loss(Same(), batch)
