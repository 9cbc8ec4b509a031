"""What every test shares: one thread, one seed, hypothesis without a clock; on which device.

Tests without the marker `cuda` see no GPU, nor do the commands they start: they have the same
bits on every machine. Those with it take their device from the fixture `device`, a GPU, and are
skipped where there is none; NASP_TEST_DEVICE=cpu runs them on a CPU all the same, as a rehearsal.
"""

from __future__ import annotations

import gc
import os
import random
import sys
from collections.abc import Iterator
from types import ModuleType

import pytest
import torch
from hypothesis import register_random, settings

from tests.forks import Server

gc.disable()  # until all tests are imported

DEVICE = os.environ.get("NASP_TEST_DEVICE", "cuda")
VISIBLE = "CUDA_VISIBLE_DEVICES"
OF_MACHINE = "NASP_TEST_VISIBLE"
"""What that was before the GPU was hidden: workers of xdist inherit the environment."""
SHOWN = os.environ.setdefault(OF_MACHINE, os.environ.get(VISIBLE, ALL := "all"))
if SHOWN == ALL:
    os.environ.pop(VISIBLE, None)
else:
    os.environ[VISIBLE] = SHOWN
HAS_GPU = torch.cuda.is_available()
if HAS_GPU:
    torch.cuda.init()  # before the GPU is hidden: the driver looks for it once
GPUS = torch.cuda.device_count()  # and torch, once there is a driver, remembers what it found
# Here rather than in a fixture: those of a module or a session come before a test's own.
os.environ[VISIBLE] = ""  # for the commands that tests start
torch.cuda.is_available = lambda: False
torch.cuda.device_count = lambda: 0

if not HAS_GPU:  # else each torch.manual_seed notes its traceback three times, which takes 1 ms
    for each in (torch.cuda, torch.xpu, torch.mtia):
        each.manual_seed_all = lambda seed: None

# The commands that tests start keep what Python compiles of torch: 30 s of a processor, or 9.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
os.environ["COLUMNS"] = "80"  # how help is set, however wide the terminal of the tests is
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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs a GPU where there is none."""
    if HAS_GPU or DEVICE == "cpu":
        return
    for item in items:
        if item.get_closest_marker("cuda") is not None:
            item.add_marker(pytest.mark.skip(reason="needs a CUDA GPU, and there is none"))


def pytest_collection_finish() -> None:
    """Leave all that was imported out of the garbage collector's rounds, which else take 0.3 s."""
    gc.freeze()
    gc.enable()
    gc.set_threshold(20_000)  # as many rounds as by default take 8 % of the time


@pytest.fixture
def device() -> str:
    """Return the name of the device that tests marked `cuda` are about."""
    return DEVICE


@pytest.fixture(autouse=True)
def _shown_gpu(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Show the GPU to tests that are about it."""
    if request.node.get_closest_marker("cuda") is None:
        return
    monkeypatch.setattr(torch.cuda, "is_available", lambda: HAS_GPU)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: GPUS)
    if SHOWN == ALL:
        monkeypatch.delenv(VISIBLE)
    else:
        monkeypatch.setenv(VISIBLE, SHOWN)


@pytest.fixture(autouse=True)
def _seed() -> None:
    """Start every test from the same global random state."""
    random.seed(0)
    torch.manual_seed(0)


@pytest.fixture
def rng() -> torch.Generator:
    """Return a generator of the test's own, for draws that global state must not touch."""
    return torch.Generator().manual_seed(0)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Return what starts commands at once."""
    server = Server(tmp_path_factory.mktemp("server"))
    yield server
    server.close()


@pytest.fixture
def importable(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let exported files import the classes of the test's own file."""
    own = request.module
    module = sys.modules.get(own.__name__) or ModuleType(own.__name__)
    for value in list(vars(own).values()):
        if isinstance(value, type) and value.__module__ == own.__name__:
            monkeypatch.setattr(module, value.__name__, value, raising=False)
    monkeypatch.setitem(sys.modules, own.__name__, module)
