"""A language model to compare with: LSTM layers, as wide as a parameter count allows."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nasp.domains.width import width_for
from nasp.spaces.language_model import Dropouts, LanguageModel
from nasp.supernet.derive import Plain


class LSTMLayer(Plain, nn.Module):
    """An LSTM with the dropouts of AWD-LSTM.

    The dropout of hidden states is that of the weights that they are multiplied with, one mask
    for all time steps (DropConnect): torch's fused LSTM has no place for another.

    Args:
        width: C, of input and state.
        dropouts: `input` and `hidden` are its own.
    """

    def __init__(self, width: int, dropouts: Dropouts) -> None:
        super().__init__()
        self.state_size = 2 * width
        self.lstm = nn.LSTM(width, width)
        self.input_dropout = nn.Dropout(dropouts.input)
        self.hidden_dropout = nn.Dropout(dropouts.hidden)

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Map ``[T, B, C]`` and a state ``[B, 2C]`` to ``[T, B, C]`` and the state at the end."""
        x = x * self.input_dropout(torch.ones_like(x[:1]))
        hidden, cell = state.unsqueeze(0).chunk(2, dim=2)
        begin = hidden.contiguous(), cell.contiguous()
        kept = self.hidden_dropout(self.lstm.get_parameter("weight_hh_l0"))
        weights = {"weight_hh_l0": kept}
        outputs, end = torch.func.functional_call(self.lstm, weights, (x, begin))
        return outputs, torch.cat([part[0] for part in end], dim=1)


def lstm_network(
    vocabulary: int, layers: int, dropouts: Dropouts, parameters: int
) -> LanguageModel:
    """Return a language model of LSTM layers of about the given size.

    Args:
        vocabulary: number of tokens.
        layers: number of LSTM layers.
        dropouts: probabilities.
        parameters: the width is chosen so that the parameter count comes closest to this.
    """

    def count(width: int) -> int:
        return vocabulary * (width + 1) + layers * (8 * width * width + 8 * width)

    width = width_for(parameters, count)
    lstms = [LSTMLayer(width, dropouts) for _ in range(layers)]
    return LanguageModel(vocabulary, width, lstms, dropouts)
