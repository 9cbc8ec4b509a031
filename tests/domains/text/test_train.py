"""The recipe of AWD-LSTM: penalties on activations, and when and what is averaged."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from nasp.domains.text.loader import TextLoader
from nasp.domains.text.task import LanguageModelling
from nasp.domains.text.train import Averaging, TextTrainConfig, WithActivationPenalties
from nasp.errors import UsageError
from nasp.spaces import LanguageConfig, find_space
from nasp.spaces.language_model import Dropouts, LanguageModel
from nasp.training.train import train

CELL = (
    "Genotype(recurrent=[('sigmoid', 0), ('relu', 1), ('relu', 1), ('identity', 1), ('tanh', 2),"
    " ('sigmoid', 5), ('tanh', 3), ('relu', 5)], concat=range(1, 9))"
)
TASK = LanguageModelling(bptt=5)


def model(output: float = 0.0) -> LanguageModel:
    torch.manual_seed(0)
    space = find_space("recurrent")
    dropouts = Dropouts(output=output, hidden=0, input=0, embedding=0)
    size = LanguageConfig(vocabulary=6, channels=4, dropouts=dropouts)
    network: LanguageModel = space.network(space.parse(CELL), size)
    return network


def loader(training: bool = True) -> TextLoader:
    tokens = torch.randint(6, (101,), generator=torch.Generator().manual_seed(1 + training))
    return TextLoader(tokens, batch_size=2, bptt=5, state_size=4, training=training)


def test_penalties_are_the_papers_means() -> None:
    network = model(output=0.5)
    batch = next(iter(loader()))
    seen: list[tuple[Tensor, Tensor]] = []
    network.output_dropout.register_forward_hook(
        lambda _, args, dropped: seen.append((args[0], dropped))
    )
    penalised = WithActivationPenalties(TASK, network, activation=2.0, slowness=3.0)
    torch.manual_seed(5)
    with_penalties, _ = penalised.loss(network, batch)
    torch.manual_seed(5)
    plain, _ = TASK.loss(network, batch)
    raw, dropped = seen[0]
    assert not torch.equal(raw, dropped)
    expected = 2.0 * (dropped**2).mean() + 3.0 * ((raw[1:] - raw[:-1]) ** 2).mean()
    torch.testing.assert_close(with_penalties - plain, expected)
    network.eval()
    assert torch.equal(penalised.loss(network, batch)[0], TASK.loss(network, batch)[0])


def planned(
    losses: Sequence[float], patience: int
) -> tuple[Averaging, list[bool], list[dict[str, Tensor]], LanguageModel]:
    """Return a plan that was told these losses, a training step before each of them."""
    network = model()
    config = TextTrainConfig(device="cpu", lr=1.0, patience=patience, weight_decay=0.0)
    learner = config.learner(network, TASK, list(network.parameters()))
    plan = config.course(learner, network)
    averaged, weights = [], []
    batches = iter(loader())
    for loss in losses:
        learner.weight_step(next(batches))
        weights.append(copy.deepcopy(network.state_dict()))
        averaged.append(plan.end_epoch({"loss": loss})["averaged"])
    return plan, averaged, weights, network


@pytest.mark.parametrize(
    ("losses", "patience", "begins"),
    [
        ([4, 3, 2, 1], 1, None),
        ([4, 3, 3.5, 3], 1, None),  # 3 stands beside 3, and 3.5 beside 4: its last is left out
        ([4, 3, 3.5, 3.2, 3], 1, 4),  # 3.2 is above 3, which is an epoch older than the last
        ([4, 3, 3.5, 3.2, 3], 2, None),
        ([4, 3, 3.5, 3.2, 3.1, 3], 2, 5),
    ],
)
def test_averaging_begins_once_the_loss_has_stopped_falling(
    losses: Sequence[float], patience: int, begins: int | None
) -> None:
    _, averaged, _, _ = planned(losses, patience)
    expected = [begins is not None and epoch >= begins for epoch in range(len(losses))]
    assert averaged == expected


def test_what_is_kept_is_the_mean_of_the_weights_since_then() -> None:
    plan, averaged, weights, network = planned([4, 5, 6, 1, 1, 1, 1], 1)
    assert averaged == [False] * 3 + [True] * 4
    kept = plan.kept()
    assert kept is not network
    for name, tensor in kept.state_dict().items():
        # torch's ASGD begins its mean with the second step after it is told to.
        mean = torch.stack([weights[step][name] for step in (4, 5, 6)]).mean(dim=0)
        torch.testing.assert_close(tensor, mean)
    assert plan.measurable()(torch.zeros(1, 2, dtype=torch.long), torch.zeros(1, 4))[0].shape == (
        1, 2, 6
    )  # fmt: skip


def test_before_that_it_is_the_network_itself() -> None:
    plan, _, _, network = planned([4, 3], 1)
    assert plan.kept() is network


def test_a_training_averages_and_keeps_the_average() -> None:
    config = TextTrainConfig(device="cpu", epochs=8, lr=20.0, patience=1, slowness=0)
    trained = train(model(), loader(), loader(training=False), TASK, config)
    averaged = [line["averaged"] for line in trained.metrics]
    assert averaged[0] is False
    assert averaged[-1] is True
    assert averaged == sorted(averaged)
    measured = TASK.evaluate(trained.network, loader(training=False), torch.device("cpu"))
    assert measured["loss"] == trained.last["valid_loss"]


def test_there_is_no_auxiliary_head() -> None:
    with pytest.raises(UsageError, match="no auxiliary head"):
        TextTrainConfig().objective(model(), TASK, ("cells.1", nn.Identity()))
