"""Text for a terminal or a file whose encoding lacks some of its characters."""

from __future__ import annotations

import codecs
import io
import sys
import unicodedata

PLAIN = str.maketrans(
    {"±": "+/-", "×": "x", "τ": "tau", "η": "eta", "†": "+", "–": "-", "—": "-", "→": "->"}
    | dict(zip("▁▂▃▄▅▆▇█", "_.-~=+*#", strict=True))
)
"""What is written of a character that is not there."""


def write_any_text() -> None:
    """Let what is printed never fail for the sake of a character; in UTF-8 nothing changes."""
    codecs.register_error("nasp.plain", _plainly)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="nasp.plain")


def _plainly(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end].translate(PLAIN)
    letters = unicodedata.normalize("NFKD", text)
    plain = "".join(letter for letter in letters if not unicodedata.combining(letter))
    return plain.encode("ascii", "replace").decode(), error.end
