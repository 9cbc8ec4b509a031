"""Measures what every candidate of a supernet costs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from torch import Tensor, nn

from nasp.complexity.calls import Calls, total
from nasp.complexity.costs import Cost
from nasp.complexity.table import Common, CostTable, Parent
from nasp.supernet.choice import Choice
from nasp.supernet.path import Path
from nasp.supernet.supernet import Supernet


def cost_table(supernet: Supernet, cost: Cost, calls: Calls, rest: bool = True) -> CostTable:
    """Measure every candidate of every edge, and what is left of the network.

    Args:
        supernet: left as it is.
        cost: what is measured.
        calls: what the network and its choices are called with, by `record_calls`.
        rest: whether the network is measured too; False takes what is left of it as 0.
    """
    enclosing = dict(_enclosing(supernet.network, None))

    def whole(module: nn.Module, owner: nn.Module) -> float:
        return total(cost, module, calls[owner])

    first = _first_path(supernet)
    with supernet.runs_restored():
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
    rows = []
    for choices in supernet.choices():
        costs = zip(*(own[choice] for choice in choices), strict=True)
        # What is left of a measured time may come out below zero.
        rows.append(tuple(max(0.0, sum(each)) for each in costs))
    return _table(supernet, rows, max(0.0, fixed))


def parameter_table(supernet: Supernet, rest: bool = True) -> CostTable:
    """Count every candidate's parameters, and those of the network beside them.

    A parameter that stands at several places is one, as it is in the network that is built.

    Args:
        supernet: left as it is.
        rest: whether the network is counted too; False takes what is left of it as 0.
    """
    place = {c: edge for edge, choices in enumerate(supernet.choices()) for c in choices}
    sizes: dict[nn.Parameter, int] = {}
    holders: dict[nn.Parameter, set[Parent | None]] = {}
    for choice, k, module in set(_modules(supernet.network, None, 0)):
        for parameter in module.parameters(recurse=False):
            sizes[parameter] = parameter.numel()
            owner = None if choice is None else (place[choice], k)
            holders.setdefault(parameter, set()).add(owner)
    own = [[0.0] * len(names) for names in supernet.candidates]
    fixed, common = 0, Counter[tuple[Parent, ...]]()
    for parameter, owners in holders.items():
        held = tuple(sorted(owner for owner in owners if owner is not None))
        if None in owners:
            fixed += sizes[parameter]
        elif len({edge for edge, _ in held}) > 1:
            common[held] += sizes[parameter]
        else:
            for edge, k in held:
                own[edge][k] += sizes[parameter]
    shared = tuple(Common(held, amount) for held, amount in sorted(common.items()))
    return _table(supernet, [tuple(row) for row in own], float(fixed * rest), shared)


def parameter_counts(supernet: Supernet) -> dict[str, Tensor]:
    """Return p_k: the parameters of every candidate, over all edges that share a row.

    Returns:
        Table -> ``[edges, candidates]``, of the alphas' type.
    """
    counts = parameter_table(supernet).candidates()
    return {name: counts[name].to(a.detach()) for name, a in supernet.alphas.items()}


def _table(
    supernet: Supernet,
    own: list[tuple[float, ...]],
    fixed: float,
    common: tuple[Common, ...] = (),
) -> CostTable:
    place = {c: edge for edge, choices in enumerate(supernet.choices()) for c in choices}
    outers: list[set[Parent | None]] = [set() for _ in own]
    for choice, outer in _enclosing(supernet.network, None):
        outers[place[choice]].add(None if outer is None else (place[outer[0]], outer[1]))
    is_exact = all(len(found) == 1 for found in outers)
    parents = tuple(found.pop() if len(found) == 1 else None for found in outers)
    groups = tuple(supernet.groups)
    return CostTable(supernet.tables, groups, tuple(own), parents, fixed, common, is_exact)


def _first_path(supernet: Supernet) -> Path:
    """Return the path of every edge's first candidate, and each node's first edges."""
    off = {edge for group in supernet.groups for edge in group.edges[group.keep :]}
    return tuple(None if edge in off else 0 for edge in range(len(supernet.edges)))


def _modules(
    module: nn.Module, choice: Choice | None, k: int
) -> Iterator[tuple[Choice | None, int, nn.Module]]:
    """Yield each module with the candidate that it lies in, the innermost."""
    if isinstance(module, Choice):
        for index, operation in enumerate(module.operations):
            yield from _modules(operation, module, index)
        return
    yield choice, k, module
    for child in module.children():
        yield from _modules(child, choice, k)


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
