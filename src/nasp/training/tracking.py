"""What happens, told to a tracker (TensorBoard, W&B, MLflow) through a logger of Lightning's."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple

from nasp.errors import UsageError, unknown_name
from nasp.runs.folder import RunFolder
from nasp.training.events import EpochEnded, Event, Started
from nasp.training.recipe import BaseRecipe

if TYPE_CHECKING:
    from typing_extensions import Self


class Kind(NamedTuple):
    """What Lightning's loggers do each in its own way.

    Attributes:
        make: the module and class of the logger, and its arguments for a folder.
        needs: the package that it writes with.
        text: logger, name, text, step: shows a text.
        file: logger, path: keeps a file.
        picture: logger, name, path: shows a PNG.
        close: logger: writes all that is left.
    """

    make: Callable[[Path], tuple[str, str, dict[str, Any]]]
    needs: str
    text: Callable[[Any, str, str, int], object]
    file: Callable[[Any, Path], object]
    picture: Callable[[Any, str, Path], object]
    close: Callable[[Any], object]


def _tensorboard_file(logger: Any, path: Path) -> None:
    """Keep a file beside the events: TensorBoard has no other place for one."""
    (Path(logger.log_dir) / path.name).write_bytes(path.read_bytes())


def _tensorboard_picture(logger: Any, name: str, path: Path) -> None:
    import numpy as np
    from PIL import Image

    logger.experiment.add_image(name, np.asarray(Image.open(path)), dataformats="HWC")


def _wandb_file(logger: Any, path: Path) -> None:
    import wandb

    artefact = wandb.Artifact(path.stem, type="report")
    artefact.add_file(str(path))
    logger.experiment.log_artifact(artefact)


_LIGHTNING = "pytorch_lightning.loggers"
KINDS = {
    "tensorboard": Kind(
        lambda folder: (
            "lightning_fabric.loggers",
            "TensorBoardLogger",
            {"root_dir": folder / "tensorboard", "name": "", "version": ""},
        ),
        "tensorboard",
        lambda logger, name, text, step: logger.experiment.add_text(name, text, step),
        _tensorboard_file,
        _tensorboard_picture,
        lambda logger: logger.experiment.close(),
    ),
    "wandb": Kind(
        lambda folder: (
            _LIGHTNING,
            "WandbLogger",
            {"save_dir": folder, "name": folder.name, "project": "nasp", "offline": True},
        ),
        "wandb",
        lambda logger, name, text, step: logger.log_text(name, ["text"], [[text]], step=step),
        _wandb_file,
        lambda logger, name, path: logger.log_image(name, [str(path)]),
        lambda logger: logger.experiment.finish(),
    ),
    "mlflow": Kind(
        lambda folder: (
            _LIGHTNING,
            "MLFlowLogger",
            {
                "tracking_uri": f"sqlite:///{folder.resolve()}/mlflow.db",
                "artifact_location": (folder.resolve() / "mlflow").as_uri(),
                "experiment_name": "nasp",
                "run_name": folder.name,
            },
        ),
        "mlflow",
        lambda logger, name, text, step: logger.experiment.log_text(
            logger.run_id, text, f"{name}/{step:04d}.txt"
        ),
        lambda logger, path: logger.experiment.log_artifact(logger.run_id, str(path)),
        lambda logger, name, path: logger.experiment.log_artifact(
            logger.run_id, str(path), str(PurePosixPath(name).parent)
        ),
        lambda logger: logger.finalize("success"),
    ),
}
"""The trackers by name; all of them write into the run's folder, and none asks the network."""


