"""What every test shares: one thread, one seed, hypothesis without a clock."""

from __future__ import annotations

import os
import random

import pytest
import torch
from hypothesis import register_random, settings

torch.set_num_threads(1)
os.environ.setdefault("OMP_NUM_THREADS", "1")  # for the commands that tests start

settings.register_profile("nasp", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "nasp")


class TorchRandom:
    """Lets hypothesis start every example from one torch seed, so that failures come again."""

    seed = staticmethod(torch.manual_seed)
    getstate = staticmethod(torch.get_rng_state)
    setstate = staticmethod(torch.set_rng_state)


TORCH_RANDOM = TorchRandom()  # hypothesis keeps a weak reference
register_random(TORCH_RANDOM)


@pytest.fixture(autouse=True)
def _seed() -> None:
    """Start every test from the same global random state."""
    random.seed(0)
    torch.manual_seed(0)


@pytest.fixture
def rng() -> torch.Generator:
    """Return a generator of the test's own, for draws that global state must not touch."""
    return torch.Generator().manual_seed(0)
