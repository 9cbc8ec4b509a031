"""The bilevel loop: half the data moves the alphas, half the weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from lightning_fabric import seed_everything
from pydantic import Field
from torch import Tensor, nn

from nasp.architecture import Architecture
from nasp.checkpointer import Checkpointer
from nasp.complexity import Regulariser, parameter_counts
from nasp.derive import derive
from nasp.errors import UsageError, validated
from nasp.events import Observer, nobody
from nasp.health import HealthMonitor
from nasp.loop import EpochReport, StepReport, run_epochs
from nasp.meter import Meter
from nasp.recipe import Recipe
from nasp.runs import RunFolder
from nasp.strategies import Horizon, make_strategy, strategy_config
from nasp.stream import Stream, epoch_length
from nasp.supernet import Supernet
from nasp.tasks.supervised import Supervised
from nasp.tasks.task import Batch, Metrics, Task


class SearchConfig(Recipe):
    """Settings of a search; the defaults are those of the NASP authors' CIFAR-10 search.

    Attributes:
        strategy: the search algorithm, a name in `nasp.strategies.STRATEGIES`.
        settings: the strategy's own settings.
        complexity: η, the weight of R(A): larger finds smaller networks.
    """

    strategy: str = "nasp"
    settings: dict[str, Any] = Field(default_factory=dict)
    complexity: float = Field(0.0, ge=0)


@dataclass(frozen=True)
class Found:
    """What a search found.

    Attributes:
        architecture: the discrete path of its last iteration.
        supernet: with the weights and alphas as the search left them.
        initial_weights: the network's parameters and buffers before the search.
        metrics: a line for each epoch.
        run: the run folder, where there is one.
    """

    architecture: Architecture
    supernet: Supernet
    initial_weights: Mapping[str, Tensor]
    metrics: list[dict[str, Any]]
    run: Path | None = None

    def build(self, weights: Literal["inherit", "fresh"] = "inherit") -> nn.Module:
        """Return the found network as a plain module: nothing of nasp is left in it.

        Args:
            weights: ``"inherit"`` takes the supernet's, ``"fresh"`` those that the network had
                before the search.
        """
        start = self.initial_weights if weights == "fresh" else None
        return derive(self.supernet, self.architecture, start)


def search(
    network: nn.Module,
    train_loader: Iterable[Batch],
    val_loader: Iterable[Batch],
    *,
    task: Task | Callable[[Any, Any], Tensor] | None = None,
    run: str | Path | None = None,
    observe: Observer = nobody,
    **settings: Any,
) -> Found:
    """Search any module that has `Choice`s inside.

    Args:
        network: used as it is: its weights are trained.
        train_loader: batches for the weights, such as ``(x, y)``; an epoch is one pass over it.
        val_loader: batches for the alphas, of other examples.
        task: a `Task`, or a loss of output and target; default cross entropy, for which a batch
            is ``(input, ..., target)``.
        run: a folder that keeps the run; called again with the same folder, a search that was
            stopped goes on where it was. Default: nothing is written.
        observe: called with each `nasp.events.Event`.
        settings: fields of `SearchConfig`: ``epochs=50``, ``strategy="nasp"``, ``seed=0``,
            ``complexity=0.0``, ...; any other name is a setting of the strategy.

    Returns:
        What was found.

    Raises:
        UsageError: a setting or an argument does not fit.
        NaspError: the search failed, such as by a loss that is not finite.
        Interrupted: Ctrl-C; with `run` the same call goes on.
    """
    own = {name: settings.pop(name) for name in list(settings) if name not in _CONFIG_FIELDS}
    chosen = {**own, **settings.pop("settings", {})}
    config = validated(SearchConfig, {**settings, "settings": chosen}, "search")
    if task is None:
        task = Supervised()
    elif not isinstance(task, Task):
        task = Supervised(task)
    strategy_config(config.strategy, config.settings)  # raises before a folder is made
    supernet = Supernet(network)
    if run is None:
        return run_search(supernet, train_loader, val_loader, task, config, None, observe)
    folder = _run_folder(Path(run), config)
    with folder.lock():
        return run_search(supernet, train_loader, val_loader, task, config, folder, observe)


_CONFIG_FIELDS = frozenset(SearchConfig.model_fields)


def run_search(
    supernet: Supernet,
    train_loader: Iterable[Batch],
    val_loader: Iterable[Batch],
    task: Task,
    config: SearchConfig,
    run: RunFolder | None = None,
    observe: Observer = nobody,
) -> Found:
    """Search a supernet; a run that was stopped goes on. See `search`."""
    seed_everything(config.seed, verbose=False)
    supernet.train()
    steps = epoch_length(train_loader)
    initial_weights = {
        k: v.detach().cpu().clone() for k, v in supernet.network.state_dict().items()
    }
    learner = config.learner(supernet, task, supernet.weights())
    schedule = config.schedule(learner)
    strategy = make_strategy(
        config.strategy,
        supernet,
        learner,
        config.settings,
        Horizon(config.epochs, steps),
        config.seed,
        Regulariser(parameter_counts(supernet), config.complexity),
    )
    weight_batches = Stream(train_loader, "The training loader")
    arch_batches = Stream(val_loader, "The validation loader")
    monitor = HealthMonitor(supernet, strategy.derive())
    history = AlphaHistory(supernet)
    meter = Meter()
    checkpointer = Checkpointer(
        run,
        {
            "supernet": supernet,
            "learner": learner,
            "schedule": schedule,
            "strategy": strategy,
            "monitor": monitor,
            "history": history,
            "meter": meter,
            "weight_batches": weight_batches,
            "arch_batches": arch_batches,
        },
        config.checkpoint_minutes,
    )

    def step() -> StepReport:
        on_val = strategy.arch_step(next(arch_batches))
        on_train = strategy.weight_step(next(weight_batches))
        architecture = strategy.derive()
        changed = monitor.step(architecture)
        return StepReport(
            {**_prefixed("train_", on_train), **_prefixed("val_", on_val or {})},
            changed,
            architecture,
        )

    def end_epoch(epoch: int) -> EpochReport:
        lr = schedule.get_last_lr()[0]
        schedule.step()
        history.add()
        architecture = strategy.derive()
        health = monitor.end_epoch()
        warnings = [health.collapse_warning()]
        if epoch == config.epochs:
            warnings += [health.unsettled_warning(), health.tie_warning()]
        line = {"lr": lr, **health.as_dict(), "architecture": dict(architecture.edges)}
        return EpochReport(line, tuple(w for w in warnings if w is not None), architecture)

    lines = run_epochs(config.epochs, steps, step, end_epoch, checkpointer, meter, run, observe)
    found = Found(
        strategy.derive(),
        supernet,
        initial_weights,
        lines if run is None else run.metrics(),
        None if run is None else run.path,
    )
    if run is not None:
        run.save_tensors("alphas.safetensors", history.tensors())
        run.save_tensors("weights.safetensors", supernet.network.state_dict())
        found.architecture.save(run.architecture_path)
    return found


class AlphaHistory:
    """The alphas at the start and after each epoch."""

    def __init__(self, supernet: Supernet) -> None:
        self.supernet = supernet
        self.snapshots: list[dict[str, Tensor]] = []
        self.add()

    def add(self) -> None:
        """Keep the alphas as they are now."""
        self.snapshots.append(
            {name: a.detach().cpu().clone() for name, a in self.supernet.alphas.items()}
        )

    def tensors(self) -> dict[str, Tensor]:
        """Return table -> ``[epochs + 1, edges, candidates]``."""
        return {
            name: torch.stack([snapshot[name] for snapshot in self.snapshots])
            for name in self.supernet.alphas
        }

    def state_dict(self) -> dict[str, Any]:
        """Return the snapshots."""
        return {"snapshots": self.snapshots}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a state that `state_dict` returned."""
        self.snapshots = list(state["snapshots"])


def _prefixed(prefix: str, metrics: Metrics) -> Metrics:
    return {prefix + name: value for name, value in metrics.items()}


def _run_folder(path: Path, config: SearchConfig) -> RunFolder:
    wanted = {"kind": "python-search", "search": config.model_dump(mode="json")}
    is_new = not (path / "config.json").is_file()
    run = RunFolder.create(path, wanted) if is_new else RunFolder.open(path)
    if run.config() != wanted:
        raise UsageError(f"{path} holds a search with other settings: give another folder.")
    run.go_on = f"nasp.search(..., run='{path}')"
    return run
