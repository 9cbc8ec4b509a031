"""A text as numbers: its tokens, the vocabulary of its training part, and what that lacks."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from nasp.errors import UsageError

END, UNKNOWN = "<eos>", "<unk>"
PARTS = ("train", "valid", "test")

TokenKind = Literal["words", "char"]


@dataclass(frozen=True)
class Corpus:
    """A text in three parts.

    Attributes:
        name: the name that it was loaded by.
        vocabulary: the tokens of the training part, the most frequent first; then ``<unk>``,
            where another part needs it and the training part has none.
        parts: ``train``, ``valid`` and ``test``, int64 ``[N]``, each in the text's order.
        unknown: how many tokens of each part are not in the vocabulary and became ``<unk>``.
    """

    name: str
    vocabulary: tuple[str, ...]
    parts: Mapping[str, Tensor]
    unknown: Mapping[str, int]

    def described(self) -> str:
        """Return a sentence: sizes, and the share of unknown tokens."""
        sizes = ", ".join(f"{len(tokens):,} {part}" for part, tokens in self.parts.items())
        unknown = ", ".join(
            f"{self.unknown[part]:,} of {part} ({self.unknown[part] / len(self.parts[part]):.1%})"
            for part in ("valid", "test")
        )
        return (
            f"{sizes} tokens, a vocabulary of {len(self.vocabulary):,};"
            f" unknown and read as {UNKNOWN}: {unknown}"
        )


def corpus_of(name: str, texts: Mapping[str, str], kind: TokenKind) -> Corpus:
    """Return a text as numbers.

    Args:
        name: what error messages call it.
        texts: ``train``, ``valid`` and ``test``.
        kind: ``"words"`` are what stands between blanks, ``"char"`` are single characters;
            either way every line ends with ``<eos>``, an empty one too.

    Raises:
        UsageError: a part holds nothing, or the training part fewer than two different tokens.
    """
    for part in PARTS:
        if not texts[part].strip():
            raise UsageError(f"The {part} text of '{name}' is empty: there is nothing to read.")
    counts = Counter(_tokens(texts["train"], kind))
    if len(counts.keys() - {END, UNKNOWN}) < 2:
        raise UsageError(
            f"The training text of '{name}' has a vocabulary of one"
            f" {'word' if kind == 'words' else 'character'}: there is nothing to predict."
        )
    vocabulary = [token for token, _ in counts.most_common()]
    number_of = {token: number for number, token in enumerate(vocabulary)}
    parts, unknown = {}, {}
    for part in PARTS:
        known = [number_of.get(token, -1) for token in _tokens(texts[part], kind)]
        unknown[part] = known.count(-1)
        parts[part] = torch.tensor(array("q", known))
    if any(unknown.values()):
        if UNKNOWN not in number_of:
            vocabulary.append(UNKNOWN)
        stand_in = number_of.get(UNKNOWN, len(vocabulary) - 1)
        parts = {part: t.masked_fill(t == -1, stand_in) for part, t in parts.items()}
    return Corpus(name, tuple(vocabulary), parts, unknown)


def read_text(path: Path) -> str:
    """Return the text of a file in UTF-8.

    Raises:
        UsageError: it is missing, empty, no text, or in another encoding.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"Cannot read {path}: {error.strerror or error}.") from error
    if not data.strip():
        raise UsageError(f"{path} is empty: it must hold text.")
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise UsageError(f"{path} is UTF-16, not UTF-8: convert it, such as with iconv -t utf-8.")
    if b"\0" in data:
        raise UsageError(f"{path} is a binary file: it must hold plain text.")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{path} is not UTF-8 (byte {error.start:,} cannot be read): convert it, such as with"
            " iconv -f latin1 -t utf-8."
        ) from error
    return text.replace("\r\n", "\n")


def _tokens(text: str, kind: TokenKind) -> Iterator[str]:
    # Not splitlines: that also splits at characters that are no ends of lines to anyone else.
    for line in text.removesuffix("\n").split("\n"):
        yield from line.split() if kind == "words" else line
        yield END
