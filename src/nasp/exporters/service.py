"""What an exported network carries along: how a file becomes its input, what its outputs mean."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from torch import Tensor, nn

from nasp.exporters.source.imports import Imports
from nasp.exporters.source.layout import laid_out


class Service(Protocol):
    """How a network that tells classes apart is used on files; a kind of data has its own."""

    @property
    def classes(self) -> Sequence[str]:
        """Their names, in the order of the network's outputs."""
        ...

    def tensor(self, file: str | Path) -> Tensor:
        """Return what the network takes of a file, without a dimension for the batch.

        Raises:
            NaspError: the file is damaged.
        """
        ...

    def raw(self, file: str | Path) -> Tensor:
        """Return the bytes of a file as a network `behind` it takes them, uint8."""
        ...

    def behind(self, network: nn.Module) -> tuple[nn.Module, Tensor, tuple[int, ...]]:
        """Return the network behind what prepares raw bytes.

        Returns:
            A module from raw bytes to the network's output, two examples of its input, and the
            dimensions beside the batch's whose sizes are free.
        """
        ...

    def said(self) -> str:
        """Return all of it as JSON."""
        ...

    def source(self) -> tuple[Sequence[tuple[str, str]], str]:
        """Return source of a function ``prepare(path)``, which does what `tensor` does.

        Returns:
            What it imports, as module and name (an empty name imports the module), and the source.
        """
        ...


SAID = "service.json"
"""The name under which ONNX and torch keep what a service says of itself."""

OWN_NAMES = frozenset({"CLASSES", "cache", "loaded", "predict", "prepare", "sys"})
"""Names that the source of a service uses beside those of `Service.source`."""

_PREDICT = '''@cache
def loaded() -> Network:
    """Return the network of `load`, read once."""
    return load()


@torch.inference_mode()
def predict(path: str | Path) -> dict[str, float]:
    """Return the probability of each class for a file, the likeliest first."""
    scores = loaded()(prepare(path)[None])[0].softmax(0)
    order = scores.argsort(descending=True, stable=True)
    return {CLASSES[i]: float(scores[i]) for i in order.tolist()}'''


def service_bodies(service: Service, imports: Imports) -> Iterator[list[str]]:
    """Yield what the file of a network in service has: its classes and its functions."""
    needed, source = service.source()
    for module, name in (("functools", "cache"), *needed):
        imports.bare(module, name)
    imports.module(sys, "sys")
    names = imports.literal(tuple(service.classes), "A class")
    yield list(laid_out(f"CLASSES = {names}", 0))
    yield source.splitlines()
    yield _PREDICT.splitlines()


def predict_all() -> Iterator[str]:
    """Yield what such a file does with the paths that it is run with."""
    yield "    for path in sys.argv[1:]:"
    yield "        name, probability = next(iter(predict(path).items()))"
    yield '        print(f"{path}: {name} ({probability:.1%})")'