class Tracker:
    """A logger of Lightning's, of a kind that is known or any other, which has metrics alone.

    Args:
        logger: has ``log_metrics`` and ``log_hyperparams``, as all of Lightning's have.
    """

    def __init__(self, logger: Any) -> None:
        if not callable(getattr(logger, "log_metrics", None)):
            raise UsageError(
                f"A logger is one of Lightning's, with a method log_metrics; {logger!r} is none."
            )
        self.logger = logger
        names = {each.__name__ for each in type(logger).__mro__}
        self.kind = next((k for k in KINDS.values() if k.make(Path())[1] in names), None)

    @classmethod
    def into(cls, name: str, folder: Path) -> Self:
        """Return a tracker by its name, which writes into a folder.

        Raises:
            UsageError: there is none of that name, or its package is not installed.
        """
        if name not in KINDS:
            raise unknown_name("tracker", name, list(KINDS))
        kind = KINDS[name]
        module, logger, arguments = kind.make(folder)
        try:
            import_module(kind.needs)
            made = getattr(import_module(module), logger)
        except ImportError as error:
            raise UsageError(
                f"--log {name} needs its packages: pip install 'nasp-torch[{name}]'."
            ) from error
        return cls(made(**arguments))

    def settings(self, settings: Mapping[str, Any]) -> None:
        """Tell what the run was asked to do."""
        with contextlib.suppress(NotImplementedError):  # as Fabric's for CSV
            self.logger.log_hyperparams(dict(settings))

    def metrics(self, metrics: Mapping[str, Any], step: int) -> None:
        """Tell the finite numbers among metrics."""
        numbers = {
            re.sub(r"[^\w\-./: ]", "_", name): float(value)  # what all trackers take
            for name, value in metrics.items()
            if isinstance(value, int | float) and math.isfinite(value)
        }
        self.logger.log_metrics(numbers, step)
        if hasattr(self.logger, "save"):  # a run can be killed at any instant
            self.logger.save()

    def text(self, name: str, text: str, step: int) -> None:
        """Tell a text."""
        if self.kind is not None:
            self.kind.text(self.logger, name, text, step)

    def file(self, path: Path) -> None:
        """Keep a file."""
        if self.kind is not None:
            self.kind.file(self.logger, path)

    def picture(self, name: str, path: Path) -> None:
        """Show a PNG."""
        if self.kind is not None:
            self.kind.picture(self.logger, name, path)

    @property
    def wants_result(self) -> bool:
        """Whether `result` tells anything; not here, where nobody draws."""
        return False

    def result(self, run: RunFolder) -> None:
        """Tell what a run has come to."""

    def close(self) -> None:
        """Write all that is left; nothing is told afterwards."""
        if self.kind is not None:
            self.kind.close(self.logger)


class Tracked:
    """An observer that tells a tracker the settings and each epoch's metrics, alphas, architecture.

    Of several networks that are trained one after the other it tells the first alone.

    Args:
        tracker: is told, from the first loop's start on: it may write where the run does.
        settings: of the run.
    """

    def __init__(self, tracker: Tracker, settings: Mapping[str, Any] = {}) -> None:
        self.tracker = tracker
        self.settings = settings
        self._phases: list[str] = []

    def __call__(self, event: Event) -> None:
        """Tell what an epoch's end has to say."""
        if isinstance(event, Started):
            if not self._phases:
                self.tracker.settings(self.settings)
            self._phases.append(event.phase)
        if not isinstance(event, EpochEnded) or self._phases.count(self._phases[-1]) > 1:
            return
        part = self._phases[-1].removesuffix("epoch").strip()
        prefix = f"{part}/" if part else ""
        named = {prefix + name: value for name, value in event.metrics.items() if name != "epoch"}
        alphas = {
            f"alphas/{edge}/{candidate}": alpha
            for edge, row in (event.alphas or {}).items()
            for candidate, alpha in row.items()
        }
        self.tracker.metrics({**named, **alphas}, event.epoch)
        if event.architecture is not None:
            self.tracker.text("architecture", event.architecture.to_json(), event.epoch)

    def ended(self, run: RunFolder | None) -> None:
        """Tell what the run in a folder has come to."""
        if run is not None:
            self.tracker.result(run)


def tracked(logger: Any, config: BaseRecipe) -> list[Tracked]:
    """Return what tells a logger of a call from Python; nothing without one.

    Args:
        logger: of Lightning's, or a `Tracker` of one.
        config: the settings. Of several processes the first tells.

    Raises:
        UsageError: it is no logger.
    """
    if logger is None or not config.ranks.is_first:
        return []
    tracker = logger if isinstance(logger, Tracker) else Tracker(logger)
    return [Tracked(tracker, config.model_dump(mode="json"))]
