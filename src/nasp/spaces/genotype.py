"""DARTS's notation of a cell, ``Genotype(...)``: read as literals, never evaluated."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import Any

from nasp.errors import UsageError
from nasp.spaces.space import NotationError


def genotype_fields(text: str, names: Sequence[str]) -> dict[str, Any]:
    """Return the fields of a genotype's text, with or without the name that it is assigned to.

    Args:
        text: ``Genotype(name=value, ...)``; a value is a literal, or ``range(start, stop)``, which
            becomes a list of a hundred numbers at most.
        names: of the fields, all of which must be there.

    Raises:
        NotationError: it is no such text.
    """
    expected = NotationError(
        f"The text is no genotype: write Genotype({'=..., '.join(names)}=...)."
    )
    try:
        match ast.parse(text.strip()).body:
            case [ast.Expr(value=call) | ast.Assign(value=call)]:
                pass
            case _:
                raise expected
        match call:
            case ast.Call(func=ast.Name(id="Genotype"), args=[], keywords=keywords) if (
                # A repeated keyword is a syntax error, but not one that ast.parse sees.
                len(keywords) == len(names)
            ):
                fields = {str(keyword.arg): _literal(keyword.value) for keyword in keywords}
            case _:
                raise expected
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError) as error:
        raise expected from error
    if fields.keys() != set(names):
        raise expected
    return fields


def pairs_of(value: Any, name: str, count: int) -> list[tuple[str, int]]:
    """Return a field checked to be a list of so many pairs of a name and a number.

    Raises:
        UsageError: it is something else.
    """
    if isinstance(value, list) and len(value) == count:
        pairs = [(p[0], p[1]) for p in value if isinstance(p, tuple | list) and len(p) == 2]
        if len(pairs) == len(value) and all(
            isinstance(name, str) and type(source) is int for name, source in pairs
        ):
            return pairs
    raise UsageError(
        f"The genotype's {name} must be a list of {count} pairs of a name and a number."
    )


def _literal(node: ast.expr) -> Any:
    match node:
        case ast.Call(
            func=ast.Name(id="range"),
            args=[ast.Constant(value=int(start)), ast.Constant(value=int(stop))],
            keywords=[],
        ):
            # Compared with a few numbers later: a longer list is never needed.
            return list(range(start, min(stop, start + 100)))
    value = ast.literal_eval(node)
    return list(value) if isinstance(value, tuple) else value
