"""How a module is made, as an expression with holes where like modules differ."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from typing import Any

from nasp.exporters.source.blueprint import Block

MISSING = inspect.Parameter.empty
"""The default of a parameter that has none."""


@dataclass(eq=False)
class Hole:
    """A place whose value differs from module to module.

    Attributes:
        values: one for each module.
        hint: the name of the argument that the place is.
        default: of that argument.
        text: what stands in the place.
    """

    values: list[Any]
    hint: str
    default: Any = MISSING
    text: str = ""

    @property
    def is_constant(self) -> bool:
        """Whether all modules have the same here."""
        first = self.values[0]
        return all(type(value) is type(first) and value == first for value in self.values)


@dataclass(eq=False)
class Row:
    """A tuple of places."""

    items: list[Expression]


@dataclass(eq=False)
class Item:
    """An argument of a call."""

    name: str
    value: Expression
    default: Any
    by_name: bool


@dataclass(eq=False)
class Make:
    """A call that makes a module."""

    maker: Any  # a class, or a `Written` one
    items: list[Item]


@dataclass(eq=False)
class Container:
    """An `nn.Sequential` or an `nn.ModuleList`."""

    kind: str
    items: list[Expression]


Expression = Hole | Row | Make | Container


@dataclass(eq=False)
class Parameter:
    """A parameter of a class's constructor.

    Attributes:
        name: what it is called.
        values: one for each module of the class.
        default: what is taken where it is not given; `MISSING` for none.
        hint: the argument's name that it stands for.
    """

    name: str
    values: list[Any]
    default: Any
    hint: str

    @property
    def annotation(self) -> str:
        """Its type, as written."""
        names = {_type_name(value) for value in self.values}
        return " | ".join(sorted(names, key=lambda name: (name == "None", name)))


@dataclass(eq=False)
class Written:
    """A class of the file, and the blocks that are its instances."""

    name: str
    blocks: list[Block]
    parameters: list[Parameter] = field(default_factory=list)
    body: dict[str, Expression] = field(default_factory=dict)
    sizes: dict[str, list[Expression]] = field(default_factory=dict)
    attributes: dict[str, Expression] = field(default_factory=dict)
    arguments: list[Item] = field(default_factory=list)

    @property
    def first(self) -> Block:
        """One of its blocks, to look at what all have in common."""
        return self.blocks[0]


def _type_name(value: Any) -> str:
    if isinstance(value, Block):
        return "nn.Module"
    if value is None:
        return "None"
    if type(value) is tuple:
        return f"tuple[{', '.join(map(_type_name, value))}]" if value else "tuple[()]"
    if type(value) in (bool, int, float, str):
        return type(value).__name__
    return "object"
