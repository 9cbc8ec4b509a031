"""A found network leaves the library: as Python source, as ONNX, as a program of torch.export."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import methodcaller
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from nasp.errors import UsageError, unknown_name
from nasp.exporters.examples import example_of
from nasp.exporters.onnx import onnx_model
from nasp.exporters.pt2 import torch_program
from nasp.exporters.service import Service
from nasp.exporters.source.python import python_source
from nasp.runs.files import write_atomic

Format = Literal["python", "onnx", "torch"]
Make = Callable[..., tuple[list[bytes], float]]
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
    example: Any,
    to: Format | None = None,
    about: str = "",
    service: Service | None = None,
    raw: bool = False,
    batch_dim: int | None = 0,
    batch: int | None = None,
    dynamic: Sequence[int] = (),
    opset: int | None = None,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    force: bool = False,
) -> Exported:
    """Write a plain network to a file that needs nothing of nasp, and check what was written.

    Args:
        network: such as ``found.build()`` returns. Drop-path is left out.
        path: the file. Source, ``.py``, has its weights beside it, in a ``.safetensors`` file.
        example: what the network's forward takes: a tuple of its arguments, a dictionary of its
            keyword arguments, or its one argument, of any structure.
        to: ``"python"``, ``"onnx"`` or ``"torch"``; default by the ending of `path`.
        about: said in the file, such as the genotype.
        service: how the network is used on files; the file carries it, and source has then a
            function ``predict(path)``.
        raw: a program of ``torch`` that takes the bytes of files, and prepares them itself.
        batch_dim: the dimension of the example's tensors that counts examples, whose size is free
            in ONNX and ``torch``; None: all sizes are fixed as the example's.
        batch: or fix them for so many examples.
        dynamic: other dimensions whose sizes are free there, such as ``(2, 3)``, height and width.
        opset: of ONNX; default torch's choice.
        input_names: of an ONNX model; default the names of forward's parameters.
        output_names: of an ONNX model; default torch's.
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
    if chosen == "python" and (batch is not None or dynamic):
        raise UsageError("A source file takes any sizes: batch and dynamic are for onnx and torch.")
    asked = {"opset": opset, "input_names": input_names, "output_names": output_names}
    options = {name: value for name, value in asked.items() if value}
    if options and chosen != "onnx":
        raise UsageError(f"{next(iter(options))} is for ONNX alone: leave it out, or say onnx.")
    if raw:
        if service is None or chosen != "torch":
            raise UsageError(
                "Raw bytes are for --to torch, and for a network whose preparation of files is"
                " known: leave out raw, or export the run of a training on files."
            )
        if batch is not None or dynamic:
            raise UsageError("Raw bytes come in batches of any size: leave out batch and dynamic.")
        network, example, dynamic = service.behind(network)
    arguments = example_of(network, example, batch_dim, tuple(dynamic))
    if batch is not None:
        arguments = arguments.of(batch).fixed()
    arguments.run(network)
    state = random.getstate()
    try:
        with torch.random.fork_rng(devices=[]):
            contents, difference = FORMATS[chosen][1](network, arguments, about, service, **options)
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
