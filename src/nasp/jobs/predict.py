"""What a run's network, or an exported one, says of files."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from nasp.domains import every_domain
from nasp.domains.domain import InService
from nasp.errors import NaspError, UsageError
from nasp.exporters.examples import first_line
from nasp.exporters.opened import Predictor, open_export
from nasp.exporters.service import Service
from nasp.jobs.rebuild import rebuild
from nasp.runs.folder import RunFolder
from nasp.training.events import Observer, nobody


@dataclass(frozen=True)
class Prediction:
    """What is said of one file.

    Attributes:
        path: the file.
        top: the likeliest classes and their probabilities; empty where the file is damaged.
        error: why it could not be read, or None.
    """

    path: Path
    top: Sequence[tuple[str, float]] = ()
    error: str | None = None


def predictor_of(target: str, weights: str | None = None, observe: Observer = nobody) -> Predictor:
    """Return the network of a run, or of an exported file, ready to predict.

    Args:
        target: a run folder, or a .py, .onnx or .pt2 file.
        weights: which of a run; see `nasp.jobs.rebuild.rebuild`.
        observe: is told of what is read.

    Raises:
        UsageError: there is no such run or file, or it is for data that do not lie in files.
        NaspError: it is damaged.
    """
    path = Path(target)
    if not path.is_dir():
        if weights is not None:
            raise UsageError(f"An exported file has its weights: leave out --weights {weights}.")
        return open_export(path, _service_of)
    rebuilt = rebuild(RunFolder.open(path), weights, observe=observe)
    if rebuilt.service is None:
        raise UsageError(
            f"The network in {rebuilt.run or path} cannot be used on files: it must be for"
            f" {' or '.join(_in_service())}, and its run keep how they are prepared, which those of"
            " older versions do not."
        )
    network = rebuilt.network.eval()
    return Predictor(rebuilt.service.classes, rebuilt.service.tensor, network)


def _in_service() -> dict[str, InService]:
    return {each.name: each.in_service for each in every_domain() if each.in_service is not None}


def _service_of(said: str) -> Service:
    errors: list[UsageError] = []
    for each in _in_service().values():
        try:
            return each.of_said(said)
        except UsageError as error:
            errors.append(error)
    raise errors[0]


def files_of(paths: Iterable[str]) -> Iterator[Path]:
    """Yield files, and those in folders and below that a kind of data can read, sorted.

    Raises:
        UsageError: a folder has none.
    """
    endings = tuple(ending for each in _in_service().values() for ending in each.endings)
    for path in map(Path, paths):
        if not path.is_dir():
            yield path
            continue
        found = [
            inner
            for inner in sorted(path.rglob("*"))
            if inner.name.lower().endswith(endings) and inner.is_file()
            if not any(part.startswith(".") for part in inner.relative_to(path).parts)
        ]
        if not found:
            raise UsageError(f"{path} holds no file that ends in {', '.join(endings)}.")
        yield from found


def predictions(
    predictor: Predictor, files: Iterable[Path], top: int = 3, batch_size: int = 64
) -> Iterator[Prediction]:
    """Yield what a network says of each file, in their order.

    Args:
        predictor: the network.
        files: read a batch at a time; a damaged one gets an error, the others their classes.
        top: how many classes of each.
        batch_size: files at once, where the network takes any number.
    """
    rest = iter(files)
    while chosen := list(islice(rest, predictor.batch or batch_size)):
        read = [_read(predictor, path) for path in chosen]
        tensors = [each for each in read if isinstance(each, Tensor)]
        rows = iter(_probabilities(predictor, tensors)) if tensors else iter(())
        for path, each in zip(chosen, read, strict=True):
            if isinstance(each, str):
                yield Prediction(path, error=each)
                continue
            row = next(rows)
            order = row.argsort(descending=True, stable=True)[:top].tolist()
            yield Prediction(path, [(predictor.classes[i], float(row[i])) for i in order])


def _read(predictor: Predictor, path: Path) -> Tensor | str:
    try:
        return predictor.prepare(path)
    except NaspError as error:
        return str(error)
    except Exception as error:  # of an exported file's own function
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else ""
        return f"Cannot read {path}: {reason or first_line(error)}."


def _probabilities(predictor: Predictor, tensors: list[Tensor]) -> Tensor:
    count = len(tensors)
    if predictor.batch is not None:  # and no other number
        tensors = tensors + tensors[-1:] * (predictor.batch - count)
    with torch.inference_mode():
        logits = predictor.logits(torch.stack(tensors))[:count]
    if logits.shape != (count, len(predictor.classes)):
        raise NaspError(
            f"The network gives an output of shape {list(logits.shape)}, and there are"
            f" {len(predictor.classes)} classes."
        )
    return logits.float().softmax(1)
