"""Devices by name, and torch's settings while a network computes."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from lightning_fabric.utilities.rank_zero import rank_zero_info

from nasp.errors import UsageError, validated
from nasp.training import device as devices
from nasp.training.device import CUBLAS_WORKSPACE, computing, find_device, make_fabric
from nasp.training.recipe import Recipe, computing_as_set
from tests.forks import Server


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Pretend that there are two GPUs; return which were made current, in order."""
    current: list[int] = []

    class Current:
        def __init__(self, device: torch.device) -> None:
            current.append(device.index)

        def __enter__(self) -> None:
            return

        def __exit__(self, *_: object) -> None:
            current.append(-1)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "device", Current)
    monkeypatch.delenv(CUBLAS_WORKSPACE, raising=False)
    yield current
    assert settings() == NEW


def settings() -> tuple[Any, ...]:
    return (
        torch.get_deterministic_debug_mode(),
        torch.backends.cudnn.benchmark,
        torch.backends.cudnn.deterministic,
        torch.utils.deterministic.fill_uninitialized_memory,
        torch.backends.cudnn.allow_tf32,
        torch.get_float32_matmul_precision(),
    )


NEW = (0, False, False, True, True, "highest")


@pytest.mark.parametrize(
    ("name", "found"),
    [("cuda", "cuda:0"), ("cuda:1", "cuda:1"), ("auto", "cuda:0"), ("cpu", "cpu")],
)
def test_devices_by_name(name: str, found: str, two_gpus: list[int]) -> None:
    assert find_device(name) == torch.device(found)


@pytest.mark.parametrize("name", ["cuda", "cuda:3"])
def test_no_gpu(name: str) -> None:
    said = f"There is no device '{name}': this machine shows torch no CUDA GPU; give one, or cpu."
    with pytest.raises(UsageError) as error:
        make_fabric(name, "32-true")
    assert str(error.value) == said


def test_too_high_a_number(two_gpus: list[int]) -> None:
    with pytest.raises(UsageError, match=r"'cuda:2': this machine has 2 of them, from cuda:0 on;"):
        find_device("cuda:2")


def test_without_a_gpu_auto_is_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert find_device("auto") == torch.device("cpu")
    with pytest.raises(UsageError, match=r"no device 'mps': this machine has no Apple GPU"):
        find_device("mps")


@pytest.mark.parametrize("name", ["abacus", "cuda:", "cuda:x", "cpu:0"])
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(UsageError, match="Setting 'device' of the search: there is no device"):
        validated(Recipe, {"device": name}, "the search")


def test_a_gpu_repeats_itself_and_all_is_put_back(two_gpus: list[int]) -> None:
    with computing("cuda:1", deterministic=True):
        assert settings() == (2, False, True, False, True, "highest")
        assert os.environ[CUBLAS_WORKSPACE] == ":4096:8"
    assert settings() == NEW
    assert two_gpus == [1, -1]


def test_fast(two_gpus: list[int]) -> None:
    with computing("cuda", deterministic=False):
        assert settings() == (0, True, False, True, True, "highest")
        # A later search in this process may have to repeat itself.
        assert os.environ[CUBLAS_WORKSPACE] == ":4096:8"
    assert settings() == NEW


def test_fast_does_not_undo_what_the_caller_set(two_gpus: list[int]) -> None:
    torch.backends.cudnn.deterministic = True
    try:
        with computing("cuda", deterministic=False):
            assert torch.backends.cudnn.deterministic
            assert not torch.backends.cudnn.benchmark
    finally:
        torch.backends.cudnn.deterministic = False


def test_a_cpu_is_left_as_it_is() -> None:
    with computing("cpu", deterministic=True):
        assert settings() == NEW


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        (
            "max_pool3d_with_indices_backward_cuda does not have a deterministic implementation,"
            " but you set 'torch.use_deterministic_algorithms(True)'.",
            "'max_pool3d_with_indices_backward_cuda' has no form on this GPU that repeats itself:"
            " give deterministic=False (--fast), with which two runs of one seed may differ.",
        ),
        (
            "Deterministic behavior was enabled with either `torch.use_deterministic_algorithms"
            "(True)`, but this operation is not deterministic because it uses CuBLAS and you have"
            " CUDA >= 10.2. ... you must set an environment variable CUBLAS_WORKSPACE_CONFIG=:16:8",
            "cuBLAS cannot repeat itself as this process started it: set CUBLAS_WORKSPACE_CONFIG="
            ":4096:8 before Python starts, or give deterministic=False (--fast), with which two"
            " runs of one seed may differ.",
        ),
    ],
)
def test_what_cannot_repeat_itself(message: str, sentence: str, two_gpus: list[int]) -> None:
    with pytest.raises(UsageError) as error, computing("cuda", deterministic=True):
        raise RuntimeError(message)
    assert str(error.value) == sentence


def test_torch_says_it_in_these_words(two_gpus: list[int]) -> None:
    """A CPU has such an operation, too: what torch says of it is what is recognised."""
    x = torch.zeros(3)
    with (
        pytest.raises(UsageError, match=r"^'put_' has no form on this GPU that repeats itself: "),
        computing("cuda", deterministic=True),
    ):
        x.put_(torch.tensor([0, 0]), torch.ones(2))


def test_other_errors_are_left_as_they_are(two_gpus: list[int]) -> None:
    with pytest.raises(RuntimeError, match="out of memory"), computing("cuda", True):
        raise RuntimeError("CUDA out of memory")


def test_a_function_computes_as_its_settings_say(two_gpus: list[int]) -> None:
    @computing_as_set
    def seen(_: int, recipe: Recipe) -> tuple[Any, ...]:
        return settings()

    assert seen(1, Recipe(device="cuda"))[:3] == (2, False, True)
    assert seen(1, recipe=Recipe(device="cuda", deterministic=False))[:3] == (0, True, False)
    assert seen(1, Recipe(device="cpu")) == NEW


def test_fabrics_hints_reach_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    class Kept(logging.Handler):
        """Keeps what Lightning says, wherever else its words would go."""

        def __init__(self) -> None:
            super().__init__()
            self.said: list[str] = []

        def emit(self, record: logging.LogRecord) -> None:
            self.said.append(record.getMessage())

    def fabric(**_: Any) -> str:
        rank_zero_info("You are using a CUDA device that has Tensor Cores.")
        return "fabric"

    log, kept = logging.getLogger("lightning_fabric.utilities.rank_zero"), Kept()
    monkeypatch.setattr(log, "handlers", [kept])
    level = log.level
    log.setLevel(logging.INFO)
    monkeypatch.setattr(devices, "Fabric", fabric)
    assert make_fabric("cpu", "32-true") == "fabric"
    assert not kept.said
    rank_zero_info("Anyone else's words.")
    log.setLevel(level)
    assert kept.said == ["Anyone else's words."]


@pytest.mark.slow
def test_nothing_is_said_on_standard_error(server: Server) -> None:
    make = "from nasp.training.device import make_fabric; make_fabric('auto', '32-true')"
    done = server.run([], make)
    assert (done.code, done.err) == (0, "")


def test_what_is_installed_is_not_read_for_callbacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lightning_fabric.fabric._load_external_callbacks", pytest.fail)
    assert make_fabric("cpu", "32-true").device.type == "cpu"
