"""Python source laid out as its formatters do, for the few forms that exported files have.

What does not fit in a line is broken at its brackets, an item a line, with a comma behind the
last. Formatters leave such a bracket open, whatever the length of a line they were set to; so a
file is in their format at any length from `WIDTH` on.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

WIDTH = 88
"""Characters of a line."""
INDENT = "    "


@dataclass(frozen=True)
class Bracket:
    """Items between brackets, such as a call's arguments.

    Attributes:
        opening: all up to and with the opening bracket: ``"nn.Conv2d("``.
        items: what stands between commas.
        closing: the closing bracket and all behind it.
    """

    opening: str
    items: tuple[Code, ...]
    closing: str

    def __str__(self) -> str:
        return f"{self.opening}{', '.join(map(str, self.items))}{self.closing}"


Code = str | Bracket
"""An expression: a text in one line, or a bracket that may be broken."""


def call(function: str, arguments: Sequence[Code], named: Iterable[tuple[str, Code]] = ()) -> Code:
    """Return a call of a function by its name."""
    items = [*arguments, *(prefixed(f"{name}=", value) for name, value in named)]
    return Bracket(f"{function}(", tuple(items), ")")


def prefixed(prefix: str, code: Code) -> Code:
    """Return an expression with a text before it."""
    if isinstance(code, str):
        return prefix + code
    return Bracket(prefix + code.opening, code.items, code.closing)


def suffixed(code: Code, suffix: str) -> Code:
    """Return an expression with a text behind it."""
    if isinstance(code, str):
        return code + suffix
    return Bracket(code.opening, code.items, code.closing + suffix)


def laid_out(code: Code, depth: int) -> Iterator[str]:
    """Yield the lines of a statement, or of an item with its comma, at a depth of indentation."""
    margin = INDENT * depth
    line = margin + str(code)
    if len(line) <= WIDTH or isinstance(code, str) or not code.items:
        yield line
        return
    yield margin + code.opening
    for item in code.items:
        yield from laid_out(suffixed(item, ","), depth + 1)
    yield margin + code.closing


def fits(code: Code, depth: int) -> bool:
    """Tell whether an expression stays in one line at a depth of indentation."""
    return len(INDENT * depth + str(code)) <= WIDTH


def docstring(paragraphs: Sequence[str], depth: int) -> Iterator[str]:
    """Yield the lines of a docstring: its first paragraph, in one line, then the rest, wrapped.

    A first paragraph that is longer than a line gets another before it. A paragraph that begins
    with a blank is kept as it is, line by line.
    """
    margin = INDENT * depth
    first, rest = paragraphs[0], paragraphs[1:]
    if len(f'{margin}"""{first}"""') > WIDTH:
        first, rest = "Compute the output.", paragraphs
    if not rest:
        yield f'{margin}"""{first}"""'
        return
    yield f'{margin}"""{first}'
    for paragraph in rest:
        yield ""
        if paragraph.startswith(" "):
            yield from (margin + line for line in paragraph.splitlines())
        else:
            yield from textwrap.wrap(
                paragraph,
                WIDTH,
                initial_indent=margin,
                subsequent_indent=margin,
                break_long_words=False,
                break_on_hyphens=False,
            )
    yield f'{margin}"""'
