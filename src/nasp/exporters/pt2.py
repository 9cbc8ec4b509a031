"""Export as a program of `torch.export`, read again and compared with the network."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from nasp.exporters.examples import Example, checked_program


def torch_program(
    network: nn.Module, example: Example, about: str = ""
) -> tuple[list[bytes], float]:
    """Return a network as a .pt2 program, and its largest difference; see `checked_program`.

    Args:
        network: a plain module.
        example: arguments of its forward.
        about: kept in the file's ``about.txt`` (``torch.export.load(..., extra_files=...)``).
    """

    def export(arguments: tuple[Any, ...], sizes: Any) -> bytes:
        program = torch.export.export(network, arguments, dynamic_shapes=sizes)
        buffer = io.BytesIO()
        torch.export.save(program, buffer, extra_files={"about.txt": about})
        return buffer.getvalue()

    def read(content: bytes) -> Callable[[Example], list[Tensor]]:
        program = torch.export.load(io.BytesIO(content)).module()

        def run(some: Example) -> list[Tensor]:
            leaves = pytree.tree_leaves(program(*some.arguments))
            return [leaf for leaf in leaves if isinstance(leaf, Tensor)]

        return run

    return checked_program("torch.export", network, example, export, read)
