"""The rows of a measurement: strategies, and the floor under them all."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn

from nasp.bench.steps.captured import CapturedTraining
from nasp.bench.steps.networks import make_network, make_supernet, random_path
from nasp.bench.steps.settings import PRECISIONS, BenchSettings
from nasp.bench.steps.workloads import Workload, workload
from nasp.complexity import Regulariser, parameter_counts
from nasp.errors import UsageError, unknown_name
from nasp.strategies import Horizon, Problem, find_strategy, make_strategy, strategy_names
from nasp.strategies.nasp import PAPER
from nasp.supernet.derive import derive
from nasp.training.device import find_device, make_fabric
from nasp.training.learner import Learner
from nasp.training.task import Batch

FLOOR = "floor"
"""Two training steps of the path alone: the plain network that `nasp.supernet.derive` makes of it.

Its BatchNorm is that of the search, without affine parameters.
"""

FLOOR_CAPTURED = "floor-captured"
"""The floor as captured CUDA graphs: no launch of a kernel waits for Python. CUDA devices only."""

HORIZON = Horizon(epochs=50, steps_per_epoch=390)
"""The authors' CIFAR-10 search, for strategies with a schedule."""


def strategy_rows() -> dict[str, tuple[str, Mapping[str, Any]]]:
    """Return row -> strategy and its settings: each iterative one, and NASP's other gradients."""
    rows: dict[str, tuple[str, Mapping[str, Any]]] = {
        # As published: so the first path is the floor's, and each step is the same work.
        "nasp": ("nasp", PAPER),
        "nasp-unfused": ("nasp", {**PAPER, "gradient": "probe-unfused"}),
        "nasp-plain": ("nasp", {**PAPER, "gradient": "plain"}),
        # As by default: each weight step on another path, so that no step is like the last.
        "nasp-uniform": ("nasp", {}),
    }
    for name in strategy_names():
        registration = find_strategy(name)
        if not registration.iterative:
            continue
        # What is measured is the iteration with both its steps, not a warm-up without one.
        has_warmup = "warmup_epochs" in registration.config.model_fields
        rows.setdefault(name, (name, {"warmup_epochs": 0} if has_warmup else {}))
    return rows


def row_names() -> list[str]:
    """Return all rows, in the order of the table."""
    return [FLOOR, FLOOR_CAPTURED, *strategy_rows()]


def rows_of(settings: BenchSettings) -> list[str]:
    """Return the rows that can be measured on the settings' device."""
    is_cuda = find_device(settings.device).type == "cuda"
    return [row for row in row_names() if is_cuda or row != FLOOR_CAPTURED]


@dataclass(frozen=True)
class Iteration:
    """One A step and one w step of a row, ready to run again and again.

    Attributes:
        arch_step: moves the alphas; of the floor, the first of its two training steps.
        weight_step: moves the weights.
        device: where they run.
        architecture: edge -> candidate, the path that the row was given.
    """

    arch_step: Callable[[], object]
    weight_step: Callable[[], object]
    device: torch.device
    architecture: Mapping[str, str | None]


def check_row(row: str, settings: BenchSettings) -> None:
    """Raise UsageError where there is no such row, or none on the settings' device."""
    if row not in row_names():
        raise unknown_name("row", row, row_names())
    if row not in rows_of(settings):
        raise UsageError(f"Row '{row}' is for CUDA devices: leave it out, or give --device cuda.")


def check_settings(settings: BenchSettings) -> None:
    """Raise UsageError where there is no such network or device."""
    make_network(settings)
    make_fabric(settings.device, PRECISIONS[settings.dtype])


def make_iteration(row: str, settings: BenchSettings) -> Iteration:
    """Build a row's network, data and optimisers.

    Raises:
        UsageError: there is no such row, network or device.
    """
    check_row(row, settings)
    strategy_name, options = strategy_rows().get(row, (None, {}))
    parts = 1 if strategy_name is None else find_strategy(strategy_name).partial_channels
    supernet = make_supernet(settings, parts)
    architecture = supernet.architecture(random_path(supernet, settings))
    work = workload(settings, supernet.network)
    fabric = make_fabric(settings.device, PRECISIONS[settings.dtype])
    train, val = map(fabric.to_device, work.batches)
    arch_step: Callable[[Batch], object]
    weight_step: Callable[[Batch], object]
    if strategy_name is not None:
        learner = _learner(fabric, supernet, supernet.weights(), work)
        penalty = Regulariser(parameter_counts(supernet), weight=0.0)
        problem = Problem(supernet, learner, HORIZON, settings.seed, penalty)
        strategy = make_strategy(strategy_name, problem, options)
        arch_step, weight_step = strategy.arch_step, strategy.weight_step
    elif row == FLOOR_CAPTURED:
        captured = CapturedTraining(fabric, derive(supernet, architecture), work)
        arch_step = weight_step = lambda _: captured.step()
    else:
        plain = derive(supernet, architecture)
        learner = _learner(fabric, plain, list(plain.parameters()), work)
        arch_step = weight_step = learner.weight_step
    del supernet
    gc.collect()
    return Iteration(
        lambda: arch_step(val),
        lambda: weight_step(train),
        fabric.device,
        dict(architecture.edges),
    )


def _learner(
    fabric: Fabric, network: nn.Module, weights: list[nn.Parameter], work: Workload
) -> Learner:
    return Learner(fabric, network, work.task, weights, work.optimizer, work.clip)
