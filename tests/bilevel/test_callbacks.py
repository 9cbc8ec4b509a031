"""What watches a search from Python: callbacks, progress, metrics beside the loss, more epochs."""

from __future__ import annotations

import os
import re
import time
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchmetrics.classification import MulticlassF1Score

import nasp
from nasp.errors import UsageError
from nasp.runs.interruption import Interrupted
from nasp.training.events import EpochEnded, Event, Started, Stepped

EPOCHS, STEPS = 4, 3


def batches(seed: int) -> list[tuple[Tensor, Tensor]]:
    make = torch.Generator().manual_seed(seed)
    return [
        (torch.randn(8, 5, generator=make), torch.randint(3, (8,), generator=make))
        for _ in range(STEPS)
    ]


def network() -> nn.Module:
    torch.manual_seed(1)
    choice = nasp.Choice({"linear": nn.Linear(5, 5), "skip": nn.Identity()})
    return nn.Sequential(nn.BatchNorm1d(5), choice, nn.Linear(5, 3))


def search(**settings: Any) -> nasp.Found:
    return nasp.search(network(), batches(0), batches(1), **{"epochs": EPOCHS, **settings})


def same(one: nasp.Found, other: nasp.Found) -> bool:
    states = one.supernet.state_dict(), other.supernet.state_dict()
    equal = all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    return equal and one.metrics == other.metrics and one.architecture == other.architecture


class StopAt:
    """Stops at a step."""

    def __init__(self, epoch: int, step: int) -> None:
        self.at = epoch, step

    def __call__(self, event: Event) -> bool:
        return isinstance(event, Stepped) and (event.epoch, event.step) == self.at


@pytest.mark.parametrize("at", [(1, 1), (2, 2), (3, 3)])
@pytest.mark.parametrize("select", ["none", "train"])
def test_a_callback_that_stops_still_returns_what_was_found(
    at: tuple[int, int], select: Any, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {"select": select, "selection": {"epochs": 2}}
    found = search(callbacks=[StopAt(*at)], run=tmp_path / "run", **settings)
    assert [line["epoch"] for line in found.metrics] == list(range(1, at[0] + 1))
    assert found.build()(torch.randn(4, 5)).shape == (4, 3)
    assert nasp.Architecture.load(tmp_path / "run" / "architecture.json") == found.architecture
    # The run is over: the same call, with the callback or without, only reads it.
    for callbacks in ([], [StopAt(*at)]):
        assert same(search(callbacks=callbacks, run=tmp_path / "run", **settings), found)


def test_an_observer_cannot_stop_by_chance() -> None:
    assert len(search(observe=lambda _: True).metrics) == EPOCHS


def test_early_stopping_waits_for_a_metric_and_resumes(tmp_path: Path) -> None:
    def stopping() -> Any:
        return nasp.callbacks.EarlyStopping("val_accuracy", patience=2, higher_is_better=True)

    def searched(run: str, kill: tuple[int, int] | None = None) -> nasp.Found:
        def observe(event: Event) -> None:
            if isinstance(event, Stepped) and (event.epoch, event.step) == kill:
                os.kill(os.getpid(), 15)

        settings: dict[str, Any] = {"epochs": 40, "lr": 1e-6, "observe": observe}
        return search(callbacks=[stopping()], run=tmp_path / run, **settings)

    whole = searched("whole")
    figures = [line.get("val_accuracy", -1.0) for line in whole.metrics]  # a warm-up has none
    best = max(range(len(figures)), key=lambda epoch: figures[epoch])
    assert len(figures) == best + 3 < 40
    with pytest.raises(Interrupted):
        searched("run", (len(figures), 1))
    assert same(searched("run"), whole)
    with pytest.raises(UsageError, match=r"waits for 'f1', but an epoch has train_loss, "):
        search(callbacks=[nasp.callbacks.EarlyStopping("f1")])


def test_minutes_may_be_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])

    def tick(event: Event) -> None:
        clock[0] += 30.0 * isinstance(event, Stepped)

    found = search(observe=tick, callbacks=[nasp.callbacks.StopAfter(minutes=2.0)])
    assert len(found.metrics) == 2  # after the fourth step, in the second epoch


