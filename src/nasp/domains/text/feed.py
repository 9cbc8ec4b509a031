"""Which text a search or a training reads, in which batches."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict, Field

from nasp.domains.text.corpora import load_text
from nasp.domains.text.corpus import Corpus, TokenKind
from nasp.domains.text.loader import TextLoader
from nasp.errors import NaspError
from nasp.runs.files import write_text_atomic

VOCABULARY = "vocabulary.json"
"""The file of a run folder that holds the vocabulary."""
EVALUATION_COLUMNS = 10
"""Columns in which a text is measured (DARTS)."""


class TextConfig(BaseModel):
    """Which text, and how it is fed."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    name: str
    """pydoc, ptb, wikitext-2 or text:DIR."""
    root: Path | None = None
    """Where data sets lie; default $NASP_DATA, else ~/.cache/nasp."""
    tokens: TokenKind = "words"
    """What a token is: words or char."""
    batch_size: int = Field(64, ge=1)
    """Columns into which the text is cut."""
    bptt: int = Field(35, ge=1)
    """Tokens of a column in a step, through which gradients go back."""
    varied: bool = False
    """Let the length of steps vary around that, as AWD-LSTM does."""


def read_corpus(data: TextConfig) -> Corpus:
    """Read the text; see `nasp.domains.text.corpora.load_text`."""
    return load_text(data.name, data.root, data.tokens)


def training_loader(
    corpus: Corpus,
    part: str,
    data: TextConfig,
    state_size: int,
    device: torch.device,
    seed: int,
) -> TextLoader:
    """Return a loader of batches to learn from.

    Args:
        corpus: the text.
        part: of it, ``"train"`` or, for the alphas, ``"valid"``.
        data: how it is fed.
        state_size: values of the network's hidden state.
        device: the network's.
        seed: of the lengths, where they vary.
    """
    return TextLoader(
        corpus.parts[part],
        batch_size=data.batch_size,
        bptt=data.bptt,
        state_size=state_size,
        varied=data.varied,
        seed=seed,
        device=device,
    )


def measuring_loader(
    corpus: Corpus, part: str, data: TextConfig, state_size: int, device: torch.device
) -> TextLoader:
    """Return a loader of all of a part, each pass the same."""
    return TextLoader(
        corpus.parts[part],
        batch_size=EVALUATION_COLUMNS,
        bptt=data.bptt,
        state_size=state_size,
        training=False,
        device=device,
    )


def keep_vocabulary(corpus: Corpus, run: Path) -> None:
    """Write the vocabulary into a run folder as a JSON list: a token's number is its place.

    Raises:
        NaspError: the folder holds another, since the text has changed.
    """
    path = run / VOCABULARY
    text = json.dumps(corpus.vocabulary, ensure_ascii=False, indent=0) + "\n"
    if not path.is_file():
        write_text_atomic(path, text)
    elif path.read_text(encoding="utf-8") != text:
        raise NaspError(
            f"The text '{corpus.name}' has changed since the run in {run} was begun: its words are"
            " not those of vocabulary.json. Bring the text back, or begin a new run."
        )


def vocabulary_size(run: Path) -> int | None:
    """Return how many tokens the vocabulary of a run folder has; None before it was read."""
    path = run / VOCABULARY
    return len(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None
