"""Trackers: what the real packages wrote, read again; none is asked the network."""

from __future__ import annotations

import html
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import nasp
from nasp.bilevel.found import Found
from nasp.errors import UsageError
from nasp.report.tracking import picture_of
from nasp.runs.folder import RunFolder, load_tensors
from nasp.training.tracking import Tracked, Tracker

Call = Callable[..., str]
DATA = [(torch.randn(8, 5), torch.randint(3, (8,))) for _ in range(2)]
OPTIONS = ("--epochs", 2, "--subset", 64, "--no-train", "--json")


def searched(logger: Any, run: Path | None) -> Found:
    torch.manual_seed(0)
    choice = nasp.Choice({"linear": nn.Linear(5, 5), "<tanh>": nn.Tanh()})
    net = nn.Sequential(choice, nn.Linear(5, 3))
    return nasp.search(net, DATA, DATA, epochs=2, run=run, logger=logger)


class Log:
    """A logger that keeps what it is told, of a kind that nobody knows."""

    def __init__(self) -> None:
        self.told: list[tuple[int, dict[str, float]]] = []
        self.settings: dict[str, Any] = {}

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        self.told.append((step, metrics))

    def log_hyperparams(self, settings: dict[str, Any]) -> None:
        self.settings = settings


def test_any_logger_is_told_settings_metrics_and_alphas(tmp_path: Path) -> None:
    log = Log()
    found = searched(log, tmp_path / "run")
    assert log.settings["epochs"] == 2
    assert [step for step, _ in log.told] == [1, 2]
    alphas = load_tensors(tmp_path / "run" / "alphas.safetensors")["0"]
    for (step, told), line in zip(log.told, found.metrics, strict=True):
        assert told["val_loss"] == line["val_loss"]
        assert told["margin_mean"] == line["margin_mean"]
        row = [told["alphas/0/linear"], told["alphas/0/_tanh_"]]
        assert row == pytest.approx(alphas[step][0].tolist())
    trained = Log()
    nasp.train(found, DATA, DATA, epochs=1, logger=trained)
    ((step, told),) = trained.told
    assert step == 1
    assert {"train_loss", "val_loss"} <= told.keys()
    assert not any(name.startswith("alphas") for name in told)


