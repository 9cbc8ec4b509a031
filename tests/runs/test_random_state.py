"""All global generators go on where they were, also after a checkpoint's round trip."""

import io
import random

import numpy as np
import pytest
import torch

from nasp.runs.random_state import random_states, restore_random_states


def draws() -> list[float]:
    gauss = [random.gauss(0, 1), float(np.random.standard_normal()), float(torch.randn(()))]
    return [*gauss, random.random(), float(np.random.rand()), float(torch.rand(()))]


@pytest.mark.parametrize("before", [0, 1, 700])
def test_round_trip_through_a_checkpoint(before: int) -> None:
    np.random.seed(1)
    for _ in range(before):  # an odd number of normal draws leaves half a pair behind
        draws()
    stream = io.BytesIO()
    torch.save(random_states(), stream)
    expected = [draws() for _ in range(3)]
    random.seed(9)
    np.random.seed(9)
    torch.manual_seed(9)
    assert draws() != expected[0]
    stream.seek(0)
    restore_random_states(torch.load(stream, weights_only=True))
    assert [draws() for _ in range(3)] == expected


def test_a_state_is_a_copy() -> None:
    states = random_states()
    expected = draws()
    restore_random_states(states)
    assert draws() == expected
    restore_random_states(states)
    assert draws() == expected
