"""What a network starts from: the weights in a file, by name and shape, where they fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from nasp.errors import UsageError
from nasp.runs.folder import RunFolder, load_tensors
from nasp.training.events import Observer, Warned

INIT = "init.safetensors"
"""In a run folder: what its network started from, for a resume after the given file is gone."""


def start_from(
    network: nn.Module, given: Path | None, run: RunFolder | None, observe: Observer
) -> None:
    """Give a network the weights of a file, and say what of the two did not fit.

    Args:
        network: changed in place; what the file lacks stays as it is.
        given: a .safetensors file or a run's folder; None does nothing.
        run: keeps what was taken.
        observe: is told what did not fit, before the first epoch is done.

    Raises:
        UsageError: there is no such file, it is none that can be read safely, or nothing fits.
        NaspError: it is damaged.
    """
    if given is None:
        return
    kept = None if run is None else run.path / INIT
    is_kept = kept is not None and kept.is_file()
    weights = load_tensors(kept if kept is not None and is_kept else weights_file(given))
    own: dict[str, Tensor] = network.state_dict()
    fitting = {n: w for n, w in weights.items() if n in own and own[n].shape == w.shape}
    if not any(weight.dim() for weight in fitting.values()):  # counters alone say nothing
        raise UsageError(
            f"Nothing in {given} fits the network: of its {len(weights)} tensors"
            f" ({_some(list(weights))}) none has the name and shape of one of the network's"
            f" {len(own)} ({_some(list(own))})."
        )
    with torch.no_grad():
        for name, weight in fitting.items():
            own[name].copy_(weight)
    if run is not None and not is_kept:
        run.save_tensors(INIT, fitting)
    if (run is None or not run.metrics()) and (own.keys() | weights.keys()) != fitting.keys():
        observe(Warned(_unfit(given, own, weights, fitting)))


def weights_file(given: Path) -> Path:
    """Return the file of weights that is meant: in a run's folder the best, or else the last.

    Raises:
        UsageError: there is none, or it is of a kind that runs code when it is read.
    """
    if given.is_dir():
        for name in ("best.safetensors", "weights.safetensors"):
            if (given / name).is_file():
                return given / name
        raise UsageError(f"{given} has no weights: give the folder of a finished run, or a file.")
    if not given.is_file():
        raise UsageError(f"There are no weights to start from: {given} is no file or folder.")
    if given.suffix != ".safetensors":
        raise UsageError(
            f"{given} is no .safetensors file, and reading another may run what is hidden in it:"
            " where you trust it, load it and write safetensors.torch.save_file(weights, FILE)."
        )
    return given


def _unfit(
    given: Path,
    own: Mapping[str, Tensor],
    weights: Mapping[str, Tensor],
    fitting: Mapping[str, Tensor],
) -> str:
    odd = [
        f"{name} {list(weights[name].shape)} for {list(own[name].shape)}"
        for name in weights
        if name in own and name not in fitting
    ]
    parts = [
        ("start as they were drawn", [name for name in own if name not in weights]),
        ("have another shape there", odd),
        ("of the file's are not in the network", [name for name in weights if name not in own]),
    ]
    said = [f"{len(names)} {what} ({_some(names)})" for what, names in parts if names]
    return f"{len(fitting)} of {len(own)} tensors are from {given}; {'; '.join(said)}."


def _some(names: Sequence[str]) -> str:
    return ", ".join([*names[:3], *(["..."] if len(names) > 3 else [])])