def test_what_is_no_logger_is_refused_before_a_folder_is_made(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="a method log_metrics"):
        searched(print, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_unknown_tracker_is_refused_and_leaves_no_folder(call: Call, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="Unknown tracker 'tensorbord'"):
        call("search", *OPTIONS, "--log", "tensorbord", "--out", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_of_several_trainings_the_first_is_told() -> None:
    from nasp.training.events import EpochEnded, Started

    log = Log()
    tracked = Tracked(Tracker(log), {"epochs": 1})
    for loss in (1.0, 2.0):
        tracked(Started(0, 1, 1))
        tracked(EpochEnded(1, {"epoch": 1, "val_loss": loss, "warnings": ["no number"]}, 0.1))
    tracked(Started(0, 1, 1, phase="selection epoch"))
    tracked(EpochEnded(1, {"epoch": 1, "val_loss": float("inf"), "x": 3}, 0.1))
    assert log.told == [(1, {"val_loss": 1.0}), (1, {"selection/x": 3.0})]
    assert log.settings == {"epochs": 1}


def test_a_cell_is_a_picture(runs: Path) -> None:
    import io

    from PIL import Image

    pytest.importorskip("vl_convert", reason="the extra 'report' draws")
    from nasp.report.contents import contents_of
    from nasp.report.page import colours

    told = contents_of(RunFolder.open(runs / "first"))
    (cell,) = told.cells
    png = picture_of(cell, told.moves.stops[-1].path, colours(told))
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    assert picture.width == pytest.approx(2 * cell.width, abs=2)
    assert picture.getpixel((1, 1)) == (255, 255, 255)
    assert len(picture.getcolors(1 << 24)) > 20


@pytest.mark.slow
def test_tensorboard_has_all(call: Call, tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    pytest.importorskip("vl_convert", reason="the extra 'report' draws the report")
    run = tmp_path / "run"
    call("search", *OPTIONS, "--log", "tensorboard", "--out", run)
    read = accumulator.EventAccumulator(str(run / "tensorboard")).Reload()
    lines = RunFolder.open(run).metrics()
    for name in ("val_loss", "val_accuracy", "changed_edges"):
        told = read.Scalars(name)
        assert [event.step for event in told] == [1, 2]
        assert [event.value for event in told] == pytest.approx([line[name] for line in lines])
    alphas = load_tensors(run / "alphas.safetensors")["cell"]
    told = read.Scalars("alphas/cell/3/nor_conv_1x1")
    assert [event.value for event in told] == pytest.approx(alphas[1:, 3, 2].tolist())
    texts = read.Tensors("architecture/text_summary")
    assert json.loads(texts[-1].tensor_proto.string_val[0])["edges"] == lines[-1]["architecture"]
    assert read.Tags()["images"] == ["found/cell"]
    assert (run / "tensorboard" / "report.html").read_text() == (run / "report.html").read_text()


def test_a_call_without_a_run_folder_leaves_picture_and_report(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    pytest.importorskip("vl_convert", reason="the extra 'report' draws the report")
    from lightning_fabric.loggers import TensorBoardLogger

    loggers = [TensorBoardLogger(tmp_path, name=name, version="") for name in ("a", "b")]
    found = searched(loggers[0], None)
    assert found.run is None
    assert found.architecture == searched(None, None).architecture
    read = accumulator.EventAccumulator(str(tmp_path / "a")).Reload()
    assert read.Tags()["images"] == ["found/choices"]
    page = (tmp_path / "a" / "report.html").read_text()
    assert "nasp.search(network, train_loader, val_loader, epochs=2)" in html.unescape(page)
    nasp.train(found, DATA, DATA, epochs=1, logger=loggers[1])
    assert "A training of a module of your own" in (tmp_path / "b" / "report.html").read_text()


def test_without_what_draws_a_logger_has_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tensorboard")
    from lightning_fabric.loggers import TensorBoardLogger

    monkeypatch.setitem(sys.modules, "vl_convert", None)
    with pytest.warns(UserWarning, match=r"no report.*pip install 'nasp-torch\[report\]'"):
        searched(TensorBoardLogger(tmp_path, name="", version=""), None)
    assert list(tmp_path.glob("events*"))
    assert not (tmp_path / "report.html").exists()


@pytest.mark.slow
def test_wandb_has_all_and_stays_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path))
    pytest.importorskip("wandb")
    pytest.importorskip("pytorch_lightning")
    pytest.importorskip("vl_convert", reason="the extra 'report' draws the report")
    run = tmp_path / "run"
    tracker = Tracker.into("wandb", run)
    found = searched(tracker.logger, run)
    assert found.metrics == searched(None, tmp_path / "untold").metrics
    summary = tracker.logger.experiment.summary
    assert tracker.logger.experiment.offline
    assert summary["val_loss"] == found.metrics[-1]["val_loss"]
    assert tracker.logger.experiment.config["epochs"] == 2
    tracker.close()
    (files,) = run.glob("wandb/offline-run-*/files")
    tables = [json.loads(path.read_text()) for path in files.rglob("architecture*.json")]
    last = json.loads(max(tables, key=lambda table: len(str(table)))["data"][0][0])
    assert last["edges"].keys() == found.architecture.edges.keys()
    assert list(files.rglob("*.png"))
    kept = [path.read_bytes() for path in (tmp_path / "artifacts/staging").iterdir()]
    assert (run / "report.html").read_bytes() in kept


@pytest.mark.slow
def test_mlflow_has_all(tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow")
    pytest.importorskip("pytorch_lightning")
    pytest.importorskip("vl_convert", reason="the extra 'report' draws the report")
    run, log = tmp_path / "run", tmp_path / "log"
    log.mkdir()
    tracker = Tracker.into("mlflow", log)
    found = searched(tracker.logger, run)
    tracker.close()
    assert found.metrics == searched(None, tmp_path / "untold").metrics
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{log}/mlflow.db")
    (kept,) = client.search_runs([client.get_experiment_by_name("nasp").experiment_id])
    assert kept.data.params["epochs"] == "2"
    history = client.get_metric_history(kept.info.run_id, "val_loss")
    assert [each.value for each in history] == [line["val_loss"] for line in found.metrics]
    artefacts = {each.path for each in client.list_artifacts(kept.info.run_id)}
    assert artefacts == {"architecture", "found", "report.html"}
