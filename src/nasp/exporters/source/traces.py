"""A module's forward as a graph of calls, without what does nothing to the result."""

from __future__ import annotations

import keyword
import operator
import re
from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import fx, nn
from torchvision.ops import StochasticDepth

NAME = "name"
"""Key of a node's meta data: what its value should be called."""
_SUMS = (torch.add, operator.add)
_IN_THEIR_CALLER = ("Sum", "Zero", "Nothing")
"""Our modules, or graphs of them, that are so small that they stand in the graph that calls them:
the sum at a node of a cell, and zeros."""


def is_ours(module: nn.Module) -> bool:
    """Tell whether a module is written out as a graph: one of nasp's spaces, or one of `derive`."""
    return isinstance(module, fx.GraphModule) or type(module).__module__.startswith("nasp.")


def submodules(module: nn.Module) -> dict[str, nn.Module]:
    """Return all submodules with their names; unlike `named_children`, one used twice twice."""
    return {name: child for name, child in module._modules.items() if child is not None}


def passes_on(module: nn.Module) -> bool:
    """Tell whether a module returns its input in a network that is used, not trained."""
    return isinstance(module, nn.Identity | StochasticDepth)


def essence(module: nn.Module, path: str = "") -> tuple[nn.Module, str]:
    """Return what a module comes to, and its path: of ``Sequential(op, drop_path)`` op and 0."""
    acting = {n: child for n, child in submodules(module).items() if not passes_on(child)}
    if type(module) is not nn.Sequential or len(acting) > 1:
        return module, path
    for name, child in acting.items():
        return essence(child, f"{path}.{name}".strip("."))
    return nn.Identity(), path


def simplified(module: nn.Module) -> fx.Graph:
    """Return the graph of a chain or of one of our modules; its targets are paths in the module.

    The sum at a node is written out in the cell that has the node. What passes its input on is
    left out, and so are the addition of a `none` edge and all that nothing reads.
    """
    tracer = _Tracer()
    graph = tracer.trace(module)
    if type(module) is nn.Sequential:
        graph.find_nodes(op="placeholder")[0].target = "x"  # torch's name for it is a builtin's
    for node in graph.nodes:
        zeros = [term in tracer.zeros for term in node.args] if node.target in _SUMS else []
        if any(zeros):
            node.replace_all_uses_with(node.args[zeros.index(True) - 1])
    graph.eliminate_dead_code(_has_effect)
    return graph


class _Tracer(fx.Tracer):
    """Goes into the modules that stand in the graph that calls them."""

    def __init__(self) -> None:
        super().__init__()
        self.zeros: list[fx.Node] = []

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        del module_qualified_name
        inner = essence(m)[0]
        return not (is_ours(inner) and type(inner).__name__ in _IN_THEIR_CALLER)

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: Any, kwargs: dict[str, Any]
    ) -> Any:
        inner = essence(m)[0]
        if passes_on(inner):
            return args[0]
        result = super().call_module(m, forward, args, kwargs)
        node = getattr(result, "node", None)
        if node is not None and node.op == "call_function":
            node.meta[NAME] = attribute_name(self.path_of_module(m))
            is_zero = type(inner).__name__ == "Zero" and node.target is torch.zeros_like
            self.zeros += [node] * is_zero
        return result


def _has_effect(node: fx.Node) -> bool:
    """Tell whether a call changes its arguments in place, by torch's way to name such."""
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    is_change = node.op != "call_module" and (name[-1:] == "_" or node.target is operator.setitem)
    return node.op in ("placeholder", "output") or is_change


def attribute_name(path: str) -> str:
    """Return a path as the name of an attribute: ``nodes.0.edges.1`` is ``node0_edge1``."""
    words: list[str] = []
    for part in path.split("."):
        if part.isdigit():
            part = f"{singular(words.pop()) if words else 'layer'}{part}"
        words.append(part)
    name = re.sub(r"\W", "_", "_".join(words))
    if keyword.iskeyword(name) or hasattr(nn.Module, name) or name in vars(nn.Module()):
        name += "_"
    return name if not name[0].isdigit() else f"layer{name}"


def singular(word: str) -> str:
    """Return a list's name as that of one of its items."""
    return word[:-1] if len(word) > 2 and word.endswith("s") and not word.endswith("ss") else word


class Loop(NamedTuple):
    """Calls of the items of a list, one after the other, each of what those before it returned."""

    path: str  # the list
    nodes: list[fx.Node]  # the calls, three or more
    starts: list[fx.Node]  # what the first finds as the results before it, oldest first
    offsets: list[int]  # for each argument how many calls ago it was returned, from 1


def loops(graph: fx.Graph) -> list[Loop]:
    """Return the chains of calls that a loop can say, in order."""
    calls: dict[str, list[fx.Node]] = {}
    for node in graph.nodes:
        calls.setdefault(str(node.target).rpartition(".")[0], []).append(node)
    found = (_loop(path, nodes) for path, nodes in calls.items() if path and len(nodes) > 2)
    return [loop for loop in found if loop is not None]


def _loop(path: str, nodes: list[fx.Node]) -> Loop | None:
    """Return the calls of a list's items as a loop, where they are one."""
    count, last = len(nodes), nodes[-1]
    offsets = [count - 1 - nodes.index(each) for each in last.args if each in nodes]  # type: ignore[arg-type]
    width = max(offsets, default=0)
    series: dict[int, Any] = dict(enumerate(nodes))  # results by their places, -1 before the first
    fits = [str(node.target) for node in nodes] == [f"{path}.{i}" for i in range(count)]
    fits &= all(one.next is other for one, other in pairwise(nodes)) and 0 < width < count
    for index, node in enumerate(nodes):
        fits &= len(node.args) == len(offsets) and not node.kwargs
        for offset, argument in zip(offsets, node.args, strict=False):
            fits &= series.setdefault(index - offset, argument) is argument
    starts = [series.get(place) for place in range(-width, 0)]
    fits &= not any(start is None or start in nodes for start in starts)
    is_hidden = all(user in nodes for node in nodes[:-width] for user in node.users)
    return Loop(path, nodes, starts, offsets) if fits and is_hidden else None  # type: ignore[arg-type]
