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


def laid_out(code: str, depth: int) -> Iterator[str]:
    """Yield the lines of a statement, or of an item with its comma, at a depth of indentation."""
    margin = INDENT * depth
    places = _widest_bracket(code)
    items = [code[one + 1 : other].strip() for one, other in pairwise(places)]
    if len(margin + code) <= WIDTH or not any(items):
        yield margin + code
    elif repeated := _REPEATED.fullmatch(code):
        # Broken, it would have no comma behind its last item: so each item has its own lines.
        for _ in range(int(repeated[2])):
            yield from laid_out(f"{repeated[1]},", depth)
    else:
        yield margin + code[: places[0] + 1]
        for item in filter(None, items):
            yield from laid_out(f"{item},", depth + 1)
        yield margin + code[places[-1] :]


def _widest_bracket(code: str) -> list[int]:
    """Return where the widest of the outer brackets opens, has its commas, and closes."""
    widest, places, depth = [0, 0], [0], 0
    for match in _STRINGS_AND_MARKS.finditer(code):
        mark, place = match.group(), match.start()
        depth += (mark in "([{") - (mark in ")]}")
        if mark in "([{" and depth == 1:
            places = [place]
        elif mark == "," and depth == 1:
            places.append(place)
        elif mark in ")]}" and depth == 0 and place - places[0] > widest[-1] - widest[0]:
            widest = [*places, place]
    return widest


def docstring(paragraphs: Sequence[str], depth: int) -> Iterator[str]:
    """Yield the lines of a docstring: its first paragraph, in one line, then the rest, wrapped.

    A first paragraph that is longer than a line gets another before it. A paragraph that begins
    with a blank is kept as it is.
    """
    margin, (first, *rest) = INDENT * depth, paragraphs
    if len(f'{margin}"""{first}"""') > WIDTH:
        first, rest = "Compute the output.", list(paragraphs)
    yield f'{margin}"""{first}' + '"""' * (not rest)
    wrapper = textwrap.TextWrapper(
        WIDTH, margin, margin, break_long_words=False, break_on_hyphens=False
    )
    for paragraph in rest:
        yield ""
        yield from [margin + paragraph] if paragraph[0] == " " else wrapper.wrap(paragraph)
    if rest:
        yield f'{margin}"""'
