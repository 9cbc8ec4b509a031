"""The body of a forward method, from the graph of a module."""

from __future__ import annotations

import ast
import inspect
import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx

from nasp.exporters.source.imports import Imports, unused
from nasp.exporters.source.layout import INDENT
from nasp.exporters.source.traces import NAME, Loop, loops, singular

SHORT = 64
"""Characters up to which an expression may stand inside another."""

_OPERATORS: dict[Any, tuple[ast.operator, str]] = {
    operator.add: (ast.Add(), "total"),
    torch.add: (ast.Add(), "total"),
    operator.sub: (ast.Sub(), "difference"),
    operator.mul: (ast.Mult(), "product"),
    operator.truediv: (ast.Div(), "quotient"),
    operator.floordiv: (ast.FloorDiv(), "quotient"),
    operator.matmul: (ast.MatMult(), "product"),
}
"""Functions that are written as operators, and what their results are called."""


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
    return _Writer(graph, attributes, imports).forward()


class _Writer:
    """Writes line by line.

    A value that is read once may stand inside the expression that reads it, where nothing is
    then computed earlier or later than it was: random numbers come in the same order.
    """

    def __init__(self, graph: fx.Graph, attributes: Mapping[str, str], imports: Imports) -> None:
        self.graph = graph
        self.attributes = attributes
        self.imports = imports
        self.values: dict[fx.Node, ast.expr] = {}
        self.pending: list[fx.Node] = []  # computed by now, not yet written
        self.lines: list[str] = []
        self.taken = set(imports.taken)

    def forward(self) -> Forward:
        chains = {loop.nodes[0]: loop for loop in loops(self.graph)}
        in_chains = {node for loop in chains.values() for node in loop.nodes}
        inputs = [node for node in self.graph.nodes if node.op == "placeholder"]
        parameters = {str(node.target): self._default(node) for node in inputs}
        for node in inputs:
            self.values[node] = ast.Name(self._unused(str(node.target).lstrip("*")))
        if unread := [str(node.target).lstrip("*") for node in inputs if not node.users]:
            self.lines.append(f"del {', '.join(unread)}")
        for node in self.graph.nodes:
            if node in chains:
                self._loop(chains[node])
            elif node.op == "get_attr":
                self.values[node] = ast.Name(f"self.{self.attributes[str(node.target)]}")
            elif node.op != "placeholder" and node not in in_chains:
                self._compute(node)
        result = self.values[self.graph.output_node()]
        code = ast.unparse(result)
        is_typed = isinstance(result, ast.Tuple | ast.List | ast.Dict) or code in parameters
        is_typed = is_typed or code.startswith(("torch.", "nn.functional."))
        return Forward(parameters, (*self.lines, f"return {code}"), is_typed)

    def _default(self, node: fx.Node) -> str | None:
        where = f"The default of '{node.target}'"
        return self.imports.literal(node.args[0], where) if node.args else None

    def _compute(self, node: fx.Node) -> None:
        inside = [read for read in node.all_input_nodes if read in self.pending]
        if inside != self.pending[len(self.pending) - len(inside) :]:
            self._write_pending()
        value = self._value(node)
        if inside and len(ast.unparse(value)) > SHORT:
            self._write_pending()
            value = self._value(node)
        self.pending = [waiting for waiting in self.pending if waiting not in inside]
        self.values[node] = value
        if node.op == "output":
            self._write_pending()
            return
        self.pending.append(node)
        if not _is_read_once(node) or not _may_stand_in(node, next(iter(node.users))):
            self._write_pending()

    def _write_pending(self) -> None:
        for node in self.pending:
            name = self._name(node)
            self.lines.append(f"{name} = {ast.unparse(self.values[node])}")
            self.values[node] = ast.Name(name)
        self.pending = []

    def _name(self, node: fx.Node) -> str:
        """Return the variable of a node: that of its only input where nothing else reads it."""
        reads = node.all_input_nodes
        if node.op == "call_module":
            if len(reads) == 1 and _is_read_once(reads[0]):
                value = self.values[reads[0]]
                if isinstance(value, ast.Name) and value.id.isidentifier():
                    return value.id
            return self._unused(self.attributes[str(node.target)])
        if NAME in node.meta:
            return self._unused(node.meta[NAME])
        if node.target in _OPERATORS:
            return self._unused(_OPERATORS[node.target][1])
        target: Any = node.target
        if target is operator.getitem and isinstance(node.args[0], fx.Node):
            target = node.args[0].target if callable(node.args[0].target) else "part"
        return self._unused(getattr(target, "__name__", str(target)))

    def _unused(self, name: str) -> str:
        return unused(name, self.taken, "_")

    def _loop(self, loop: Loop) -> None:
        self._write_pending()
        width = len(loop.starts)
        names = [self._unused(name) for name in _state_names(width)]
        item = self._unused(singular(loop.path.rpartition(".")[2]))
        starts = ", ".join(ast.unparse(self.values[node]) for node in loop.starts)
        arguments = ", ".join(names[width - offset] for offset in loop.offsets)
        states, step = ", ".join(names), ", ".join([*names[1:], f"{item}({arguments})"])
        self.lines.append(f"{states} = {starts}")
        self.lines.append(f"for {item} in self.{self.attributes[loop.path]}:")
        self.lines.append(f"{INDENT}{states} = {step}")
        for node, name in zip(loop.nodes[-width:], names, strict=True):
            self.values[node] = ast.Name(name)

    def _value(self, node: fx.Node) -> ast.expr:
        target: Any = node.target
        if node.op == "output":
            return self._code(node.args[0])
        if node.op == "call_module":
            function = ast.Name(f"self.{self.attributes[str(target)]}")
            return self._call(function, node.args, node.kwargs)
        first = self._code(node.args[0]) if node.args else ast.Name("")
        if node.op == "call_method":
            return self._call(ast.Attribute(first, target), node.args[1:], node.kwargs)
        if target in _OPERATORS and not node.kwargs:
            if target is operator.matmul and isinstance(first, ast.BinOp):
                # Both bind alike, which few readers know.
                first = ast.Name(f"({ast.unparse(first)})")
            return ast.BinOp(first, _OPERATORS[target][0], self._code(node.args[1]))
        if target is operator.neg:
            return ast.UnaryOp(ast.USub(), first)
        if target is operator.getitem:
            return ast.Subscript(first, self._index(node.args[1]))
        if target is getattr:
            return ast.Attribute(first, str(node.args[1]))
        name = self.imports.reference(target, f"The call of {target!r}")
        defaults = _defaults(target)
        named = {k: v for k, v in node.kwargs.items() if k not in defaults or defaults[k] != v}
        return self._call(ast.Name(name), node.args, named)

    def _call(self, function: ast.expr, args: Iterable[Any], kwargs: Mapping[str, Any]) -> ast.expr:
        named = [ast.keyword(name, self._code(value)) for name, value in kwargs.items()]
        return ast.Call(function, [self._code(argument) for argument in args], named)

    def _index(self, value: Any) -> ast.expr:
        """Return what stands in brackets: there, and nowhere else, a slice has colons."""
        if isinstance(value, tuple) and value:
            return ast.Tuple([self._index(item) for item in value], ast.Load())
        if isinstance(value, slice):
            ends = (value.start, value.stop, value.step)
            return ast.Slice(*(None if end is None else self._code(end) for end in ends))
        return self._code(value)

    def _code(self, value: Any) -> ast.expr:
        if isinstance(value, fx.Node):
            return self.values[value]
        if isinstance(value, tuple):
            return ast.Tuple([self._code(item) for item in value], ast.Load())
        if isinstance(value, list):
            return ast.List([self._code(item) for item in value], ast.Load())
        if isinstance(value, dict):
            keys: list[ast.expr | None] = [self._code(key) for key in value]
            return ast.Dict(keys, [self._code(item) for item in value.values()])
        if isinstance(value, slice):
            ends = [self._code(end) for end in (value.start, value.stop, value.step)]
            return ast.Call(ast.Name("slice"), ends, [])
        return ast.Name(self.imports.literal(value, "The forward pass"))


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


def _state_names(width: int) -> list[str]:
    if width <= 2:
        return ["before", "last"][-width:]
    return [f"before{width - 1 - i}" for i in range(width - 1)] + ["last"]


def _defaults(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # a builtin that does not say
        return {}
    return {p.name: p.default for p in parameters if p.default is not p.empty}
