"""The texts that are known by name, and the user's own."""

from __future__ import annotations

import os
import re
from collections import Counter
from pathlib import Path

from nasp.domains.root import default_root
from nasp.domains.text.corpus import PARTS, UNKNOWN, Corpus, TokenKind, corpus_of, read_text
from nasp.errors import NaspError, UsageError, unknown_name

RARE = 3
"""Words of the embedded text that are seen less often in its training part are ``<unk>``."""

_SOURCES = {
    "ptb": (
        "ptb.{}.txt",
        "the archive simple-examples.tgz of Tomáš Mikolov's RNNLM"
        " (http://www.fit.vutbr.cz/~imikolov/rnnlm/), folder data",
    ),
    "wikitext-2": (
        "wiki.{}.tokens",
        "the archive wikitext-2-v1.zip of Salesforce Research (Merity et al., 2016)",
    ),
}
EMBEDDED = "pydoc"
TEXTS = (EMBEDDED, *_SOURCES, "text:DIR")
"""What `load_text` knows by name."""


def load_text(data: str, root: Path | None = None, kind: TokenKind = "words") -> Corpus:
    """Load a text by name.

    Args:
        data: ``pydoc`` (the language reference that comes with Python, as ``help("for")`` shows
            it: it differs from version to version), ``ptb``, ``wikitext-2``, or ``text:DIR``, a
            folder with ``train.txt``, ``valid.txt`` and ``test.txt``.
        root: where the folders ``ptb`` and ``wikitext-2`` lie; default NASP_DATA, or else
            ~/.cache/nasp.
        kind: what a token is, ``"words"`` or ``"char"``.

    Raises:
        UsageError: the name is unknown; a file is missing, empty, no text or not in UTF-8; or
            there are fewer than two words.
        NaspError: this Python comes without its language reference.
    """
    scheme, _, folder = data.partition(":")
    if scheme == "text" and folder:
        return corpus_of(data, _read_folder(Path(os.path.expanduser(folder))), kind)
    if data == EMBEDDED:
        return corpus_of(data, _language_reference(kind), kind)
    if data not in _SOURCES:
        raise unknown_name("text", data, TEXTS)
    pattern, source = _SOURCES[data]
    place = (root or default_root()) / data
    names = [pattern, "{}.txt"]
    found = [n for n in names if all((place / n.format(part)).is_file() for part in PARTS)]
    if not found:
        files = ", ".join(pattern.format(part) for part in PARTS)
        raise UsageError(
            f"'{data}' is not in {place}: get {source}, and put its {files} there, or say"
            " --data text:DIR."
        )
    return corpus_of(data, {p: read_text(place / found[0].format(p)) for p in PARTS}, kind)


def _read_folder(folder: Path) -> dict[str, str]:
    if not folder.is_dir():
        raise UsageError(f"There is no folder {folder}: text:DIR takes one with train.txt in it.")
    missing = [f"{part}.txt" for part in PARTS if not (folder / f"{part}.txt").is_file()]
    if missing:
        raise UsageError(
            f"{folder} lacks {' and '.join(missing)}: it must hold train.txt, valid.txt and"
            " test.txt."
        )
    return {part: read_text(folder / f"{part}.txt") for part in PARTS}


def _language_reference(kind: TokenKind) -> dict[str, str]:
    """Return Python's language reference, its lines dealt out as train, valid and test.

    Words are in lower case and apart from punctuation, as in the Penn Treebank, rare ones
    ``<unk>``; of ten blocks of a hundred lines eight go to train.
    """
    try:
        from pydoc_data.topics import topics
    except ImportError as error:
        raise NaspError(
            "This Python comes without pydoc_data, the text of 'pydoc': say --data text:DIR."
        ) from error
    pages: dict[str, str] = dict(topics)
    lines = [line for name in sorted(pages) for line in _plain_lines(pages[name])]
    dealt: dict[str, list[list[str]]] = {part: [] for part in PARTS}
    for number, line in enumerate(lines):
        dealt[{8: "valid", 9: "test"}.get(number // 100 % 10, "train")].append(line)
    counts = Counter(word for line in dealt["train"] for word in line)
    least = RARE if kind == "words" else 0
    return {
        part: "\n".join(
            " ".join(word if counts[word] >= least else UNKNOWN for word in line) for line in lines
        )
        for part, lines in dealt.items()
    }


def _plain_lines(page: str) -> list[list[str]]:
    words = (re.findall(r"\w+|[^\w\s]", line.lower()) for line in page.splitlines())
    return [line for line in words if line]
