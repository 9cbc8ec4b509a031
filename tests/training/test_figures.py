"""What a loader's batches tell of a figure: its mean over the examples, and how sure that is."""

from __future__ import annotations

import math
import statistics

import pytest
import torch
from torch import Tensor, nn

from nasp.bilevel.selection.measure import measure
from nasp.training.figures import figures, figures_and_errors
from nasp.training.recipe import Recipe
from nasp.training.supervised import Supervised
from nasp.training.task import Figure

TASK = Supervised(criterion=nn.CrossEntropyLoss())


def batches(*right: tuple[int, int]) -> list[tuple[Tensor, Tensor]]:
    """Return batches of which so many of so many examples are told right by the identity."""
    outputs = torch.tensor([[1.0, 0.0]])
    return [
        (outputs.expand(count, 2), torch.tensor([0] * told + [1] * (count - told)))
        for told, count in right
    ]


def test_the_standard_error_of_equal_batches_is_the_textbooks() -> None:
    means, errors = figures_and_errors(
        nn.Identity(), batches((1, 4), (3, 4), (4, 4), (2, 4)), TASK, "cpu"
    )
    shares = [0.25, 0.75, 1.0, 0.5]
    assert means["accuracy"] == pytest.approx(statistics.fmean(shares))
    assert errors["accuracy"] == pytest.approx(statistics.stdev(shares) / math.sqrt(4))
    assert means == figures(nn.Identity(), batches((1, 4), (3, 4), (4, 4), (2, 4)), TASK, "cpu")


def test_a_small_batch_counts_less() -> None:
    means, errors = figures_and_errors(nn.Identity(), batches((8, 8), (0, 2)), TASK, "cpu")
    assert means["accuracy"] == pytest.approx(0.8)
    assert errors["accuracy"] == pytest.approx(math.sqrt((8 * 0.2**2 + 2 * 0.8**2) / 10))


def test_what_a_single_batch_cannot_tell_is_left_out() -> None:
    assert figures_and_errors(nn.Identity(), batches((3, 4)), TASK, "cpu")[1] == {}
    metrics = measure(nn.Identity(), batches((3, 4)), TASK, Recipe(device="cpu").fabric())
    assert metrics["score"] == 0.75
    assert "score_error" not in metrics


def test_the_error_of_a_score_is_that_of_the_figure_it_goes_by() -> None:
    four = batches((1, 4), (3, 4), (4, 4), (2, 4))
    fabric = Recipe(device="cpu").fabric()
    errors = figures_and_errors(nn.Identity(), four, TASK, "cpu")[1]
    assert measure(nn.Identity(), four, TASK, fabric)["score_error"] == errors["accuracy"]
    by_loss = Supervised(criterion=nn.CrossEntropyLoss(), figure=Figure("loss", False))
    assert measure(nn.Identity(), four, by_loss, fabric)["score_error"] == errors["loss"]
    of_all = Supervised(
        criterion=nn.CrossEntropyLoss(),
        metrics={"right": lambda output, target: (output.argmax(1) == target).float().mean()},
        figure=Figure("right", higher_is_better=True),
    )
    measured = measure(nn.Identity(), four, of_all, fabric)
    assert measured["score"] == pytest.approx(0.625)
    assert "score_error" not in measured  # a metric over all outputs together
