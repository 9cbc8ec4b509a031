"""Search in a module of the user's own, from Python: `nasp.search`, `nasp.build`."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from nasp.bilevel.found import Found
from nasp.bilevel.search import run_search
from nasp.bilevel.settings import SearchConfig, selecting
from nasp.complexity.costs import Cost
from nasp.complexity.quantity import OWN
from nasp.errors import UsageError, validated
from nasp.runs.folder import load_tensors
from nasp.strategies import strategy_config
from nasp.supernet.architecture import Architecture
from nasp.supernet.derive import derive
from nasp.supernet.supernet import Supernet
from nasp.training.callbacks import Callback
from nasp.training.events import Observer, nobody
from nasp.training.own import called_folder
from nasp.training.recalibration import STALE, Recalibration, needs_recalibration
from nasp.training.recipe import BaseRecipe
from nasp.training.supervised import as_task
from nasp.training.task import Batch, Task
from nasp.training.together import together, watching_first
from nasp.training.tracking import tracked


def search(
    network: nn.Module,
    train_loader: Iterable[Batch],
    val_loader: Iterable[Batch],
    *,
    task: Task | Callable[[Any, Any], Tensor] | None = None,
    metrics: Mapping[str, Any] | None = None,
    run: str | Path | None = None,
    go_on_to: int | None = None,
    observe: Observer = nobody,
    callbacks: Sequence[Callback] = (),
    progress: bool | None = None,
    logger: Any = None,
    **settings: Any,
) -> Found:
    """Search any module that has `Choice`s inside.

    Args:
        network: used as it is: its weights are trained.
        train_loader: batches for the weights, such as ``(x, y)``; an epoch is one pass over it,
            unless `epoch_steps` says otherwise.
        val_loader: batches for the alphas, of other examples.
        task: a `Task`, or a loss of output and target; default cross entropy, for which a batch
            is ``(input, ..., target)``.
        metrics: name -> a function of all outputs and targets, or an object with ``update``,
            ``compute`` and ``reset``, as torchmetrics has; for a loss of output and target. After
            each epoch they are measured on a pass of `val_loader`, of the architecture as it
            stands, by the supernet's weights, in evaluation mode, BatchNorms by each batch.
        run: a folder that keeps the run; called again with the same folder, a search that was
            stopped goes on where it was. Default: nothing is written.
        go_on_to: with the `run` of a finished search and its settings, the epochs that it is to
            have in all; schedules stay at their ends.
        observe: called with each `nasp.training.events.Event`.
        callbacks: the same, and one that returns True ends the epochs: what was found until then
            is returned; see `nasp.callbacks`.
        progress: whether to show it on standard error; default in a terminal or a notebook.
        logger: one of Lightning's loggers: is told settings, metrics, alphas and architectures,
            and at the end, if it takes files, the cells as pictures and the report.
        settings: fields of `SearchConfig`: ``epochs=50``, ``strategy="nasp"``, ``seed=0``,
            ``complexity=0.0``, ``init=None`` (weights to start from), ...; any other name is a
            setting of the strategy. ``cost`` may be a function: ``cost(operation, *inputs)``.

    Returns:
        What was found.

    Raises:
        UsageError: a setting or an argument does not fit.
        NaspError: the search failed, such as by a loss that is not finite.
        Interrupted: Ctrl-C; with `run` the same call goes on.
    """
    config, own_cost = config_of(settings)
    given = as_task(task, metrics)
    if go_on_to is not None and run is None:
        raise UsageError("go_on_to goes on with a finished search: give its folder as run.")
    supernet = Supernet(network)

    wanted = {"kind": "python-search", "search": config.as_kept()}
    told = tracked(logger, config)
    opened = partial(called_folder, run, wanted, "nasp.search", told)
    with (
        together(config, opened) as folder,
        watching_first(config, observe, [*callbacks, *told], progress) as watchers,
    ):
        if folder is not None and go_on_to is not None:
            folder.extend(go_on_to, config.epochs)
        loaders = train_loader, val_loader
        found = run_search(supernet, *loaders, given, config, folder, watchers, own_cost=own_cost)
        for each in told:
            each.ended(folder)
    return found


_CONFIG_FIELDS = frozenset(SearchConfig.model_fields)


def config_of(settings: Mapping[str, Any]) -> tuple[SearchConfig, Cost | None]:
    """Return the settings that a call was given, and the cost of its own that is among them.

    Raises:
        UsageError: a setting does not fit.
    """
    given = {name: value for name, value in settings.items() if name in _CONFIG_FIELDS}
    own = {name: value for name, value in settings.items() if name not in _CONFIG_FIELDS}
    own_cost = given["cost"] if callable(given.get("cost")) else None
    if own_cost is not None:
        given["cost"] = OWN
    chosen = {**own, **given.get("settings", {})}
    config = validated(SearchConfig, {**given, "settings": chosen}, "search")
    strategy_config(config.strategy, config.settings)
    selecting(config)
    return config, own_cost


def build(
    network: nn.Module,
    architecture: Architecture | str | Path,
    weights: Mapping[str, Tensor] | str | Path | None = None,
    data: Iterable[Batch] | None = None,
    task: Task | Callable[[Any, Any], Tensor] | None = None,
) -> nn.Module:
    """Return a module with choices as the plain network of an architecture.

    Args:
        network: has the choices; left as it is.
        architecture: of such a network, or the file that it was saved to.
        weights: parameters and buffers by their names in `network`, such as those of a run's
            ``weights.safetensors``, or that file; default the network's own.
        data: training batches to measure BatchNorm's running statistics on, which in a
            search's weights are of all its paths; without them that is warned of.
        task: of these batches; see `search`.

    Raises:
        UsageError: the architecture is not of this network.
        NaspError: a file cannot be read.
    """
    if isinstance(architecture, str | Path):
        architecture = Architecture.load(architecture)
    if isinstance(weights, str | Path):
        weights = load_tensors(weights)
    if weights is not None and (odd := set(weights) ^ set(network.state_dict())):
        raise UsageError(
            f"The weights and the network do not belong together: '{min(odd)}' is of one alone."
        )
    supernet = Supernet(network)
    built = derive(supernet, architecture, weights)
    if data is not None:
        config = BaseRecipe(device=supernet.device.type)
        Recalibration(data, as_task(task, None), config)(built)
    elif weights is not None and needs_recalibration(built):
        warnings.warn(STALE.format("give data=, training batches to measure them on"), stacklevel=2)
    return built
