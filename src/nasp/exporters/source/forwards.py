"""The body of a forward method, from the graph of a module."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

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


@dataclass(frozen=True)
class Forward:
    """A forward method.

    Attributes:
        parameters: name -> default; None for a parameter without one.
        lines: its body; those inside a loop are indented. The last one is ``return``.
        is_typed: whether it is known what it returns; what a submodule returns is of any type.
    """

    parameters: Mapping[str, str | None]
    lines: tuple[str, ...]
    is_typed: bool


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
        inputs = graph.find_nodes(op="placeholder")
        for node in inputs:
            self.values[node] = self._unused(str(node.target).lstrip("*"))
        if unread := [str(node.target).lstrip("*") for node in inputs if not node.users]:
            self.lines.append(f"del {', '.join(unread)}")
        for node in graph.nodes:
            if node in chains:
                self._loop(chains[node])
            elif node.op == "get_attr":
                self.values[node] = f"self.{self.attributes[str(node.target)]}"
            elif node.op != "placeholder" and node not in in_chains:
                self._compute(node)
        parameters = {str(n.target): self._code(n.args[0]) if n.args else None for n in inputs}
        result, code = graph.output_node().args[0], self.values[graph.output_node()]
        is_typed = isinstance(result, tuple | list | dict) or code in parameters
        is_typed = is_typed or code.startswith(("torch.", "nn.functional."))
        return Forward(parameters, (*self.lines, f"return {code}"), is_typed)

    def _compute(self, node: fx.Node) -> None:
        inside = [read for read in node.all_input_nodes if read in self.pending]
        if inside != self.pending[len(self.pending) - len(inside) :]:
            self._write_pending()
        if inside and len(self._value(node)) > SHORT:
            self._write_pending()
        self.values[node] = self._value(node)
        self.pending = [waiting for waiting in self.pending if waiting not in inside]
        if node.op == "output":
            self._write_pending()
            return
        self.pending.append(node)
        if not _is_read_once(node) or not _may_stand_in(node, next(iter(node.users))):
            self._write_pending()

    def _write_pending(self) -> None:
        for node in self.pending:
            name = self._name(node)
            self.lines.append(f"{name} = {self.values[node]}")
            self.values[node] = name
        self.pending = []

    def _name(self, node: fx.Node) -> str:
        """Return the variable of a node: that of its only input where nothing else reads it."""
        reads, target = node.all_input_nodes, node.target
        if node.op == "call_module":
            if len(reads) == 1 and _is_read_once(reads[0]) and self.values[reads[0]].isidentifier():
                return self.values[reads[0]]
            return self._unused(self.attributes[str(target)])
        if target is operator.getitem:
            target = reads[0].target if callable(reads[0].target) else "part"
        named = getattr(target, "__name__", str(target))
        named = _OPERATORS[target][1] if target in _OPERATORS else named
        return self._unused(node.meta.get(NAME, named))

    def _unused(self, name: str) -> str:
        return unused(name, self.taken, "_")

    def _loop(self, loop: Loop) -> None:
        self._write_pending()
        width = len(loop.starts)
        names = [f"before{i}" if width > 2 else "before" for i in range(width - 1, 0, -1)]
        names = [self._unused(name) for name in (*names, "last")]
        item = self._unused(singular(loop.path.rpartition(".")[2]))
        step = call(item, [names[width - offset] for offset in loop.offsets])
        states = ", ".join(names)
        self.lines += [
            f"{states} = {', '.join(self.values[node] for node in loop.starts)}",
            f"for {item} in self.{self.attributes[loop.path]}:",
            f"{INDENT}{states} = {', '.join([*names[1:], step])}",
        ]
        self.values |= zip(loop.nodes[-width:], names, strict=True)

    def _value(self, node: fx.Node) -> str:
        """Return the expression that computes a node."""
        target: Any = node.target
        if node.op == "output":
            return self._code(node.args[0])
        if node.op == "call_module":
            return self._call(f"self.{self.attributes[target]}", node.args, node.kwargs)
        if node.op == "call_method":
            return self._call(f"{self._part(node, 0)}.{target}", node.args[1:], node.kwargs)
        if target is operator.getitem:
            return f"{self._part(node, 0)}[{self._index(node.args[1])}]"
        if target is getattr:
            return f"{self._part(node, 0)}.{node.args[1]}"
        if target in _OPERATORS and not node.kwargs:
            sign, _, bond = _OPERATORS[target]
            if target is operator.neg:
                return f"-{self._part(node, 0)}"
            # `*` and `@` bind alike, which few readers know.
            first = self._part(node, 0, _TIGHT if sign == "@" else bond)
            return f"{first} {sign} {self._part(node, 1, bond + 1)}"
        name = self.imports.reference(target, f"The call of {target!r}")
        usual = _defaults(target)
        named = {k: v for k, v in node.kwargs.items() if k not in usual or usual[k] != v}
        return self._call(name, node.args, named)

    def _part(self, node: fx.Node, place: int, bond: int = _TIGHT) -> str:
        """Return an argument of a node, in brackets where it binds less than it must."""
        value: Any = node.args[place]
        code = self._code(value)
        is_formula = isinstance(value, fx.Node) and not code.isidentifier()
        theirs = (
            _OPERATORS[value.target][2] if is_formula and value.target in _OPERATORS else _TIGHT
        )
        return code if theirs >= bond else f"({code})"

    def _call(self, function: str, args: Any, kwargs: Mapping[str, Any]) -> str:
        named = [f"{name}={self._code(value)}" for name, value in kwargs.items()]
        return call(function, [*map(self._code, args), *named])

    def _index(self, value: Any) -> str:
        """Return what stands in brackets: there, and nowhere else, a slice has colons."""
        if isinstance(value, tuple) and value:
            return ", ".join(map(self._index, value)) + "," * (len(value) == 1)
        if isinstance(value, slice):
            ends = (value.start, value.stop, value.step)
            first, last, step = ("" if end is None else self._code(end) for end in ends)
            return f"{first}:{last}" + f":{step}" * bool(step)
        return self._code(value)

    def _code(self, value: Any) -> str:
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


def _defaults(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # a builtin that does not say
        return {}
    return {p.name: p.default for p in parameters if p.default is not p.empty}
