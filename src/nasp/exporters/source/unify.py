"""Many like modules as one expression with holes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nasp.exporters.source.blueprint import Block
from nasp.exporters.source.expressions import (
    MISSING,
    Container,
    Expression,
    Hole,
    Item,
    Make,
    Row,
    Written,
)

_SPREAD = frozenset(
    {"kernel_size", "stride", "padding", "dilation", "output_padding", "output_size", "size"}
    | {"normalized_shape"}
)
"""Arguments of torch's layers for which a number stands for a tuple of it."""


class Unifier:
    """Makes one expression of many, and collects its holes.

    Args:
        classes: the blocks that have a class of their own already, by id.
    """

    def __init__(self, classes: dict[int, Written]) -> None:
        self.classes = classes
        self.holes: list[Hole] = []

    def modules(self, blocks: Sequence[Block], hint: str) -> Expression:
        """Return the expression that makes each of these modules."""
        first = blocks[0]
        kinds = {self.identity(block) for block in blocks}
        if len(kinds) > 1:
            return self._hole(list(blocks), hint)
        written = self.classes.get(id(first))
        if written is not None:
            return Make(written, self._of_class(written, blocks))
        if first.kind != "call":
            items = [
                self.modules([block.children[name] for block in blocks], f"{hint}{name}")
                for name in first.children
            ]
            return Container(first.kind, items)
        is_torch = type(first.module).__module__.startswith("torch.")
        items_of_call = []
        for name, argument in first.arguments.items():
            value: Expression
            if name in first.children:
                value = self.modules([block.children[name] for block in blocks], name)
            else:
                given = [block.arguments[name].value for block in blocks]
                spread = is_torch and name in _SPREAD
                value = self.values(given, name, argument.default, spread)
            items_of_call.append(Item(name, value, argument.default, argument.by_name))
        return Make(type(first.module), items_of_call)

    def values(
        self, values: list[Any], hint: str, default: Any = MISSING, spread: bool = False
    ) -> Expression:
        """Return the expression of an argument's values.

        Args:
            values: one for each module.
            hint: the argument's name.
            default: the argument's default.
            spread: whether a number stands for a tuple of it, as in torch's own layers.
        """
        if isinstance(values[0], Block):
            return self.modules(values, hint)
        lengths = {len(value) for value in values if type(value) is tuple}
        if not spread or len(lengths) != 1 or not all(map(_is_number_or_tuple, values)):
            return self._hole(values, hint, default)
        length = lengths.pop()
        rows = [value if type(value) is tuple else (value,) * length for value in values]
        if all(len(set(row)) == 1 for row in rows):
            return self._hole([row[0] for row in rows], hint, default)
        columns = [list(column) for column in zip(*rows, strict=True)]
        return Row([self._hole(column, hint, default) for column in columns])

    def identity(self, block: Block) -> Any:
        """Return what two blocks have in common if one expression can make both."""
        if id(block) in self.classes:
            return id(self.classes[id(block)])
        inner = tuple((name, self.identity(child)) for name, child in block.children.items())
        return block.kind, type(block.module), tuple(block.arguments), inner

    def _of_class(self, written: Written, blocks: Sequence[Block]) -> list[Item]:
        places = [written.blocks.index(block) for block in blocks]
        items = []
        for parameter in written.parameters:
            given = [parameter.values[place] for place in places]
            value = self.values(given, parameter.hint, parameter.default)
            by_name = parameter.default is not MISSING
            items.append(Item(parameter.name, value, parameter.default, by_name))
        return items

    def _hole(self, values: list[Any], hint: str, default: Any = MISSING) -> Hole:
        hole = Hole(values, hint, default)
        self.holes.append(hole)
        return hole


def _is_number_or_tuple(value: Any) -> bool:
    return type(value) is int or (type(value) is tuple and all(type(v) is int for v in value))
