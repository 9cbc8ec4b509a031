"""The body of a forward method, from the graph of a module."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx

from nasp.exporters.source.graphs import NAME, Chained, loops, singular
from nasp.exporters.source.imports import Imports, sequence, unused
from nasp.exporters.source.layout import Bracket, Code, call
from nasp.exporters.source.statements import Assign, Each, Forward, Return, Statement

SHORT = 64
"""Characters up to which an expression may stand inside another."""

_ADDING, _MULTIPLYING, _POSTFIX = 1, 2, 3
_BINARY: dict[Any, tuple[str, int]] = {
    operator.add: ("+", _ADDING),
    torch.add: ("+", _ADDING),
    operator.sub: ("-", _ADDING),
    operator.mul: ("*", _MULTIPLYING),
    operator.truediv: ("/", _MULTIPLYING),
    operator.floordiv: ("//", _MULTIPLYING),
    operator.matmul: ("@", _MULTIPLYING),
}


_RESULTS = {
    "add": "total",
    "sub": "difference",
    "mul": "product",
    "matmul": "product",
    "truediv": "quotient",
    "floordiv": "quotient",
    "getattr": "value",
}
"""What the result of an operator is called."""


@dataclass(frozen=True)
class Value:
    """How a node's value is written: an expression, and how tightly it binds."""

    code: Code
    binds: int = _POSTFIX


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
    """Writes statement by statement.

    A value that is read once may stand inside the expression that reads it, where nothing is
    then computed earlier or later than it was: random numbers come in the same order.
    """

    def __init__(self, graph: fx.Graph, attributes: Mapping[str, str], imports: Imports) -> None:
        self.graph = graph
        self.attributes = attributes
        self.imports = imports
        self.values: dict[fx.Node, Value] = {}
        self.pending: list[fx.Node] = []  # computed by now, not yet written
        self.statements: list[Statement] = []
        self.parameters: dict[str, Code | None] = {}
        self.taken = set(imports.taken)

    def forward(self) -> Forward:
        chains = loops(self.graph)
        in_chains = {node for chain in chains.values() for node in chain.nodes}
        for node in self.graph.nodes:
            if node.op == "placeholder":
                self._parameter(node)
            elif node in chains:
                self._loop(chains[node])
            elif node.op == "get_attr":
                self.values[node] = Value(f"self.{self.attributes[str(node.target)]}")
            elif node not in in_chains:
                self._compute(node)
        read = {str(n.target) for n in self.graph.nodes if n.op == "placeholder" and n.users}
        return Forward(self.parameters, tuple(self.statements), frozenset(read))

    def _parameter(self, node: fx.Node) -> None:
        name = str(node.target)
        default = None
        if node.args:
            default = self.imports.literal(node.args[0], f"The default of '{name}'")
        self.parameters[name] = default
        self.taken.add(name.lstrip("*"))
        self.values[node] = Value(name.lstrip("*"))

    def _compute(self, node: fx.Node) -> None:
        inside = [read for read in _reads(node) if read in self.pending]
        if inside != self.pending[len(self.pending) - len(inside) :]:
            self._write_pending()
        value = self._value(node)
        if inside and len(str(value.code)) > SHORT:
            self._write_pending()
            value = self._value(node)
        self.pending = [waiting for waiting in self.pending if waiting not in inside]
        if node.op == "output":
            self._write_pending()
            self.statements.append(Return(value.code))
            return
        self.values[node] = value
        self.pending.append(node)
        if len(_readings(node)) != 1 or not _may_stand_in(node, next(iter(node.users))):
            self._write_pending()

    def _write_pending(self) -> None:
        waiting, self.pending = self.pending, []
        for node in waiting:
            name = self._name(node)
            self.statements.append(Assign(name, self.values[node].code))
            self.values[node] = Value(name)

    def _name(self, node: fx.Node) -> str:
        """Return the variable of a node: that of its only input where nothing else reads it."""
        reads = _reads(node)
        if node.op == "call_module":
            if len(reads) == 1 and len(reads[0].users) == 1:
                name = str(self.values[reads[0]].code)
                if name.isidentifier():
                    return name
            return self._unused(self.attributes[str(node.target)])
        name = getattr(node.target, "__name__", str(node.target))
        if node.target is operator.getitem and isinstance(node.args[0], fx.Node):
            function = node.args[0].target
            name = getattr(function, "__name__", "part") if callable(function) else "part"
        return self._unused(node.meta.get(NAME) or _RESULTS.get(name, name))

    def _unused(self, name: str) -> str:
        return unused(name, self.taken, "_")

    def _loop(self, chain: Chained) -> None:
        self._write_pending()
        width = len(chain.starts)
        names = [self._unused(name) for name in _state_names(width)]
        starts = [str(self.values[node].code) for node in chain.starts]
        item = self._unused(singular(chain.path.rpartition(".")[2]))
        arguments = [names[width - offset] for offset in chain.offsets]
        step = [*names[1:], str(call(item, arguments))]
        self.statements.append(Assign(", ".join(names), ", ".join(starts)))
        items = f"self.{self.attributes[chain.path]}"
        self.statements.append(Each(item, items, ", ".join(names), ", ".join(step)))
        for node, name in zip(chain.nodes[-width:], names, strict=True):
            self.values[node] = Value(name)

    def _value(self, node: fx.Node) -> Value:
        if node.op == "output":
            return Value(self._code(node.args[0]))
        if node.op == "call_module":
            function = f"self.{self.attributes[str(node.target)]}"
            return Value(self._call(function, node.args, node.kwargs))
        if node.op == "call_method":
            receiver, *rest = node.args
            function = f"{self._operand(receiver, _POSTFIX)}.{node.target}"
            return Value(self._call(function, tuple(rest), node.kwargs))
        return self._function(node)

    def _function(self, node: fx.Node) -> Value:
        target: Any = node.target
        if target in _BINARY and not node.kwargs:
            sign, binds = _BINARY[target]
            left, right = node.args
            # Both bind alike, which few readers know.
            left_binds = binds + 1 if sign == "@" else binds
            text = f"{self._operand(left, left_binds)} {sign} {self._operand(right, binds + 1)}"
            return Value(text, binds)
        if target is operator.neg:
            return Value(f"-{self._operand(node.args[0], _POSTFIX)}", _MULTIPLYING)
        if target is operator.getitem:
            base, index = node.args
            return Value(f"{self._operand(base, _POSTFIX)}[{self._index(index)}]")
        if target is getattr:
            return Value(f"{self._operand(node.args[0], _POSTFIX)}.{node.args[1]}")
        function = self.imports.reference(target, f"The call of {target!r}")
        defaults = _defaults(target)
        named = {k: v for k, v in node.kwargs.items() if k not in defaults or defaults[k] != v}
        return Value(self._call(function, node.args, named))

    def _call(self, function: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Code:
        named = [(name, self._code(value)) for name, value in kwargs.items()]
        return call(function, [self._code(argument) for argument in args], named)

    def _operand(self, value: Any, binds: int) -> str:
        if not isinstance(value, fx.Node):
            return str(self._code(value))
        written = self.values[value]
        return f"({written.code})" if written.binds < binds else str(written.code)

    def _code(self, value: Any) -> Code:
        if isinstance(value, fx.Node):
            return self.values[value].code
        if isinstance(value, tuple | list):
            brackets = "()" if isinstance(value, tuple) else "[]"
            return sequence(brackets[0], [self._code(item) for item in value], brackets[1])
        if isinstance(value, dict):
            pairs = [f'"{key}": {self._code(item)}' for key, item in value.items()]
            return Bracket("{", tuple(pairs), "}")
        return self.imports.literal(value, "The forward pass")

    def _index(self, index: Any) -> str:
        if isinstance(index, tuple) and index:
            return ", ".join(map(self._index, index)) + ("," if len(index) == 1 else "")
        if isinstance(index, slice):
            ends = [
                "" if end is None else str(self._code(end)) for end in (index.start, index.stop)
            ]
            step = "" if index.step is None else f":{self._code(index.step)}"
            return f"{ends[0]}:{ends[1]}{step}"
        return str(self._code(index))


def _reads(node: fx.Node) -> list[fx.Node]:
    """Return the nodes that a node reads, in the order in which they are written."""
    found: list[fx.Node] = []
    fx.node.map_arg((node.args, node.kwargs), found.append)
    return found


def _readings(node: fx.Node) -> list[fx.Node]:
    return [user for user in node.users for read in _reads(user) if read is node]


def _may_stand_in(node: fx.Node, reader: fx.Node) -> bool:
    """Tell whether a value reads well inside the expression that reads it."""
    if reader.op == "output":
        return not isinstance(reader.args[0], tuple | list | dict) or node.op == "call_module"
    if node.target in _BINARY:
        return reader.target in _BINARY
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
