"""The task of language modelling: loss, perplexity, pace, and the state in a batch's memory."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from nasp.domains.text.loader import TextLoader
from nasp.domains.text.task import LanguageModelling
from nasp.errors import NaspError, UsageError
from nasp.spaces.language_model import Dropouts, LanguageModel
from nasp.spaces.recurrent import RECURRENT, LanguageConfig
from nasp.spaces.sampling import random_architecture

TASK = LanguageModelling(bptt=5)


class Uniform(nn.Module):
    """Knows nothing: every token is as likely as any other."""

    def forward(self, tokens: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        return torch.zeros(*tokens.t().shape, 8).transpose(0, 1), state + 1


def model(dropout: float = 0.0) -> LanguageModel:
    torch.manual_seed(1)
    dropouts = Dropouts(output=dropout, hidden=0, input=dropout, embedding=0)
    config = LanguageConfig(vocabulary=8, channels=6, dropouts=dropouts)
    return RECURRENT.network(random_architecture(RECURRENT, 0), config)


def text(count: int = 200) -> Tensor:
    return torch.randint(8, (count,), generator=torch.Generator().manual_seed(2))


def test_the_loss_is_the_mean_cross_entropy_in_nats() -> None:
    network = model()
    batch = next(iter(TextLoader(text(), batch_size=3, bptt=5, state_size=6)))
    loss, metrics = TASK.loss(network, batch)
    assert metrics == {}
    logits, state = network(batch[0], torch.zeros(3, 6))
    expected = -logits.log_softmax(dim=2).gather(2, batch[1][:, :, None]).mean()
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(batch[2][:, 1], state)
    torch.autograd.backward(loss)  # the memory was written to in between


@pytest.mark.parametrize("columns", [1, 3, 10])
def test_knowing_nothing_has_the_vocabulary_as_perplexity(columns: int) -> None:
    loader = TextLoader(text(), batch_size=columns, bptt=7, state_size=2, training=False)
    measured = TASK.evaluate(Uniform(), loader)
    assert measured["loss"] == pytest.approx(math.log(8))
    assert measured["perplexity"] == pytest.approx(8)
    assert TASK.figure.name in measured
    assert not TASK.figure.higher_is_better


@pytest.mark.parametrize("bptt", [1, 7, 500])
def test_an_evaluation_carries_the_state_and_has_no_dropout(bptt: int) -> None:
    network = model(dropout=0.5)
    tokens = text()
    loader = TextLoader(tokens, batch_size=1, bptt=bptt, state_size=6, training=False)
    measured = TASK.evaluate(network, loader)
    assert network.training
    network.eval()
    logits, _ = network(tokens[None, :-1], torch.zeros(1, 6))
    expected = nn.functional.cross_entropy(logits[0], tokens[1:])
    assert measured["loss"] == pytest.approx(float(expected.detach()), rel=1e-5)


def test_a_loss_without_bounds_has_a_perplexity() -> None:
    class Sure(Uniform):
        def forward(self, tokens: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
            logits, state = super().forward(tokens, state)
            return logits.index_fill(2, torch.tensor(0), 1e9), state

    loader = TextLoader(text(), batch_size=2, bptt=7, state_size=2, training=False)
    assert math.isfinite(TASK.evaluate(Sure(), loader)["perplexity"])


def test_the_pace_is_the_length() -> None:
    lengths = [b[0].shape[1] for b in TextLoader(text(), batch_size=3, bptt=7, state_size=2)]
    paces = [TASK.pace(b) for b in TextLoader(text(), batch_size=3, bptt=7, state_size=2)]
    assert paces == [length / 5 for length in lengths]


def test_nothing_to_evaluate_and_foreign_batches() -> None:
    with pytest.raises(NaspError, match="nothing to evaluate"):
        TASK.evaluate(Uniform(), [])
    with pytest.raises(UsageError, match="A batch of text is"):
        TASK.loss(Uniform(), (torch.zeros(2, 3), torch.zeros(2, 3)))
