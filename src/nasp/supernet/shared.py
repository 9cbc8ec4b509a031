"""Blocks that several candidates share: what runs for a comparison alone must not move them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from torch import nn

from nasp.supernet.choice import Choice
from nasp.supernet.path import Path


class Shared(NamedTuple):
    """A module with buffers of its own, such as a BatchNorm, that several candidates hold.

    Attributes:
        module: the module.
        holders: the candidates, by the number of their edge and their own.
        always: whether two candidates of one edge hold it, or the network beside all candidates.
    """

    module: nn.Module
    holders: frozenset[tuple[int, int]]
    always: bool

    def is_kept(self, path: Path) -> bool:
        """Tell whether a probe of a path must not move it by candidates that are not chosen."""
        return self.always or any(path[edge] == k for edge, k in self.holders)


def shared_blocks(network: nn.Module, choices: Sequence[Sequence[Choice]]) -> list[Shared]:
    """Return what the candidates of a network share.

    Args:
        network: has them inside.
        choices: of every edge.
    """
    held = Counter(child for module in network.modules() for child in module.children())
    parts = {m: None for block, times in held.items() if times > 1 for m in block.modules()}
    beside = set(_beside_candidates(network, set()))
    found = []
    for part in [part for part in parts if part._buffers]:
        holders = frozenset(
            (edge, k)
            for edge, alike in enumerate(choices)
            for choice in alike
            for k, operation in enumerate(choice.operations)
            if any(module is part for module in operation.modules())
        )
        is_on_one_edge = len({edge for edge, _ in holders}) < len(holders)
        if len(holders) > 1 or (holders and part in beside):
            found.append(Shared(part, holders, is_on_one_edge or part in beside))
    return found


def _beside_candidates(module: nn.Module, seen: set[nn.Module]) -> Iterator[nn.Module]:
    if module not in seen:
        seen.add(module)
        yield module
        if not isinstance(module, Choice):
            for child in module.children():
                yield from _beside_candidates(child, seen)
