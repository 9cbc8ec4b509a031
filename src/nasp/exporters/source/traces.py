"""A module's forward as a graph of calls, without what does nothing to the result."""

from __future__ import annotations

import keyword
import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import fx, nn
from torchvision.ops import StochasticDepth

from nasp.exporters.source.constructors import own_tensors, submodules
from nasp.supernet.derive import graph_of

SUMS: frozenset[Any] = frozenset({torch.add, operator.add})
"""The functions that add."""
NAME = "name"
"""Key of a node's meta data: what its value should be called."""
_ZERO = "zero"


def is_ours(module: nn.Module) -> bool:
    """Tell whether a module is written out as a graph: one of nasp's spaces, or one of `derive`."""
    return isinstance(module, fx.GraphModule) or type(module).__module__.startswith("nasp.")


def passes_on(module: nn.Module) -> bool:
    """Tell whether a module returns its input in a network that is used, not trained."""
    return isinstance(module, nn.Identity | StochasticDepth)


def essence(module: nn.Module) -> tuple[nn.Module, str]:
    """Return what a module comes to, and its path in it: of ``Sequential(op, drop_path)`` op."""
    path: list[str] = []
    while type(module) is nn.Sequential:
        acting = [(n, child) for n, child in submodules(module).items() if not passes_on(child)]
        if len(acting) > 1:
            break
        name, module = acting[0] if acting else ("", nn.Identity())
        path += [name] if name else []
    return module, ".".join(path)


def simplified(module: nn.Module) -> fx.Graph:
    """Return the graph of one of our modules; its targets are paths in the module.

    The sum at a node is written out in the cell that has the node. What passes its input on is
    left out, and so are the addition of a `none` edge and all that nothing reads.
    """
    graph = _Tracer().trace(module)
    for node in graph.nodes:
        if node.target in SUMS and any(_is_zero(term) for term in node.args):
            node.replace_all_uses_with(node.args[1 if _is_zero(node.args[0]) else 0])
    for node in reversed(graph.nodes):
        if not node.users and node.op not in ("placeholder", "output") and not _changes(node):
            graph.erase_node(node)
    return graph


def chain(names: Sequence[str]) -> fx.Graph:
    """Return the graph of a `Sequential` whose submodules have these names."""
    graph = fx.Graph()
    value = graph.placeholder("x")
    for name in names:
        value = graph.call_module(name, (value,))
    graph.output(value)
    return graph


class _Tracer(fx.Tracer):
    """Goes into the modules that are so small that they stand in the graph that calls them."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        del module_qualified_name
        return not _is_small(essence(m)[0])

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: Any, kwargs: dict[str, Any]
    ) -> Any:
        if passes_on(essence(m)[0]):
            return args[0]
        result = super().call_module(m, forward, args, kwargs)
        node = getattr(result, "node", None)
        if node is not None and node.op == "call_function":
            node.meta[NAME] = attribute_name(self.path_of_module(m))
            # Our own `Zero` says its memory format; its output has the shape of its rivals'.
            node.meta[_ZERO] = node.target is torch.zeros_like and "memory_format" in node.kwargs
        return result


def _is_small(module: nn.Module) -> bool:
    """Tell whether a module of ours calls no submodule, or is the sum of those of its inputs."""
    if not is_ours(module) or own_tensors(module):
        return False
    graph = graph_of(module)
    calls = [node for node in graph.nodes if node.op == "call_module"]
    functions = [node for node in graph.nodes if node.op in ("call_function", "call_method")]
    if not calls:
        return len(functions) <= 8
    from_inputs = all(_is_input(argument) for node in calls for argument in node.args)
    return from_inputs and all(f.target in SUMS or _is_input(f) for f in functions)


def _is_input(value: Any) -> bool:
    while isinstance(value, fx.Node) and value.target is operator.getitem:
        value = value.args[0]
    return isinstance(value, fx.Node) and value.op == "placeholder"


def _is_zero(value: Any) -> bool:
    return isinstance(value, fx.Node) and bool(value.meta.get(_ZERO))


def _changes(node: fx.Node) -> bool:
    """Tell whether a call changes its arguments in place, by torch's way to name such."""
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    return node.op != "call_module" and (name.endswith("_") or node.target is operator.setitem)


def attribute_name(path: str) -> str:
    """Return a path as the name of an attribute: ``nodes.0.edges.1`` is ``node0_edge1``."""
    words: list[str] = []
    for part in path.split("."):
        if part.isdigit():
            words.append(f"{singular(words.pop()) if words else 'layer'}{part}")
        else:
            words.append(part)
    name = re.sub(r"\W", "_", "_".join(words))
    if keyword.iskeyword(name) or hasattr(nn.Module, name) or name in vars(nn.Module()):
        name += "_"
    return name if not name[0].isdigit() else f"layer{name}"


def singular(word: str) -> str:
    """Return a list's name as that of one of its items."""
    return word[:-1] if len(word) > 2 and word.endswith("s") and not word.endswith("ss") else word


@dataclass(frozen=True, eq=False)
class Loop:
    """Calls of the items of a list, one after the other, each of what those before it returned.

    Attributes:
        path: the list.
        nodes: the calls, three or more.
        starts: the values that the first call finds as the results before it, oldest first.
        offsets: for each argument how many calls ago it was returned, from 1.
    """

    path: str
    nodes: list[fx.Node]
    starts: list[fx.Node]
    offsets: list[int]


def loops(graph: fx.Graph) -> list[Loop]:
    """Return the chains of calls that a loop can say, in order."""
    calls: dict[str, list[fx.Node]] = {}
    for node in graph.nodes:
        calls.setdefault(str(node.target).rpartition(".")[0], []).append(node)
    found = (_loop(path, nodes) for path, nodes in calls.items() if path and len(nodes) > 2)
    return [loop for loop in found if loop is not None]


def _loop(path: str, nodes: list[fx.Node]) -> Loop | None:
    """Return the calls of a list's items as a loop, where they are one."""
    last = nodes[-1]
    in_order = [str(node.target) for node in nodes] == [f"{path}.{i}" for i in range(len(nodes))]
    in_a_row = all(one.next is other for one, other in pairwise(nodes))
    if not in_order or not in_a_row or not all(argument in nodes for argument in last.args):
        return None
    offsets = [len(nodes) - 1 - nodes.index(argument) for argument in last.args]  # type: ignore[arg-type]
    width = max(offsets, default=0)
    starts: dict[int, Any] = {}
    for index, node in enumerate(nodes[:width]):
        pairs = zip(offsets, node.args, strict=False)
        starts |= {index - offset: argument for offset, argument in pairs if offset > index}
    series: list[Any] = [*(starts.get(place) for place in range(-width, 0)), *nodes]
    wanted = [tuple(series[width + i - offset] for offset in offsets) for i in range(len(nodes))]
    follow = [(node.args, node.kwargs) for node in nodes] == [(args, {}) for args in wanted]
    is_hidden = all(user in nodes for node in nodes[:-width] for user in node.users)
    starts_before = not any(start is None or start in nodes for start in series[:width])
    if 0 < width < len(nodes) and follow and is_hidden and starts_before:
        return Loop(path, nodes, series[:width], offsets)
    return None
