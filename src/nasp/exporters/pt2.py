"""Export as a program of `torch.export`, read again and compared with the network."""

from __future__ import annotations

import io

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from nasp.errors import NaspError
from nasp.exporters.examples import Example, evaluating, farthest, first_line


def torch_program(network: nn.Module, example: Example, about: str = "") -> tuple[bytes, float]:
    """Return a network as a .pt2 program for any batch, and its largest difference.

    Args:
        network: a plain module; written as it is in evaluation.
        example: arguments of its forward.
        about: kept in the file's ``about.txt`` (``torch.export.load(..., extra_files=...)``).

    Returns:
        The file's content, and the largest absolute difference between the outputs of the program
        read from it and the network's, for batches of 1 and 5.

    Raises:
        NaspError: torch cannot export the network, or the outputs do not agree.
    """
    several = example.of(2)  # torch.export takes a batch of 1 for a constant
    batch = torch.export.Dim("batch")
    sizes = several.mapped(lambda _: {example.batch_dim: batch})
    buffer = io.BytesIO()
    with evaluating(network):
        try:
            program = torch.export.export(network, several.arguments, dynamic_shapes=sizes)
            torch.export.save(program, buffer, extra_files={"about.txt": about})
        except Exception as error:  # whatever torch and its parts raise
            raise NaspError(
                f"torch.export cannot export this network: {first_line(error)}"
            ) from error
        content = buffer.getvalue()
        read = torch.export.load(io.BytesIO(content)).module()

        def run(some: Example) -> list[Tensor]:
            leaves = pytree.tree_leaves(read(*some.arguments))
            return [leaf for leaf in leaves if isinstance(leaf, Tensor)]

        difference = farthest(network, run, example)
    return content, difference
