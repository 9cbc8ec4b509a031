"""A found network leaves the library: as Python source, as ONNX, as a program of torch.export."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from nasp.errors import UsageError, unknown_name
from nasp.exporters.examples import Example
from nasp.exporters.onnx import onnx_model
from nasp.exporters.pt2 import torch_program
from nasp.exporters.source.python import python_source
from nasp.runs.files import write_atomic, write_text_atomic
from nasp.runs.folder import save_tensors

Format = Literal["python", "onnx", "torch"]
SUFFIXES: dict[str, Format] = {".py": "python", ".onnx": "onnx", ".pt2": "torch"}
"""The formats by the endings of their files."""


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
    if chosen == "python":
        source = python_source(network, arguments, about)
        save_tensors(files[1], source.weights)
        write_text_atomic(file, source.text)
        return Exported(chosen, files, 0.0)
    make = onnx_model if chosen == "onnx" else torch_program
    with torch.random.fork_rng(devices=[]):
        content, difference = make(network, arguments, about)
    write_atomic(file, lambda stream: stream.write(content))
    return Exported(chosen, files, difference)


def format_of(path: Path | None, to: str | None) -> Format:
    """Return the format that is asked for, by its name or by a file's ending.

    Raises:
        UsageError: there is no such format, or the ending says none.
    """
    if to is not None:
        for suffix in SUFFIXES.values():
            if to == suffix:
                return suffix
        raise unknown_name("format", to, list(SUFFIXES.values()))
    if path is None:
        return "python"
    if path.suffix not in SUFFIXES:
        raise UsageError(f"Say the format of {path}, by --to or its ending: {', '.join(SUFFIXES)}.")
    return SUFFIXES[path.suffix]


def written_files(path: Path, to: Format) -> tuple[Path, ...]:
    """Return all files that an export to a path writes; a path without ending gets the format's."""
    suffix = next(suffix for suffix, name in SUFFIXES.items() if name == to)
    file = path if path.suffix else path.with_suffix(suffix)
    return (file, file.with_suffix(".safetensors")) if to == "python" else (file,)


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
