"""A module as a graph of calls to its submodules, without what does nothing to the result."""

from __future__ import annotations

import keyword
import operator
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import fx, nn
from torch.fx.node import map_arg
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


def simplified(module: nn.Module) -> fx.Graph:
    """Return the graph of one of our modules; its targets are paths in the module.

    The sum at a node is written out in the cell that has the node. What passes its input on is
    left out, and so are the addition of a `none` edge and all that nothing reads.
    """
    graph = fx.Graph()
    graph.output(_copied(graph, graph_of(module), module, "", None))
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


def passes_on(module: nn.Module) -> bool:
    """Tell whether a module returns its input in a network that is used, not trained."""
    return isinstance(module, nn.Identity | StochasticDepth)


def essence(module: nn.Module) -> tuple[nn.Module, str]:
    """Return what a module comes to, and its path in it: of ``Sequential(op, drop_path)`` op."""
    path = ""
    while type(module) is nn.Sequential:
        acting = [(n, child) for n, child in submodules(module) if not passes_on(child)]
        if not acting:
            return nn.Identity(), path
        if len(acting) > 1:
            break
        module = acting[0][1]
        path = f"{path}.{acting[0][0]}" if path else acting[0][0]
    return module, path


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


def _copied(
    graph: fx.Graph,
    source: fx.Graph,
    module: nn.Module,
    prefix: str,
    given: tuple[tuple[Any, ...], dict[str, Any]] | None,
) -> Any:
    """Copy a module's graph into another, and return its result there.

    Args:
        graph: where to.
        source: the module's graph.
        module: finds what the source calls.
        prefix: stands before the source's paths: the module's own path in `graph`.
        given: the arguments of the call that the copy replaces; None copies the placeholders.
    """
    values: dict[fx.Node, Any] = {}
    placeholders = [node for node in source.nodes if node.op == "placeholder"]
    for index, node in enumerate(placeholders):
        values[node] = graph.node_copy(node) if given is None else _argument(node, index, *given)
    for node in source.nodes:
        if node.op == "placeholder":
            continue
        args = map_arg(node.args, values.__getitem__)
        kwargs = map_arg(node.kwargs, values.__getitem__)
        if node.op == "output":
            return args[0]
        if node.op == "call_module":
            values[node] = _called(graph, module, prefix, node.target, args, kwargs)
        elif node.target is operator.getitem and isinstance(args[0], tuple):
            values[node] = args[0][args[1]]
        elif node.target in SUMS and any(_is_zero(term) for term in args):
            values[node] = args[1] if _is_zero(args[0]) else args[0]
        elif node.op == "get_attr":
            values[node] = graph.create_node("get_attr", prefix + node.target)
        else:
            values[node] = graph.create_node(node.op, node.target, args, kwargs)
    raise AssertionError("a graph has an output")


