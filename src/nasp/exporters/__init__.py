"""A found network leaves the library: as Python source, as ONNX, as a program of torch.export."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from operator import methodcaller
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from nasp.errors import UsageError, unknown_name
from nasp.exporters.examples import Example
from nasp.exporters.onnx import onnx_model
from nasp.exporters.pt2 import torch_program
from nasp.exporters.source.python import python_source
from nasp.runs.files import write_atomic

Format = Literal["python", "onnx", "torch"]
Make = Callable[[nn.Module, Example, str], tuple[list[bytes], float]]
"""From a network, an example and what is said of it: the content of each file, the difference."""
FORMATS: dict[Format, tuple[tuple[str, ...], Make]] = {
    "python": ((".py", ".safetensors"), python_source),
    "onnx": ((".onnx",), onnx_model),
    "torch": ((".pt2",), torch_program),
}
"""The endings of each format's files, and what makes their content."""


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        to: the format.
        files: the file, and the weights beside it where they are apart.
        difference: the largest absolute difference of outputs from the network's; 0 is bit-equal.
    """

    to: Format
    files: tuple[Path, ...]
    difference: float


def export(
    network: nn.Module,
    path: str | Path,
    *,
    example: Tensor | tuple[Any, ...],
    to: Format | None = None,
    about: str = "",
    batch_dim: int = 0,
    force: bool = False,
) -> Exported:
    """Write a plain network to a file that needs nothing of nasp, and check what was written.

    Args:
        network: such as ``found.build()`` returns. Drop-path is left out.
        path: the file. Source, ``.py``, has its weights beside it, in a ``.safetensors`` file.
        example: the arguments of the network's forward, such as a batch of images.
        to: ``"python"``, ``"onnx"`` or ``"torch"``; default by the ending of `path`.
        about: said in the file, such as the genotype.
        batch_dim: the dimension of the example's tensors that counts examples.
        force: overwrite files that are there.

    Raises:
        UsageError: a file is there already, the network cannot be written in that format, or
            cannot be run on the example.
        NaspError: the written network does not agree with the network, or the disk is full.
    """
    file = Path(path)
    chosen = format_of(file, to)
    files = written_files(file, chosen)
    refuse_existing(files, force)
    arguments = Example(example if isinstance(example, tuple) else (example,), batch_dim)
    arguments.run(network)
    state = random.getstate()
    try:
        with torch.random.fork_rng(devices=[]):
            contents, difference = FORMATS[chosen][1](network, arguments, about)
    finally:
        random.setstate(state)
    # The file itself comes last: what is there can be used.
    for target, content in reversed([*zip(files, contents, strict=True)]):
        write_atomic(target, methodcaller("write", content))
    return Exported(chosen, files, difference)


def format_of(path: Path | None, to: str | None) -> Format:
    """Return the format that is asked for, by its name or by a file's ending.

    Raises:
        UsageError: there is no such format, or the ending says none.
    """
    if to is None and path is None:
        return "python"
    for name, (suffixes, _) in FORMATS.items():
        if to == name or (to is None and path is not None and path.suffix == suffixes[0]):
            return name
    if to is not None:
        raise unknown_name("format", to, list(FORMATS))
    endings = ", ".join(suffixes[0] for suffixes, _ in FORMATS.values())
    raise UsageError(f"Say the format of {path}, by --to or its ending: {endings}.")


def written_files(path: Path, to: Format) -> tuple[Path, ...]:
    """Return all files that an export to a path writes; a path without ending gets the format's."""
    first, *others = FORMATS[to][0]
    file = path if path.suffix else path.with_suffix(first)
    return (file, *(file.with_suffix(suffix) for suffix in others))


def refuse_existing(files: tuple[Path, ...], force: bool) -> None:
    """Refuse to overwrite.

    Raises:
        UsageError: a file is there, and `force` is not set; or a folder is in its place.
    """
    for file in files:
        if file.is_dir():
            raise UsageError(f"{file} is a folder: give a file's name.")
        if file.exists() and not force:
            raise UsageError(f"{file} is there already: say --force (force=True) to overwrite it.")
