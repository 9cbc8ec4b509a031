"""Batches of a text for back-propagation through time, the hidden state carried on."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import Tensor

from nasp.errors import NaspError, UsageError

IGNORED = -100
"""The target of what only fills up the last column: `torch.nn.functional.cross_entropy`'s own."""
SPREAD, SHORT, HALVED = 5.0, 5.0, 0.05
"""Varied lengths: standard deviation, least length, how often the mean is halved (AWD-LSTM)."""


TextBatch = tuple[Tensor, Tensor, Tensor]
"""Tokens ``[B, T]``, the tokens that follow ``[B, T]``, and the batch's memory ``[B, 2, S]``.

``memory[:, 0]`` is the hidden state to begin with; in ``memory[:, 1]`` the first pass over the
batch leaves the one it ends with (`remember`), NaN until then. A target is `IGNORED` where no
token follows.
"""


def remember(memory: Tensor, state: Tensor) -> None:
    """Leave the state ``[B, S]`` that a pass ended with in the batch's memory.

    A second pass over the same batch, as second-order methods make, changes nothing.
    """
    end = memory[:, 1]
    end.copy_(torch.where(end.isnan(), state.detach().to(end.dtype), end))


class TextLoader:
    """Cuts a text into B columns, and yields them piece by piece, from the top to the bottom.

    Where a piece begins, the hidden state is the one that the piece before it ended with; at the
    top it is zero. So the state is the loader's, apart for each loader, and in its `state_dict`.

    Training (the default): `iter` goes on from the state, and the tokens that do not fill a
    column are left out. Evaluation (`training=False`): always all of the text, from the top; every
    token but the first is a target once.

    Args:
        tokens: int64 ``[N]``.
        batch_size: columns.
        bptt: length of a piece; the last one may be shorter.
        state_size: S, values of the hidden state of one column.
        varied: draw the lengths around `bptt`, as AWD-LSTM does, then stretch them together so
            that a pass has as many pieces as without. Training only.
        seed: of the varied lengths.
        training: see above.
        device: where batches are made; the network's, so that the state stays there.

    Raises:
        UsageError: the text is too short for these columns and pieces.
    """

    def __init__(
        self,
        tokens: Tensor,
        *,
        batch_size: int,
        bptt: int,
        state_size: int,
        varied: bool = False,
        seed: int = 0,
        training: bool = True,
        device: torch.device | str = "cpu",
    ) -> None:
        targets = len(tokens) - 1
        columns = batch_size if training else min(batch_size, max(targets, 1))
        # In an evaluation columns overlap by one token, so that no target is lost between them.
        rows = len(tokens) // columns - 1 if training else -(-targets // columns)
        if rows < (bptt if training else 1):
            raise UsageError(
                f"A bptt of {bptt} is longer than the text: its {len(tokens):,} tokens in"
                f" {columns} columns are {max(rows, 0) + 1} each; give a smaller --bptt or"
                " --batch-size."
            )
        if training:
            whole = tokens[: columns * (rows + 1)].view(columns, rows + 1)
            self._tokens, self._target = whole[:, :-1].to(device), whole[:, 1:].to(device)
        else:
            fill = columns * rows - targets
            self._tokens = torch.cat([tokens[:-1], tokens.new_zeros(fill)])
            self._target = torch.cat([tokens[1:], tokens.new_full((fill,), IGNORED)])
            self._tokens = self._tokens.view(columns, rows).to(device)
            self._target = self._target.view(columns, rows).to(device)
        self._bptt = bptt
        self._varied = varied and training
        self._seed = seed
        self._training = training
        self._rows = rows
        self._zero = torch.zeros(columns, state_size, device=device)
        self._memory = torch.stack([self._zero, self._zero], dim=1)
        self._pass = 0
        self._position = 0

    def __len__(self) -> int:
        """Return the batches of a whole pass."""
        return -(-self._rows // self._bptt)

    @property
    def tokens(self) -> int:
        """How many tokens a whole pass has."""
        return self._tokens.numel()

    def __iter__(self) -> Iterator[TextBatch]:
        """Yield the batches from the state to the end of the pass."""
        number, start = (self._pass, self._position) if self._training else (0, 0)
        pieces = list(pairwise(self._cuts(number)))
        for position, (top, bottom) in enumerate(pieces[start:], start):
            begin = self._zero if position == 0 else self._carried()
            self._memory = torch.stack([begin, torch.full_like(begin, torch.nan)], dim=1)
            # Before the yield, as in `Loader`: a generator rests there while a checkpoint is made.
            if self._training:
                closes = position + 1 == len(pieces)
                self._pass, self._position = (number + 1, 0) if closes else (number, position + 1)
            yield self._tokens[:, top:bottom], self._target[:, top:bottom], self._memory

    def state_dict(self) -> dict[str, int | Tensor]:
        """Return pass, position and hidden state of the next batch."""
        return {"pass": self._pass, "position": self._position, "hidden": self._carried()}

    def load_state_dict(self, state: dict[str, int | Tensor]) -> None:
        """Go on from a state of a loader with the same text, columns and lengths.

        Raises:
            NaspError: it is the state of another.
        """
        position, hidden = state["position"], state["hidden"]
        assert isinstance(position, int)
        assert isinstance(hidden, Tensor)
        if not 0 <= position < len(self) or hidden.shape != self._zero.shape:
            raise NaspError(
                f"The saved state is at batch {position} with a hidden state"
                f" {list(hidden.shape)}, but here a pass has {len(self)} batches and the state is"
                f" {list(self._zero.shape)}: resume with the same text and settings."
            )
        self._pass, self._position = int(state["pass"]), position
        hidden = hidden.to(self._zero.device)
        self._memory = torch.stack([hidden, hidden], dim=1)

    def _carried(self) -> Tensor:
        """Return the state after the last batch: that before it, where nobody ran it."""
        begin, end = self._memory.unbind(dim=1)
        return torch.where(end.isnan(), begin, end)

    def _cuts(self, number: int) -> list[int]:
        """Return where pieces of a pass begin, and the end."""
        pieces = len(self)
        if not self._varied:
            return [min(index * self._bptt, self._rows) for index in range(pieces + 1)]
        generator = torch.Generator().manual_seed(self._seed * 1_000_003 + number)
        halved = torch.rand(pieces, generator=generator) < HALVED
        mean = torch.where(halved, self._bptt / 2, float(self._bptt))
        lengths = (mean + SPREAD * torch.randn(pieces, generator=generator)).clamp_min(SHORT)
        ends = lengths.double().cumsum(0)
        cuts = [0, *(ends / ends[-1] * self._rows).round().long().tolist()]
        return list(dict.fromkeys(cuts))
