"""The LSTM to compare with: torch's own, its dropouts, its size."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nasp.domains.text.baseline import LSTMLayer, lstm_network
from nasp.spaces.language_model import Dropouts

NONE = Dropouts(output=0, hidden=0, input=0, embedding=0)


def test_without_dropout_it_is_torchs_lstm_and_its_state_goes_on() -> None:
    torch.manual_seed(0)
    layer = LSTMLayer(3, NONE)
    x = torch.randn(6, 2, 3)
    expected, (hidden, cell) = layer.lstm(x)
    state = torch.zeros(2, layer.state_size)
    first, state = layer(x[:4], state)
    second, state = layer(x[4:], state)
    torch.testing.assert_close(torch.cat([first, second]), expected)
    torch.testing.assert_close(state, torch.cat([hidden[0], cell[0]], dim=1))


def test_recurrent_weights_are_dropped_alike_at_all_steps_and_learn() -> None:
    torch.manual_seed(0)
    layer = LSTMLayer(3, Dropouts(output=0, hidden=0.5, input=0, embedding=0))
    x, state = torch.randn(5, 2, 3), torch.zeros(2, 6)
    outputs, _ = layer(x, state)
    # The first step multiplies the recurrent weights with a state of zeros.
    torch.testing.assert_close(outputs[0], layer.lstm(x)[0][0])
    assert not torch.allclose(outputs[1], layer.lstm(x)[0][1])
    outputs.sum().backward()
    gradient = layer.lstm.get_parameter("weight_hh_l0").grad
    assert gradient is not None
    dropped = (gradient == 0).float().mean()
    assert 0.2 < dropped < 0.8
    layer.eval()
    torch.testing.assert_close(layer(x, state)[0], layer.lstm(x)[0])


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("parameters", [500, 10_000, 1_001_215])
def test_its_size_is_the_closest_there_is(layers: int, parameters: int) -> None:
    def size(network: nn.Module) -> int:
        return sum(parameter.numel() for parameter in network.parameters())

    network = lstm_network(40, layers, NONE, parameters)
    off = abs(size(network) - parameters)
    width = network.decoder.in_features
    for other in (max(width - 1, 1), width + 1):
        count = 40 * (other + 1) + layers * 8 * (other**2 + other)
        assert abs(count - parameters) >= off
