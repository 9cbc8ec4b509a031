"""Export as a program of `torch.export`, read again and compared with the network."""

from __future__ import annotations

import io
from collections.abc import Callable

import torch
from torch import Tensor, nn

from nasp.exporters.examples import Example, Tool, checked_program, parts_of
from nasp.exporters.service import SAID, Service


def torch_program(
    network: nn.Module, example: Example, about: str = "", service: Service | None = None
) -> tuple[list[bytes], float]:
    """Return a network as a .pt2 program, and its largest difference; see `checked_program`.

    Args:
        network: a plain module.
        example: arguments of its forward.
        about: kept in the file's ``about.txt`` (``torch.export.load(..., extra_files=...)``).
        service: how it is used on files, kept likewise.
    """
    extra = {"about.txt": about} | ({SAID: service.said()} if service else {})

    def export(some: Example) -> bytes:
        # torch finds out how others hang together, such as multiples of two in a U-Net.
        sizes = some.free_sizes(lambda _: torch.export.Dim.AUTO)
        program = torch.export.export(
            network, some.arguments, dict(some.named), dynamic_shapes=sizes
        )
        buffer = io.BytesIO()
        torch.export.save(program, buffer, extra_files=extra)
        return buffer.getvalue()

    def read(content: bytes) -> Callable[[Example], list[Tensor]]:
        program = torch.export.load(io.BytesIO(content)).module()

        def run(some: Example) -> list[Tensor]:
            return [part for part in parts_of(some.call(program)) if isinstance(part, Tensor)]

        return run

    return checked_program(Tool("torch.export", export, read), network, example)