def test_print_prints_a_line_an_epoch(capsys: pytest.CaptureFixture[str]) -> None:
    search(callbacks=[nasp.callbacks.Print()])
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert len(lines) == EPOCHS
    assert all(re.match(r"epoch \d  train loss \d\.\d+  train accuracy", line) for line in lines)
    assert err == ""


def test_progress_is_for_those_who_look(capsys: pytest.CaptureFixture[str]) -> None:
    search()
    assert capsys.readouterr() == ("", "")
    search(progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert len(re.findall(r"^epoch \d/4  train loss", err, re.M)) == EPOCHS


def test_warnings_are_pythons() -> None:
    free = nn.Sequential(nasp.Choice({"a": nn.Linear(5, 3), "b": nasp.Zero(channels=3)}))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        nasp.search(free, batches(0), batches(1), epochs=1, seed=3)
    assert all(issubclass(each.category, UserWarning) for each in caught)
    assert any("search" in str(each.message).lower() for each in caught)


def test_a_callback_is_called() -> None:
    not_callable: Any = [3]
    with pytest.raises(UsageError, match="A callback is called with each event; 3 cannot be"):
        search(callbacks=not_callable)


def f1(output: Tensor, target: Tensor) -> float:
    return float(MulticlassF1Score(3, average="macro")(output, target))


def test_metrics_are_measured_over_whole_loaders_in_evaluation_mode(tmp_path: Path) -> None:
    metrics = {
        "f1": MulticlassF1Score(3, average="macro"),
        "same": f1,
        "count": lambda o, t: len(o),
    }
    found = search(metrics=metrics, run=tmp_path / "run")
    assert [line["val_count"] for line in found.metrics] == [8 * STEPS] * EPOCHS
    assert [line["val_f1"] for line in found.metrics] == [
        line["val_same"] for line in found.metrics
    ]
    # The last epoch's by hand: BatchNorms by each batch.
    supernet = found.supernet.eval()
    supernet.network[0].train()
    supernet.single(supernet.path(found.architecture))
    with torch.no_grad():
        outputs = [supernet(x) for x, _ in batches(1)]
    expected = f1(torch.cat(outputs), torch.cat([y for _, y in batches(1)]))
    assert found.metrics[-1]["val_f1"] == pytest.approx(expected)
    # They change nothing, and are there whatever the loss.
    plain = search(run=tmp_path / "plain")
    pairs = zip(found.metrics, plain.metrics, strict=True)
    assert all(line[name] == value for line, other in pairs for name, value in other.items())
    other = search(task=nn.CrossEntropyLoss(label_smoothing=0.1), metrics={"f1": f1})
    assert "val_f1" in other.metrics[0]


def test_a_selection_goes_by_the_figure_that_is_named() -> None:
    task = nasp.Supervised(metrics={"f1": f1}, figure=nasp.Figure("f1", higher_is_better=True))
    found = search(task=task, select="train", selection={"epochs": 2})
    assert found.selection is not None
    rows = [contender.rungs[-1] for contender in found.selection.contenders]
    assert all(row["score"] == row["f1"] for row in rows)
    assert [row["score"] for row in rows] == sorted((row["score"] for row in rows), reverse=True)


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        ({"f1": 3}, "The metric 'f1' is a int: give a function of output and target"),
        ({"f1": lambda o, t: o}, "The metric 'f1' gives no number but a Tensor"),
        ({"f1": MulticlassF1Score(3, average="none")}, "gives no number but a Tensor: average"),
    ],
)
def test_metrics_that_cannot_be(metrics: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        search(metrics=metrics)


def test_a_task_returns_its_own_metrics() -> None:
    class Own:
        def loss(self, network: nn.Module, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
            return nasp.Supervised().loss(network, batch)

    with pytest.raises(UsageError, match=r"let Own\.loss return its own"):
        search(task=Own(), metrics={"f1": f1})


def test_a_finished_search_goes_on_for_more_epochs(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"select": "train", "selection": {"epochs": 2}}
    first = search(run=tmp_path / "run", **settings)
    longer = search(run=tmp_path / "run", go_on_to=7, **settings)
    assert longer.metrics[:EPOCHS] == first.metrics
    assert [line["epoch"] for line in longer.metrics] == list(range(1, 8))
    assert [line["lr"] for line in longer.metrics[EPOCHS:]] == pytest.approx([0.001] * 3)
    # Asked again, it is only read; so it is without saying how far.
    for more in ({"go_on_to": 7}, {}):
        again = search(run=tmp_path / "run", **more, **settings)
        assert same(again, longer)
        assert again.selection == longer.selection
    # And stopped on its way, it ends as if it had not been.
    search(run=tmp_path / "other", **settings)

    def kill(event: Event) -> None:
        if isinstance(event, Stepped) and (event.epoch, event.step) == (6, 2):
            os.kill(os.getpid(), 15)

    with pytest.raises(Interrupted):
        search(run=tmp_path / "other", go_on_to=7, observe=kill, **settings)
    resumed = search(run=tmp_path / "other", **settings)
    assert same(resumed, longer)
    assert resumed.selection == longer.selection


def test_only_a_finished_search_goes_on(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="give its folder as run"):
        search(go_on_to=6)
    with pytest.raises(UsageError, match="is not finished"):
        search(run=tmp_path / "new", go_on_to=6)
    search(run=tmp_path / "run")
    with pytest.raises(UsageError, match="is to have 4 epochs already"):
        search(run=tmp_path / "run", go_on_to=3)
    with pytest.raises(UsageError, match="holds a search with other settings"):
        search(run=tmp_path / "run", go_on_to=6, seed=1)


def test_the_winners_trained_weights_are_kept(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"select": "train", "selection": {"epochs": 4}, "lr": 0.1}
    found = search(run=tmp_path / "run", **settings)
    assert found.selection is not None
    trained = found.build("trained").eval()
    with torch.no_grad():
        losses = [float(nn.functional.cross_entropy(trained(x), y)) for x, y in batches(1)]
    best = found.selection.contenders[0].rungs[-1]
    assert sum(losses) / STEPS == pytest.approx(best["loss"])
    again = search(run=tmp_path / "run", **settings)
    states = trained.state_dict(), again.build("trained").state_dict()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    with pytest.raises(UsageError, match="No network was trained alone"):
        search().build("trained")


def test_what_was_found_in_ten_lines() -> None:
    text = repr(search(at_most={"params": "1M"}, select="rerank"))
    lines = text.splitlines()
    assert len(lines) <= 10
    assert all(len(line) <= 120 for line in lines)
    assert "linear" in text or "skip" in text
    assert "val_loss" in text


def test_an_architecture_becomes_a_network_in_any_module(tmp_path: Path) -> None:
    found = search(run=tmp_path / "run")
    folder = tmp_path / "run"
    x = torch.randn(4, 5)
    inherited = found.build().eval()
    inherited[0].load_state_dict(found.supernet.network[0].state_dict())
    files = folder / "architecture.json", folder / "weights.safetensors"
    with pytest.warns(UserWarning, match=r"those of all paths of its search .* give data="):
        built = nasp.build(network(), *files)
    assert torch.equal(built.eval()(x), inherited(x))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        measured = nasp.build(network(), *files, data=found.recalibration.loader)
    state = found.build().state_dict()
    assert all(torch.equal(tensor, state[n]) for n, tensor in measured.state_dict().items())
    fresh = nasp.build(network(), found.architecture)
    assert torch.equal(fresh.eval()(x), found.build("fresh").eval()(x))
    assert not any(type(module).__module__.startswith("nasp") for module in fresh.modules())
    wider = nn.Sequential(network(), nn.Linear(3, 3))
    with pytest.raises(UsageError, match="do not belong together"):
        nasp.build(wider, found.architecture)
    with pytest.raises(UsageError, match="'bias' is of one alone"):
        nasp.build(network(), found.architecture, {**network().state_dict(), "bias": x})


def test_events_come_in_order() -> None:
    seen: list[Event] = []
    search(observe=seen.append)
    assert isinstance(seen[0], Started)
    assert sum(isinstance(event, EpochEnded) for event in seen) == EPOCHS