def _argument(node: fx.Node, index: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if str(node.target).startswith("*"):
        return args[index:] if not str(node.target).startswith("**") else kwargs
    if index < len(args):
        return args[index]
    return kwargs[str(node.target)] if str(node.target) in kwargs else node.args[0]


def _called(
    graph: fx.Graph, module: nn.Module, prefix: str, target: str, args: Any, kwargs: Any
) -> Any:
    child, inside = essence(module.get_submodule(target))
    path = f"{prefix}{target}.{inside}" if inside else prefix + target
    if passes_on(child):
        return args[0]
    inner = graph_of(child) if is_ours(child) and not own_tensors(child) else None
    if inner is None or not _is_written_out(inner):
        return graph.call_module(prefix + target, args, kwargs)
    result = _copied(graph, inner, child, f"{path}.", (args, kwargs))
    if isinstance(result, fx.Node) and result.op == "call_function":
        result.meta[NAME] = attribute_name(prefix + target)
        # Our own `Zero` says its memory format; its output has the shape of its rivals'.
        result.meta[_ZERO] = result.target is torch.zeros_like and "memory_format" in result.kwargs
    return result


def _changes(node: fx.Node) -> bool:
    """Tell whether a call changes its arguments in place, by torch's way to name such."""
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    return node.op != "call_module" and (name.endswith("_") or node.target is operator.setitem)


def _is_zero(value: Any) -> bool:
    return isinstance(value, fx.Node) and bool(value.meta.get(_ZERO))


def _is_written_out(graph: fx.Graph) -> bool:
    """Tell whether a graph is so small that it stands in the one that calls it.

    It is one that calls no submodule, or the sum of submodules of its inputs.
    """
    calls = [node for node in graph.nodes if node.op == "call_module"]
    functions = [node for node in graph.nodes if node.op in ("call_function", "call_method")]
    if not calls:
        return len(functions) <= 8
    from_inputs = all(_is_input(argument) for node in calls for argument in node.args)
    return from_inputs and all(f.target in SUMS or _is_input(f) for f in functions)


def _is_input(value: Any) -> bool:
    if not isinstance(value, fx.Node):
        return False
    return value.op == "placeholder" or (
        value.target is operator.getitem and _is_input(value.args[0])
    )


@dataclass(frozen=True, eq=False)
class Chained:
    """Calls of the items of a list, one after the other, each of what those before it returned.

    Attributes:
        path: the list.
        nodes: the calls.
        starts: the values that the first call finds as the results before it, oldest first.
        offsets: for each argument how many calls ago it was returned, from 1.
    """

    path: str
    nodes: list[fx.Node]
    starts: list[fx.Node]
    offsets: list[int]


def loops(graph: fx.Graph) -> dict[fx.Node, Chained]:
    """Return the chains of calls that a loop can say, by their first call."""
    found = {}
    runs: list[list[fx.Node]] = []
    for before, node in pairwise([None, *graph.nodes]):
        if node is None or node.op != "call_module" or not _item(node):
            continue
        follows = runs and before is runs[-1][-1] and _item(node) == _next(_item(runs[-1][-1]))
        if follows:
            runs[-1].append(node)
        elif _item(node)[1] == 0:
            runs.append([node])
    for run in runs:
        path = _item(run[0])[0]
        others = [n for n in graph.nodes if str(n.target).startswith(f"{path}.") and n not in run]
        chained = None if others or len(run) < 3 else _chained(path, run)
        if chained is not None:
            found[run[0]] = chained
    return found


def _item(node: fx.Node) -> tuple[str, int]:
    path, _, index = str(node.target).rpartition(".")
    return (path, int(index)) if path and index.isdigit() else ("", -1)


def _next(item: tuple[str, int]) -> tuple[str, int]:
    return item[0], item[1] + 1


def _chained(path: str, nodes: list[fx.Node]) -> Chained | None:
    last = nodes[-1]
    if any(node.kwargs or len(node.args) != len(last.args) for node in nodes):
        return None
    read = [argument for argument in last.args if isinstance(argument, fx.Node)]
    if len(read) < len(last.args) or not all(argument in nodes for argument in read):
        return None
    offsets = [len(nodes) - 1 - nodes.index(argument) for argument in read]
    width = max(offsets, default=0)
    if not 1 <= width < len(nodes):
        return None
    starts: dict[int, Any] = {}
    for index, node in enumerate(nodes):
        for offset, argument in zip(offsets, node.args, strict=True):
            place = index - offset
            expected = nodes[place] if place >= 0 else starts.setdefault(place, argument)
            if argument is not expected or (place < 0 and argument in nodes):
                return None
    inside = nodes[:-width]
    read_inside = all(user in nodes for node in inside for user in node.users)
    is_whole = starts.keys() == set(range(-width, 0)) and read_inside
    return Chained(path, nodes, [starts[i] for i in sorted(starts)], offsets) if is_whole else None


def paths(graph: fx.Graph, op: str) -> list[str]:
    """Return the targets of one kind of nodes, each once, in order."""
    return list(dict.fromkeys(str(node.target) for node in graph.nodes if node.op == op))
