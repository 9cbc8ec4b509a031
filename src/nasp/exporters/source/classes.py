"""Which classes a file has, and their constructors: modules of like structure are one class."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter
from itertools import groupby
from typing import Any

from torch import Tensor, nn

from nasp.exporters.source.constructors import MISSING, signature_of
from nasp.exporters.source.imports import Imports, unused
from nasp.exporters.source.layout import call
from nasp.exporters.source.naming import class_name, is_known
from nasp.exporters.source.parameters import Parameter, family, fill, same
from nasp.exporters.source.parts import Part

_REPEATED, _SHORT = 3, 60
"""How often a module must stand in a row to be written once, and its length at most."""
_SIZES = ("kernel_size", "stride", "padding", "dilation")
"""Arguments of which a number stands for a tuple of it."""


@dataclass(eq=False)
class Written:
    """A class of the file."""

    name: str
    parts: list[Part]  # its instances
    parameters: list[Parameter]  # of its constructor
    statements: list[str]  # its constructor


def classes_of(root: Part, imports: Imports) -> list[Written]:
    """Return the classes that make a network, each after those that it uses; the last is its own.

    A graph and a subclass have a class. A chain of layers has one where the field has a name for
    it, or where it stands at several places; otherwise it is written where it stands.
    """
    writer = _Writer(imports)
    parts = [part for _, part in root.walk()]
    frames = {part: _frame(part) for part in parts}
    try:
        order = _ordered(frames)
    except CycleError:  # a module in one of its like
        frames = {part: (part.height, frame) for part, frame in frames.items()}
        order = _ordered(frames)
    places = {c: (frames[part], n) for part in parts for n, c in part.children.items()}
    at: dict[Any, set[Any]] = {}  # the frames of what stands at a place
    for part in parts[1:]:
        at.setdefault(places[part], set()).add(frames[part])
    found: list[Written] = []
    for frame in order:
        groups: list[list[Part]] = []
        for part in [part for part in parts[1:] if frames[part] == frame]:
            group = next((each for each in groups if writer.are_one(part, each[0])), [])
            groups += [] if group else [group]
            group.append(part)
        for group in groups:
            first, here = group[0], {places[part] for part in group}
            is_shared = len(here) > 1 or any(len(at[place]) > 1 for place in here)
            inner = [writer.classes[c] for c in first.children.values() if c in writer.classes]
            is_frame = any(p.order == 0 for each in inner for p in each.parameters)  # of modules
            is_shared &= first.kind == "sequence" and not is_frame and len(group) > 1
            if first.kind in ("graph", "copied", "subclass") or is_known(first) or is_shared:
                name = "Found" * (first.kind == "subclass") + class_name(first)
                found.append(writer.written(unused(name, imports.taken), group))
    return [*found, writer.written("Network", parts[:1])]


def _ordered(frames: dict[Part, Any]) -> list[Any]:
    """Return the frames, each after those of what its parts are made of."""
    below: dict[Any, list[Any]] = {}
    for part, frame in frames.items():
        below.setdefault(frame, []).extend(frames[child] for child in part.children.values())
    ranks: dict[Any, int] = {}
    for frame in TopologicalSorter(below).static_order():
        ranks[frame] = 1 + max((ranks[inner] for inner in below[frame]), default=0)
    return sorted(below, key=ranks.__getitem__)


def _frame(part: Part) -> Any:
    """Return what parts of one class have in common, their submodules' insides left aside."""
    home = type(part.module).__module__ if part.kind == "subclass" else ""
    items = [_form(item) for item in part.items.items()]
    return part.kind, home, class_name(part), part.forward and part.forward.lines, *items


def _form(item: tuple[str, Any]) -> tuple[str, Any]:
    name, value = item
    if isinstance(value, Part):
        return name, value.kind == "list" and len(value.children)
    if isinstance(value, Tensor):
        return name, (isinstance(value, nn.Parameter), value.dim())
    return name, None if type(value) in (int, float) else repr(value)


