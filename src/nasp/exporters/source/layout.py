"""Python source laid out as its formatters do, for the few forms that exported files have.

What does not fit in a line is broken at its brackets, an item a line, with a comma behind the
last. Formatters leave such a bracket open, whatever the length of a line they were set to; so a
file is in their format at any length from `WIDTH` on.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

WIDTH = 88
"""Characters of a line."""
INDENT = "    "

_STRINGS_AND_MARKS = re.compile(r""""(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|[()\[\]{},]""")
_REPEATED = re.compile(r"\*\[(.*) for _ in range\((\d+)\)\],")


def call(function: str, items: Iterable[str]) -> str:
    """Return a call of a function by its name; items may be named, as ``name=value``."""
    return f"{function}({', '.join(items)})"


def listed(items: Sequence[str], is_list: bool) -> str:
    """Return a list or a tuple."""
    inside = ", ".join(items)
    return f"[{inside}]" if is_list else f"({inside}{',' * (len(items) == 1)})"


def laid_out(code: str, depth: int) -> Iterator[str]:
    """Yield the lines of a statement, or of an item with its comma, at a depth of indentation."""
    margin = INDENT * depth
    items, start, end = _widest_bracket(code)
    if len(margin + code) <= WIDTH or not items:
        yield margin + code
        return
    if repeated := _REPEATED.fullmatch(code):
        # Broken, it would have no comma behind its last item: so each item has its own lines.
        for _ in range(int(repeated[2])):
            yield from laid_out(f"{repeated[1]},", depth)
        return
    yield margin + code[:start]
    for item in items:
        yield from laid_out(f"{item},", depth + 1)
    yield margin + code[end:]


def _widest_bracket(code: str) -> tuple[list[str], int, int]:
    """Return the items of the widest of the outer brackets, and where its inside lies."""
    widest: tuple[list[str], int, int] = [], 0, 0
    depth, cuts = 0, [0]
    for match in _STRINGS_AND_MARKS.finditer(code):
        mark, place = match.group(), match.start()
        if mark in ("(", "[", "{"):
            depth += 1
            cuts = [place] if depth == 1 else cuts
        elif mark == "," and depth == 1:
            cuts.append(place)
        elif mark in (")", "]", "}"):
            depth -= 1
            if depth == 0 and place - cuts[0] > widest[2] - widest[1]:
                items = [code[one + 1 : other].strip() for one, other in pairwise([*cuts, place])]
                widest = [item for item in items if item], cuts[0] + 1, place
    return widest


def docstring(paragraphs: Sequence[str], depth: int) -> Iterator[str]:
    """Yield the lines of a docstring: its first paragraph, in one line, then the rest, wrapped.

    A first paragraph that is longer than a line gets another before it. A paragraph that begins
    with a blank is kept as it is.
    """
    margin = INDENT * depth
    first, rest = paragraphs[0], paragraphs[1:]
    if len(f'{margin}"""{first}"""') > WIDTH:
        first, rest = "Compute the output.", paragraphs
    if not rest:
        yield f'{margin}"""{first}"""'
        return
    yield f'{margin}"""{first}'
    wrapper = textwrap.TextWrapper(
        WIDTH, margin, margin, break_long_words=False, break_on_hyphens=False
    )
    for paragraph in rest:
        yield ""
        yield from [margin + paragraph] if paragraph[0] == " " else wrapper.wrap(paragraph)
    yield f'{margin}"""'
