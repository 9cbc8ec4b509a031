"""What like modules have in common: source that makes any of them, with parameters."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from torch import Tensor, nn

from nasp.exporters.source.constructors import MISSING, is_of_torch, signature_of
from nasp.exporters.source.imports import Imports
from nasp.exporters.source.layout import call
from nasp.exporters.source.parameters import Parameter, family, fill, same
from nasp.exporters.source.parts import Part

_REPEATED, _SHORT = 3, 60
"""How often a module must stand in a row to be written once, and its length at most."""


@dataclass(eq=False)
class Written:
    """A class of the file.

    Attributes:
        name: what it is called.
        parts: its instances.
        parameters: of its constructor.
        statements: its constructor.
    """

    name: str
    parts: list[Part]
    parameters: list[Parameter]
    statements: list[str]

    @property
    def first(self) -> Part:
        """One of its instances, to look at what all have in common."""
        return self.parts[0]


class Patterns:
    """Writes the constructors of classes, inner ones first.

    Args:
        imports: told what they need.
    """

    def __init__(self, imports: Imports) -> None:
        self._imports = imports
        self._classes: dict[int, Written] = {}  # by the ids of their parts
        self._groups: dict[Any, Parameter] = {}  # of the class that is being written

    def written(self, name: str, parts: list[Part]) -> Written:
        """Return the class that makes like parts; what they are made of has its classes already."""
        self._groups = {}
        statements = list(self._constructor(parts))
        groups = list(self._groups.values())
        parameters = fill(groups)

        def filled(statement: str) -> str:
            return re.sub(r"\0(\d+)\0", lambda mark: groups[int(mark[1])].text, statement)

        written = Written(name, parts, parameters, list(map(filled, statements)))
        self._classes |= {id(part): written for part in parts}
        return written

    def identity(self, part: Part) -> Any:
        """Return what two parts have in common if one expression can make both."""
        if id(part) in self._classes:
            return id(self._classes[id(part)])
        inner = tuple((name, self.identity(child)) for name, child in part.children.items())
        return part.kind, type(part.module), tuple(part.items), inner

    def _constructor(self, parts: list[Part]) -> Iterator[str]:
        first = parts[0]
        if first.kind in ("call", "sequence", "list"):
            made = self._made(parts)
            yield f"super().__init__{made[made.index('(') :]}"
            return
        if first.kind == "subclass":
            yield f"# Not the constructor of {type(first.module).__name__}: its parts are given."
            yield "nn.Module.__init__(self)"
        else:
            yield "super().__init__()"
        for name, item in first.items.items():
            value = self._value([part.items[name] for part in parts], name)
            if isinstance(item, nn.Parameter):
                value = call(
                    "nn.Parameter", [value, *["requires_grad=False"] * (not item.requires_grad)]
                )
            if isinstance(item, Tensor) and not isinstance(item, nn.Parameter):
                yield call("self.register_buffer", [f'"{name}"', value])
            elif name.isidentifier():
                yield f"self.{name} = {value}"
            else:
                register = "add_module" if isinstance(item, Part) else "register_parameter"
                yield call(f"self.{register}", [f'"{name}"', value])

    def _value(self, values: list[Any], hint: str, default: Any = MISSING) -> str:
        """Return the expression of an item that has a value for each module."""
        first = values[0]
        if isinstance(first, Part):
            return self._module(values, hint)
        if isinstance(first, Tensor):
            sizes = zip(*(tensor.shape for tensor in values), strict=True)
            dtype = [] if first.is_floating_point() else [f"dtype={first.dtype}"]
            items = [self._value(list(size), "size") for size in sizes]
            return call("torch.empty", [*(items or ["()"]), *dtype])
        if isinstance(first, _Row):
            columns = zip(*values, strict=True)
            return f"({', '.join(self._value(list(c), hint, default) for c in columns)})"
        if all(same(value, first) for value in values):
            return self._imports.literal(first, f"'{hint}'")
        return self._hole(values, hint, default)

    def _module(self, parts: list[Any], hint: str) -> str:
        """Return the expression that makes each of these modules."""
        if len({self.identity(part) for part in parts}) > 1:
            return self._hole(parts, hint)
        written = self._classes.get(id(parts[0]))
        if written is None:
            return self._made(parts, hint)
        places = [written.parts.index(part) for part in parts]
        given = [replace(p, values=[p.values[i] for i in places]) for p in written.parameters]
        return self._call(written.name, given)

    def _made(self, parts: list[Part], hint: str = "") -> str:
        """Return the call that makes modules of a class that is not the file's."""
        first = parts[0]
        columns = {name: [part.items[name] for part in parts] for name in first.items}
        if first.kind != "call":
            items = _items(self._value(column, f"{hint}{name}") for name, column in columns.items())
            if first.kind == "sequence":
                return call("nn.Sequential", items)
            is_one = len(items) == 1 and items[0].startswith("*[")
            return call("nn.ModuleList", [items[0][1:] if is_one else f"[{', '.join(items)}]"])
        kind, given = type(first.module), []
        for name, parameter in signature_of(kind).items():
            if name in columns:
                is_torch, by_name = is_of_torch(kind), parameter.kind is parameter.KEYWORD_ONLY
                values = _spread(columns[name]) if is_torch else columns[name]
                given.append(Parameter(name, values, parameter.default, name, by_name=by_name))
        return self._call(self._imports.reference(kind, "a module"), given)

    def _call(self, function: str, parameters: Iterable[Parameter]) -> str:
        items: list[str] = []
        is_named = False
        for parameter in parameters:
            if any(not same(value, parameter.default) for value in parameter.values):
                is_named = is_named or parameter.by_name or parameter.default is not MISSING
                text = self._value(parameter.values, parameter.hint, parameter.default)
                items.append(f"{parameter.text}={text}" if is_named else text)
        return call(function, items)

    def _hole(self, values: list[Any], hint: str, default: Any = MISSING) -> str:
        """Return a mark for the text of a parameter."""
        seen = tuple(id(v) if isinstance(v, Part) else repr(v) for v in values)
        key = family(hint, values[0]), seen
        group = self._groups.setdefault(key, Parameter("", values, default))
        group.hints.append(hint)
        return f"\0{list(self._groups).index(key)}\0"


class _Row(tuple[int, ...]):
    """Sizes of a layer, one for each dimension."""


def _spread(values: list[Any]) -> list[Any]:
    """Return sizes as rows of numbers where some are; there a number stands for a tuple of it."""
    length = next((len(value) for value in values if type(value) is tuple), 0)
    rows = [_Row(value if type(value) is tuple else (value,) * length) for value in values]
    are_sizes = all(len(row) == length > 0 and {*map(type, row)} == {int} for row in rows)
    return list(rows) if are_sizes else values


def _items(codes: Iterable[str]) -> list[str]:
    """Return the items of a list of modules; equal ones in a row as one comprehension."""
    found: list[str] = []
    for code, run in groupby(codes):
        count = len(list(run))
        is_one = count >= _REPEATED and len(code) < _SHORT
        found += [f"*[{code} for _ in range({count})]"] if is_one else [code] * count
    return found
