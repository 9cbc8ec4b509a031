from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from nasp.domains.images.augment import augmentation, plain
from nasp.domains.images.datasets import load_images
from nasp.domains.images.loader import Loader
from nasp.domains.images.task import ImageClassification
from nasp.errors import NaspError, UsageError


class Fixed(nn.Module):
    """Returns given logits, whatever comes in."""

    def __init__(self, output: object) -> None:
        super().__init__()
        self.output = output

    def forward(self, *inputs: torch.Tensor) -> object:
        return self.output


class Sum(nn.Module):
    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return a + b


x = torch.zeros(4, 1)
target = torch.tensor([0, 1, 2, 7])


def test_loss_and_accuracies():
    logits = torch.randn(4, 8, requires_grad=True)
    with torch.no_grad():
        logits[:2] = F.one_hot(target[:2], 8) * 9.0  # right
        logits[2] = torch.arange(8.0)  # class 2 is sixth
        logits[3] = -torch.tensor([1.0, 2, 3, 9, 9, 9, 9, 4])  # class 7 is fourth
    loss, metrics = ImageClassification(8).loss(Fixed(logits), (x, target))
    torch.testing.assert_close(loss, F.cross_entropy(logits, target))
    loss.backward()
    assert logits.grad is not None
    assert metrics["accuracy"].item() == 0.5
    assert metrics["top5"].item() == 0.75
    assert not any(metric.requires_grad for metric in metrics.values())


def test_smoothing_changes_the_loss():
    logits = torch.randn(4, 8)
    loss, _ = ImageClassification(8, label_smoothing=0.1).loss(Fixed(logits), (x, target))
    torch.testing.assert_close(loss, F.cross_entropy(logits, target, label_smoothing=0.1))


def test_five_classes_have_no_top5():
    _, metrics = ImageClassification(5).loss(Fixed(torch.randn(4, 5)), [x, target % 5])
    assert set(metrics) == {"accuracy"}


def test_several_inputs_go_to_the_network():
    a, b = torch.randn(4, 8), torch.randn(4, 8)
    loss, _ = ImageClassification(8).loss(Sum(), (a, b, target))
    torch.testing.assert_close(loss, F.cross_entropy(a + b, target))


@pytest.mark.parametrize(
    ("output", "answer", "message"),
    [
        (torch.zeros(4, 9), target, r"\[4, 9\].*\[4, 8\]"),
        (torch.zeros(4, 8, 2), target, r"\[4, 8, 2\].*\[4, 8\]"),
        (torch.zeros(3, 8), target, r"\[3, 8\].*\[4, 8\]"),
        ((torch.zeros(4, 8), None), target, r"tuple.*\[4, 8\]"),
        (torch.zeros(4, 8), target + 1, r"1 to 8.*0 to 7"),
        (torch.zeros(4, 8), target - 1, r"-1 to 6.*0 to 7"),
        (torch.zeros(4, 8), target.float(), r"float32.*int64"),
        (torch.zeros(4, 8), target[:, None], r"\[4, 1\].*\[B\]"),
    ],
)
def test_wrong_shapes_say_expected_and_received(output, answer, message):
    with pytest.raises(NaspError, match=message):
        ImageClassification(8).loss(Fixed(output), (x, answer))


@pytest.mark.parametrize("batch", [{"image": x, "label": target}, x, (x,), []])
def test_a_batch_that_is_no_tuple_is_refused(batch):
    with pytest.raises(UsageError, match="yield tuples"):
        ImageClassification(8).loss(Fixed(torch.zeros(4, 8)), batch)


def test_evaluate_counts_images_not_batches():
    logits = torch.randn(10, 8)
    answers = torch.randint(0, 8, (10,))
    batches = [(logits[:7], answers[:7]), (logits[7:], answers[7:])]
    figures = ImageClassification(8, label_smoothing=0.1).evaluate(nn.Identity(), batches)
    assert set(figures) == {"loss", "accuracy", "balanced_accuracy", "top5"}
    assert figures["loss"] == pytest.approx(F.cross_entropy(logits, answers).item())
    right = (logits.argmax(1) == answers).float().mean().item()
    assert figures["accuracy"] == pytest.approx(right)
    top5 = (logits.topk(5).indices == answers[:, None]).any(1).float().mean().item()
    assert figures["top5"] == pytest.approx(top5)


def test_balanced_accuracy_is_the_mean_over_the_classes_that_are_there():
    logits = F.one_hot(torch.tensor([0, 0, 0, 1, 2, 0]), 4).float()
    answers = torch.tensor([0, 0, 0, 0, 2, 2])
    figures = ImageClassification(4).evaluate(nn.Identity(), [(logits, answers)])
    assert figures["accuracy"] == pytest.approx(4 / 6)
    assert figures["balanced_accuracy"] == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert ImageClassification(4, balanced=True).figure.name == "balanced_accuracy"


def test_evaluate_gives_each_module_its_mode_back():
    frozen, dropout = nn.BatchNorm1d(8), nn.Dropout(0.9)
    network = nn.Sequential(frozen, dropout).train()
    frozen.eval()
    batch = (torch.randn(4, 8), target)
    first = ImageClassification(8).evaluate(network, [batch])
    assert first == ImageClassification(8).evaluate(network, [batch])
    assert (network.training, frozen.training, dropout.training) == (True, False, True)
    with pytest.raises(NaspError):
        ImageClassification(8).evaluate(network, [(torch.randn(4, 8), target + 1)])
    assert dropout.training


def test_evaluate_needs_images():
    with pytest.raises(NaspError, match="no images"):
        ImageClassification(8).evaluate(nn.Identity(), [])


def test_digits_can_be_learnt():
    torch.manual_seed(0)
    digits = load_images("digits")
    task = ImageClassification(len(digits.classes))
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimiser = torch.optim.Adam(network.parameters(), lr=0.01)
    loader = Loader(digits.train, augmentation(digits))
    for _ in range(3):
        for batch in loader:
            loss, _ = task.loss(network, batch)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    test = Loader(digits.test, plain(digits), training=False)
    assert task.evaluate(network, test)["accuracy"] > 0.8
