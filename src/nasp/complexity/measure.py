"""Measures what every candidate of a supernet costs."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn

from nasp.complexity.calls import Calls, runs_restored, total
from nasp.complexity.costs import Cost, running_parameters
from nasp.complexity.table import CostTable
from nasp.supernet.choice import Choice
from nasp.supernet.path import Path
from nasp.supernet.supernet import Supernet


def cost_table(supernet: Supernet, cost: Cost, calls: Calls | None, rest: bool = True) -> CostTable:
    """Measure every candidate of every edge, and what is left of the network.

    Args:
        supernet: left as it is.
        cost: what is measured.
        calls: what the network and its choices are called with, by `record_calls`; None for a
            cost that needs no inputs.
        rest: whether the network is measured too; False takes what is left of it as 0.
    """
    enclosing = dict(_enclosing(supernet.network, None))

    def whole(module: nn.Module, owner: nn.Module) -> float:
        return total(cost, module, None if calls is None else calls[owner])

    first = _first_path(supernet)
    with runs_restored(supernet):
        supernet.single(first)
        measured = {
            choice: [whole(operation, choice) for operation in choice.operations]
            for choice in enclosing
        }
        fixed = whole(supernet.network, supernet.network) if rest else 0.0
    own = {choice: list(costs) for choice, costs in measured.items()}
    place = {c: edge for edge, choices in enumerate(supernet.choices()) for c in choices}
    for choice, outer in enclosing.items():
        if first[place[choice]] is None:
            continue
        if outer is None:
            fixed -= measured[choice][0]
        else:
            own[outer[0]][outer[1]] -= measured[choice][0]
    rows, parents = [], []
    for choices in supernet.choices():
        costs = zip(*(own[choice] for choice in choices), strict=True)
        # What is left of a measured time may come out below zero.
        rows.append(tuple(max(0.0, sum(each)) for each in costs))
        outers = {outer and (place[outer[0]], outer[1]) for outer in map(enclosing.get, choices)}
        parents.append(outers.pop() if len(outers) == 1 else None)
    groups = tuple(supernet.groups)
    return CostTable(supernet.tables, groups, tuple(rows), tuple(parents), max(0.0, fixed))


def parameter_counts(supernet: Supernet) -> dict[str, Tensor]:
    """Return p_k: the parameters of every candidate, summed over the edges that share a row.

    Returns:
        Table -> ``[edges, candidates]``, of the alphas' type.
    """
    counts = cost_table(supernet, running_parameters, None).candidates()
    return {name: counts[name].to(a.detach()) for name, a in supernet.alphas.items()}


def _first_path(supernet: Supernet) -> Path:
    """Return the path of every edge's first candidate, and each node's first edges."""
    off = {edge for group in supernet.groups for edge in group.edges[group.keep :]}
    return tuple(None if edge in off else 0 for edge in range(len(supernet.edges)))


def _enclosing(
    module: nn.Module, outer: tuple[Choice, int] | None
) -> Iterator[tuple[Choice, tuple[Choice, int] | None]]:
    if isinstance(module, Choice):
        yield module, outer
        for k, operation in enumerate(module.operations):
            yield from _enclosing(operation, (module, k))
        return
    for child in module.children():
        yield from _enclosing(child, outer)
