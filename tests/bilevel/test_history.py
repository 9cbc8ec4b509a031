"""What a history of alphas says of the strategy's average, by its tensors' names."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import nasp
from nasp.bilevel.history import AlphaHistory, averaged
from nasp.strategies.average import SHOWN, Average, MeanGain, MeanPoint
from nasp.supernet.supernet import Supernet


def supernet() -> Supernet:
    return Supernet(nn.Sequential(nasp.Choice({"a": nn.Identity(), "b": nn.Tanh()})))


@pytest.mark.parametrize("kind", [MeanGain, MeanPoint])
def test_the_average_is_kept_beside_the_alphas_and_found_again(kind: type[Average]) -> None:
    net = supernet()
    average = kind(net, 4, 1.0)
    history = AlphaHistory(net, average)
    point = net.one_hot((1,))
    if isinstance(average, MeanGain):
        average.add_step(point, {"0": torch.tensor([[0.5, 0.25]])})
    elif isinstance(average, MeanPoint):
        average.add_step(point)
    history.add()
    words, tensor = averaged(history.tensors())["0"]
    assert words == SHOWN[average.shows]
    assert tensor.shape == (2, 1, 2)
    assert tensor[0].abs().sum() == 0
    expected = [[-0.5, -0.25]] if average.shows == "gains" else [[0.0, 1.0]]
    assert tensor[1].tolist() == expected


def test_without_an_average_there_is_none() -> None:
    assert averaged(AlphaHistory(supernet()).tensors()) == {}
