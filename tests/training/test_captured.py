"""Work that repeats itself: run as it is on a CPU, replayed to the same bits on a GPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nasp.domains.images.task import ImageClassification
from nasp.spaces import NetworkConfig, find_space
from nasp.supernet.choice import Choice
from nasp.supernet.probe import taps
from nasp.supernet.supernet import Supernet
from nasp.training.captured import PATIENCE, PATIENCE_WITH_CHANGES, Captured, Work, is_plain
from nasp.training.device import make_fabric
from nasp.training.learner import Learner
from nasp.training.supervised import Supervised
from nasp.training.task import Batch, Task

SIZE = NetworkConfig(channels=4, cells=3, image_size=16)


def doubled(batch: Batch) -> tuple[Tensor, list[None]]:
    return batch[0] * 2, [None]


def test_on_a_cpu_work_runs_as_it_is() -> None:
    captured = Captured(torch.device("cpu"))
    x = torch.ones(2)
    for _ in range(PATIENCE + 2):
        assert captured.run("kind", "key", doubled, (x,))[0].tolist() == [2, 2]


class Replays:
    """Stands for a graph."""

    def replay(self, batch: Batch) -> str:
        return "replayed"


Make = Callable[[], Captured]


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Make:
    """Return what makes a `Captured` whose captures always succeed."""
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda device: torch.zeros(0))

    def made() -> Captured:
        captured = Captured(torch.device("cpu"))

        def capture(key: Any, work: Work, batch: Batch) -> Replays:
            return captured._graphs.setdefault(key, Replays())  # type: ignore[arg-type,return-value]

        monkeypatch.setattr(captured, "_is_on", True)
        monkeypatch.setattr(captured, "_capture", capture)
        return captured

    return made


def done(captured: Captured, key: object, count: int, in_pieces: bool = False) -> list[str]:
    pieces = (lambda form, batch: "in pieces") if in_pieces else None
    batch = (torch.ones(2),)
    return [captured.run("kind", key, lambda _: "ran", batch, pieces) for _ in range(count)]


@pytest.mark.parametrize(("before", "patience"), [(0, PATIENCE), (9, PATIENCE_WITH_CHANGES)])
def test_what_has_changed_often_is_captured_after_a_long_rest(
    before: int, patience: int, make: Make
) -> None:
    captured = make()
    for key in range(before):
        assert done(captured, key, 1) == ["ran"]
    assert done(captured, "still", patience + 2) == ["ran"] * patience + ["replayed"] * 2


def test_nothing_is_captured_that_has_not_run_in_this_process(make: Make) -> None:
    # Libraries look for their fastest kernels when work first runs, and cannot in a capture.
    first, resumed = make(), make()
    assert done(first, "still", PATIENCE + 1) == ["ran"] * PATIENCE + ["replayed"]
    resumed.load_state_dict(first.state_dict())
    assert done(resumed, "still", 3) == ["ran", "replayed", "replayed"]
    restless = make()
    for key in range(9):
        done(restless, key, 1, in_pieces=True)
    long = ["in pieces"] * PATIENCE_WITH_CHANGES + ["ran", "replayed"]
    assert done(restless, "still", len(long), in_pieces=True) == long


def test_what_is_plain() -> None:
    assert is_plain(find_space("darts").supernet(SIZE).modules())

    class Own(nn.Linear):
        """A user's own layer, which may depend on anything."""

    assert is_plain(nn.Sequential(nn.Linear(2, 2)).modules())
    assert not is_plain(nn.Sequential(Own(2, 2)).modules())
    heard = nn.Linear(2, 2)
    heard.register_forward_hook(lambda *_: None)
    assert not is_plain(heard.modules())


def learner(supernet: Supernet, task: Task, device: str = "cpu", capture: bool = True) -> Learner:
    def sgd(weights: Any) -> torch.optim.Optimizer:
        return torch.optim.SGD(weights, lr=0.05, momentum=0.9)

    fabric = make_fabric(device, "32-true")
    return Learner(fabric, supernet, task, supernet.weights(), sgd, capture=capture)


def test_only_what_nobody_else_can_change_has_a_key() -> None:
    space = Supernet(find_space("nasbench201").supernet(SIZE), "nasbench201")
    path = space.random_path()
    known = learner(space, ImageClassification(10))
    space.single(path)
    assert known.run_key == ("single", path, True)
    space.eval()
    assert known.run_key == ("single", path, False)
    space.mixture(space.alphas)
    assert known.run_key is None
    space.single(path)
    assert learner(space, Supervised()).run_key is None

    class Own(nn.Linear):
        """A user's own layer."""

    own = Supernet(nn.Sequential(Choice({"a": Own(2, 2), "b": nn.Identity()})))
    own.single((0,))
    assert learner(own, ImageClassification(2)).run_key is None


def test_a_capture_that_failed_half_way_leaves_nothing_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Fails:
        """Runs work to its products, where a capture would fail, and then as it is."""

        def run(self, _kind: object, _key: object, work: Work, batch: Batch, _: object) -> Any:
            with monkeypatch.context() as patch:
                patch.setattr(taps, "inner_products", failing)
                with pytest.raises(RuntimeError, match="capturing"):
                    work(batch)
            return work(batch)

    def failing(_reads: object) -> None:
        raise RuntimeError("operation not permitted when stream is capturing")

    batch = torch.randn(4, 3, 16, 16), torch.randint(10, (4,))
    found = []
    for fails in (False, True):
        torch.manual_seed(0)
        supernet = Supernet(find_space("nasbench201").supernet(SIZE), "nasbench201")
        moving = learner(supernet, ImageClassification(10))
        if fails:
            moving._captured = Fails()  # type: ignore[assignment]
        probe = supernet.probe(supernet.random_path(torch.Generator().manual_seed(0)))
        moving.gradients(batch, probe)
        found.append(probe.gradients())
    once, twice = found
    assert any(gradient.any() for gradient in once.values())
    for name, gradient in once.items():
        torch.testing.assert_close(twice[name], gradient)