class _Writer:
    """Writes the constructors of classes, inner ones first."""

    def __init__(self, imports: Imports) -> None:
        self._imports = imports
        self.classes: dict[Part, Written] = {}
        self._groups: dict[Any, Parameter] = {}  # of the class that is being written

    def written(self, name: str, parts: list[Part]) -> Written:
        """Return the class that makes like parts; what they are made of has its classes already."""
        self._groups = {}
        list(self._constructor(parts))  # finds the parameters, which have no names yet
        parameters = fill(list(self._groups.values()))
        written = Written(name, parts, parameters, list(self._constructor(parts)))
        self.classes |= dict.fromkeys(parts, written)
        return written

    def are_one(self, part: Part, other: Part) -> bool:
        """Tell whether the submodules of two parts are, but for a few, of the same classes."""
        pairs = zip(part.children.values(), other.children.values(), strict=True)
        kinds = [self._identity(mine) == self._identity(theirs) for mine, theirs in pairs]
        return kinds.count(False) <= (part.kind != "sequence") * max(1, len(kinds) // 4)

    def _identity(self, part: Part) -> Any:
        """Return what two parts have in common if one expression can make both."""
        inner = ((name, self._identity(child)) for name, child in part.children.items())
        whole = self.classes.get(part)
        return whole or (part.kind, type(part.module), tuple(part.items), tuple(inner))

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
            if isinstance(item, Tensor) and not isinstance(item, nn.Parameter):
                yield call("self.register_buffer", [f'"{name}"', value])
            elif name.isidentifier():
                yield f"self.{name} = {value}"
            else:
                register = "add_module" if isinstance(item, Part) else "register_parameter"
                yield call(f"self.{register}", [f'"{name}"', value])

    def _value(self, values: list[Any], hint: str, default: Any = MISSING) -> str:
        """Return the expression of an item that has a value for each module."""
        first, kinds = values[0], set(map(type, values))
        if isinstance(first, Tensor):
            return self._empty(values)
        if isinstance(first, Part):
            if len(set(map(self._identity, values))) == 1:
                return self._made(values, hint)
        elif all(same(value, first) for value in values):
            return self._imports.literal(first, f"'{hint}'")
        elif hint in _SIZES and tuple in kinds and kinds <= {int, tuple}:
            length = max(len(value) for value in values if type(value) is tuple)
            rows = [value if type(value) is tuple else (value,) * length for value in values]
            columns = [self._value(list(each), hint, default) for each in zip(*rows, strict=True)]
            return f"({', '.join(columns)})"
        seen = tuple(id(v) if isinstance(v, Part) else repr(v) for v in values)
        key = family(hint, first), seen
        parameter = self._groups.setdefault(key, Parameter("", values, default))
        parameter.hints.append(hint)
        return parameter.text

    def _empty(self, tensors: list[Tensor]) -> str:
        first = tensors[0]
        shapes = zip(*(tensor.shape for tensor in tensors), strict=True)
        sizes = [self._value(list(size), "size") for size in shapes]
        dtype = [] if first.is_floating_point() else [f"dtype={first.dtype}"]
        fixed = [] if first.requires_grad else ["requires_grad=False"]
        empty = call("torch.empty", [*(sizes or ["()"]), *dtype])
        return call("nn.Parameter", [empty, *fixed]) if isinstance(first, nn.Parameter) else empty

    def _made(self, parts: list[Part], hint: str = "") -> str:
        """Return the call that makes each of these modules."""
        first = parts[0]
        if (written := self.classes.get(first)) is not None:
            places = [written.parts.index(part) for part in parts]
            chosen = (replace(p, values=[p.values[i] for i in places]) for p in written.parameters)
            return self._call(written.name, chosen)
        columns = {name: [part.items[name] for part in parts] for name in first.items}
        if first.kind != "call":
            items = _items(self._value(column, f"{hint}{name}") for name, column in columns.items())
            if first.kind == "sequence":
                return call("nn.Sequential", items)
            is_one = len(items) == 1 and items[0].startswith("*[")
            return call("nn.ModuleList", [items[0][1:] if is_one else f"[{', '.join(items)}]"])
        kind = type(first.module)
        given = (
            Parameter(name, columns[name], p.default, name, by_name=p.kind is p.KEYWORD_ONLY)
            for name, p in signature_of(kind).items()
            if name in columns
        )
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


def _items(codes: Iterable[str]) -> list[str]:
    """Return the items of a list of modules; equal ones in a row as one comprehension."""
    found: list[str] = []
    for code, run in groupby(codes):
        count = len(list(run))
        is_one = count >= _REPEATED and len(code) < _SHORT
        found += [f"*[{code} for _ in range({count})]"] if is_one else [code] * count
    return found
