"""The body of a forward method, from the graph of a module."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import fx

from nasp.exporters.source.imports import Code, Imports, unused
from nasp.exporters.source.layout import INDENT, call
from nasp.exporters.source.traces import NAME, Loop, loops, singular

SHORT = 64
"""Characters up to which an expression may stand inside another."""

_OPERATORS: dict[Any, tuple[str, str, int]] = {
    operator.add: ("+", "total", 0),
    torch.add: ("+", "total", 0),
    operator.sub: ("-", "difference", 0),
    operator.mul: ("*", "product", 1),
    operator.truediv: ("/", "quotient", 1),
    operator.floordiv: ("//", "quotient", 1),
    operator.matmul: ("@", "product", 1),
    operator.neg: ("-", "neg", 1),
}
"""Functions that are written as operators, what their results are called, and how they bind."""
_TIGHT = 2
"""How calls and names bind."""


class Forward(NamedTuple):
    """A forward method: the last line is ``return``, those inside a loop are indented."""

    parameters: dict[str, str | None]  # with their defaults
    lines: tuple[str, ...]
    is_typed: bool  # whether its result is known to be a tensor; what a submodule returns is not


def forward_of(graph: fx.Graph, attributes: Mapping[str, str], imports: Imports) -> Forward:
    """Return the forward method that computes what a graph computes, in the same order.

    Args:
        graph: calls of submodules and functions.
        attributes: the graph's targets -> the attributes that they have become; for the items of
            a list that `loops` finds, that of the list, by the list's path.
        imports: told what the body needs.
    """
    return _Writer(attributes, imports).forward(graph)


class _Writer:
    """Writes line by line.

    A value that is read once may stand inside the expression that reads it, where nothing is
    then computed earlier or later than it was: random numbers come in the same order.
    """

    def __init__(self, attributes: Mapping[str, str], imports: Imports) -> None:
        self.attributes = attributes
        self.imports = imports
        self.values: dict[fx.Node, str] = {}
        self.pending: list[fx.Node] = []  # computed by now, not yet written
        self.lines: list[str] = []
        self.taken = set(imports.taken)

    def forward(self, graph: fx.Graph) -> Forward:
        chains = {loop.nodes[0]: loop for loop in loops(graph)}
        in_chains = {node for loop in chains.values() for node in loop.nodes}
        inputs = {node: str(node.target) for node in graph.find_nodes(op="placeholder")}
        names = {node: name.lstrip("*") for node, name in inputs.items()}
        self.values |= {node: self.unused(name) for node, name in names.items()}
        if unread := [name for node, name in names.items() if not node.users]:
            self.lines.append(f"del {', '.join(unread)}")
        for node in graph.nodes:
            if node in chains:
                self.write_loop(chains[node])
            elif node not in in_chains and node not in inputs:
                self.compute(node)
        parameters = {t: self.code(n.args[0]) if n.args else None for n, t in inputs.items()}
        result, code = graph.output_node().args[0], self.values[graph.output_node()]
        is_typed = isinstance(result, tuple | list | dict) or code in parameters
        is_typed = is_typed or code.startswith(("torch.", "nn.functional."))
        return Forward(parameters, (*self.lines, f"return {code}"), is_typed)

    def compute(self, node: fx.Node) -> None:
        inside = [read for read in node.all_input_nodes if read in self.pending]
        if inside != self.pending[len(self.pending) - len(inside) :]:
            self.write_pending()
        if inside and len(self.value(node)) > SHORT:
            self.write_pending()
        self.values[node] = self.value(node)
        if node.op == "get_attr":
            return
        self.pending = [waiting for waiting in self.pending if waiting not in inside]
        self.pending += [node] * (node.op != "output")
        if not _is_read_once(node) or not _may_stand_in(node, next(iter(node.users))):
            self.write_pending()

    def write_pending(self) -> None:
        for node in self.pending:
            name = self.name(node)
            self.lines.append(f"{name} = {self.values[node]}")
            self.values[node] = name
        self.pending = []

    def name(self, node: fx.Node) -> str:
        """Return the variable of a node: that of its only input where nothing else reads it."""
        reads, target = node.all_input_nodes, node.target
        if node.op == "call_module":
            if len(reads) == 1 and _is_read_once(reads[0]) and self.values[reads[0]].isidentifier():
                return self.values[reads[0]]
            return self.unused(self.attributes[str(target)])
        if target is operator.getitem:
            target = reads[0].target if callable(reads[0].target) else "part"
        named = getattr(target, "__name__", str(target))
        named = _OPERATORS[target][1] if target in _OPERATORS else named
        return self.unused(node.meta.get(NAME, named))

    def unused(self, name: str) -> str:
        return unused(name, self.taken, "_")

    def write_loop(self, loop: Loop) -> None:
        self.write_pending()
        width = len(loop.starts)
        names = [f"before{i}" if width > 2 else "before" for i in range(width - 1, 0, -1)]
        names = [self.unused(name) for name in (*names, "last")]
        item = self.unused(singular(loop.path.rpartition(".")[2]))
        step = call(item, [names[width - offset] for offset in loop.offsets])
        states = ", ".join(names)
        self.lines += [
            f"{states} = {', '.join(self.values[node] for node in loop.starts)}",
            f"for {item} in self.{self.attributes[loop.path]}:",
            f"{INDENT}{states} = {', '.join([*names[1:], step])}",
        ]
        self.values |= zip(loop.nodes[-width:], names, strict=True)

    def value(self, node: fx.Node) -> str:
        """Return the expression that computes a node."""
        target: Any = node.target
        if node.op == "output":
            return self.code(node.args[0])
        if node.op == "get_attr":
            return f"self.{self.attributes[target]}"
        if node.op == "call_module":
            return self.called(f"self.{self.attributes[target]}", node.args, node.kwargs)
        if node.op == "call_method":
            return self.called(f"{self.part(node)}.{target}", node.args[1:], node.kwargs)
        if target is operator.getitem:
            return f"{self.part(node)}[{self.index(node.args[1])}]"
        if target is getattr:
            return f"{self.part(node)}.{node.args[1]}"
        if target is operator.neg:
            return f"-{self.part(node)}"
        if target in _OPERATORS and not node.kwargs:
            sign, _, bond = _OPERATORS[target]
            # `*` and `@` bind alike, which few readers know.
            first = self.part(node, 0, _TIGHT if sign == "@" else bond)
            return f"{first} {sign} {self.part(node, 1, bond + 1)}"
        name = self.imports.reference(target, f"The call of {target!r}")
        try:
            usual = {n: p.default for n, p in inspect.signature(target).parameters.items()}
        except (TypeError, ValueError):  # a builtin that does not say
            usual = {}
        named = {k: v for k, v in node.kwargs.items() if k not in usual or usual[k] != v}
        return self.called(name, node.args, named)

    def part(self, node: fx.Node, place: int = 0, bond: int = _TIGHT) -> str:
        """Return an argument of a node, in brackets where it binds less than it must."""
        value: Any = node.args[place]
        code = self.code(value)
        is_formula = isinstance(value, fx.Node) and not code.isidentifier()
        operation = _OPERATORS.get(value.target) if is_formula else None
        return f"({code})" if operation and operation[2] < bond else code

    def called(self, function: str, args: Any, kwargs: Mapping[str, Any]) -> str:
        named = [f"{name}={self.code(value)}" for name, value in kwargs.items()]
        return call(function, [*map(self.code, args), *named])

    def index(self, value: Any) -> str:
        """Return what stands in brackets: there, and nowhere else, a slice has colons."""
        if isinstance(value, tuple) and value:
            return ", ".join(map(self.index, value)) + "," * (len(value) == 1)
        if isinstance(value, slice):
            ends = (value.start, value.stop, value.step)
            first, last, step = ("" if end is None else self.code(end) for end in ends)
            return f"{first}:{last}" + f":{step}" * bool(step)
        return self.code(value)

    def code(self, value: Any) -> str:
        known = fx.node.map_arg(value, lambda node: Code(self.values[node]))
        return self.imports.literal(known, "The forward pass")


def _is_read_once(node: fx.Node) -> bool:
    reads: list[fx.Node] = []
    for user in node.users:
        fx.node.map_arg((user.args, user.kwargs), reads.append)
    return reads.count(node) == 1


def _may_stand_in(node: fx.Node, reader: fx.Node) -> bool:
    """Tell whether a value reads well inside the expression that reads it."""
    if reader.op == "output":
        return not isinstance(reader.args[0], tuple | list | dict) or node.op == "call_module"
    if node.target in _OPERATORS:
        return reader.target in _OPERATORS
    if reader.target is operator.getitem and node is not reader.args[0]:
        return False
    return not (node.op == reader.op == "call_module")
