"""The device that a network computes on: found by its name, and made to repeat itself."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import lightning_fabric
import torch
from lightning_fabric.wrappers import _FabricModule
from pydantic import AfterValidator
from torch import nn

from nasp.errors import UsageError
from nasp.training.launch import DataParallel, check_started
from nasp.training.ranks import Ranks

CUBLAS_WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
"""cuBLAS reads it once, when it starts: with a value as below its products repeat themselves."""


def _known(name: str) -> str:
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", name):
        raise ValueError(f"there is no device '{name}': give auto, cpu, cuda, cuda:1 or mps")
    return name


DeviceName = Annotated[str, AfterValidator(_known)]
"""``"auto"`` (a GPU if there is one), ``"cpu"``, ``"cuda"``, ``"cuda:1"`` or ``"mps"``."""


def find_device(name: str) -> torch.device:
    """Return the device of that name; a CUDA device with its number.

    Raises:
        UsageError: the machine has no such device.
    """
    if name == "auto":
        has_mps = torch.backends.mps.is_available()
        name = "cuda" if torch.cuda.is_available() else "mps" if has_mps else "cpu"
    kind, _, number = name.partition(":")
    if kind == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if int(number or 0) < count:
            return torch.device(kind, int(number or 0))
        has = f"has {count} of them, from cuda:0 on" if count else "shows torch no CUDA GPU"
        raise UsageError(f"There is no device '{name}': this machine {has}; give one, or cpu.")
    if kind == "mps" and not torch.backends.mps.is_available():
        raise UsageError("There is no device 'mps': this machine has no Apple GPU; give cpu.")
    return torch.device(kind)


class _Wrapped(_FabricModule):
    """A network as Fabric runs it, whose parts are found once.

    Fabric holds it under two names; `torch.func.functional_call`, which a loss may use, would put
    the replaced parameters back in the place of the network's own.
    """

    def named_modules(
        self, memo: set[nn.Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, nn.Module]]:
        twin = f"{prefix}._original_module".lstrip(".")
        for name, module in super().named_modules(memo, prefix, remove_duplicate):
            if f"{name}.".startswith(f"{twin}."):
                continue
            yield name, module


class Fabric(lightning_fabric.Fabric):
    """Lightning's, with `_Wrapped` networks and no callbacks of other packages.

    To look for those, Lightning reads what is installed: 10 ms each time.
    """

    @staticmethod
    def _configure_callbacks(_: object) -> list[Any]:
        return []

    def setup_module(self, *args: Any, **kwargs: Any) -> Any:
        """Return a network as Fabric runs it."""
        module = super().setup_module(*args, **kwargs)
        object.__setattr__(module, "__class__", _Wrapped)  # past Fabric, which sets it on both
        return module


def make_fabric(
    device: str, precision: str, devices: int = 1, nodes: int = 1, launch: bool = True
) -> Fabric:
    """Return Lightning Fabric for one device, or for one of several processes with one each.

    Args:
        device: see `find_device`.
        precision: as Fabric calls it.
        devices: how many of this kind a machine gives.
        nodes: machines.
        launch: with several processes, start them and wait for them; where they are there, nothing
            happens.

    Raises:
        UsageError: the machine has no such devices, or they cannot compute in this precision.
    """
    found = find_device(device)
    check_started(devices * nodes)
    if devices * nodes == 1:
        own: Any = {"devices": 1 if found.index is None else [found.index]}
    else:
        _check_many(device, found, devices)
        own = {"devices": devices, "num_nodes": nodes, "strategy": DataParallel()}
    try:
        with _without_hints():
            fabric = Fabric(accelerator=found.type, precision=precision, **own)  # type: ignore[arg-type]
            if launch and devices * nodes > 1:
                fabric.launch()
    except Exception as error:
        raise UsageError(
            f"Cannot use device '{device}' with precision '{precision}': {error}"
        ) from error
    return fabric


def _check_many(name: str, found: torch.device, devices: int) -> None:
    if ":" in name or found.type == "mps":
        raise UsageError(f"Several devices are cuda or cpu, and not '{name}': give --device cuda.")
    count = torch.cuda.device_count() if found.type == "cuda" else devices
    if devices > count:
        raise UsageError(
            f"This machine has {count} CUDA GPU{'s' * (count != 1)}, and devices are to be"
            f" {devices}: give {count}, or --device cpu."
        )


def ranks_of(fabric: lightning_fabric.Fabric) -> Ranks:
    """Return which process of how many this is; known before they are launched."""
    strategy = fabric.strategy
    if not isinstance(strategy, DataParallel):
        return Ranks(device=fabric.device)
    rank = strategy.node_rank * strategy.num_processes + strategy.local_rank
    return Ranks(rank, strategy.num_nodes * strategy.num_processes, fabric.device)


@contextmanager
def computing(device: str | torch.device, deterministic: bool) -> Iterator[None]:
    """Compute so that a seed means one run; torch's own settings are put back at the end.

    On a CUDA device `deterministic` lets torch take only algorithms that repeat themselves, and
    refuse what has none: a warning would leave a run that cannot be had again. Otherwise cuDNN
    times its algorithms and takes the fastest. TF32 stays as the caller, or torch, has it: in
    convolutions, not in matrix products. Other devices repeat themselves as they are.

    The environment variable `CUBLAS_WORKSPACE_CONFIG` is set where it is not, and stays: cuBLAS
    reads it when the process first uses it.

    Raises:
        UsageError: there is no such device, or an operation cannot repeat itself.
    """
    found = find_device(device) if isinstance(device, str) else device
    if found.type != "cuda":
        yield
        return
    # Also where it is not needed: a later search in this process may need it.
    os.environ.setdefault(CUBLAS_WORKSPACE, ":4096:8")
    with torch.cuda.device(found), _algorithms(deterministic):
        yield


@contextmanager
def _algorithms(deterministic: bool) -> Iterator[None]:
    cudnn = torch.backends.cudnn
    filling: Any = torch.utils.deterministic
    mode = torch.get_deterministic_debug_mode()
    before = cudnn.benchmark, cudnn.deterministic, filling.fill_uninitialized_memory
    if deterministic:
        torch.set_deterministic_debug_mode("error")
        # Else torch writes over every fresh tensor, a kernel each: nothing here reads one unset.
        filling.fill_uninitialized_memory = False
    cudnn.deterministic = deterministic or cudnn.deterministic
    cudnn.benchmark = not cudnn.deterministic
    try:
        yield
    except RuntimeError as error:
        if "deterministic" not in str(error):
            raise
        raise UsageError(_cannot_repeat(str(error))) from error
    finally:
        torch.set_deterministic_debug_mode(mode)
        cudnn.benchmark, cudnn.deterministic, filling.fill_uninitialized_memory = before


def _cannot_repeat(message: str) -> str:
    way_out = "deterministic=False (--fast), with which two runs of one seed may differ"
    if CUBLAS_WORKSPACE in message:
        return (
            "cuBLAS cannot repeat itself as this process started it: set"
            f" {CUBLAS_WORKSPACE}=:4096:8 before Python starts, or give {way_out}."
        )
    operation = message.split(" does not have")[0].split()[-1]
    return f"'{operation}' has no form on this GPU that repeats itself: give {way_out}."


@contextmanager
def _without_hints() -> Iterator[None]:
    # Fabric tells everyone with Tensor Cores about a setting that is the caller's to choose, and
    # each process of a run that it has begun.
    log = logging.getLogger("lightning_fabric")
    parts = [log, *(log.getChild(f"utilities.{name}") for name in ("rank_zero", "distributed"))]
    levels = [part.level for part in parts]
    for part in parts:
        part.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for part, level in zip(parts, levels, strict=True):
            part.setLevel(level)
