"""A text as a search or a training uses it: which one, in which batches."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from pydantic import Field

from nasp.domains.domain import DataConfig, SearchLoaders, TrainLoaders
from nasp.domains.text.corpora import load_text
from nasp.domains.text.corpus import Corpus, TokenKind
from nasp.domains.text.loader import TextLoader
from nasp.domains.text.task import LanguageModelling
from nasp.domains.text.train import TextTrainConfig
from nasp.errors import NaspError
from nasp.runs.files import write_text_atomic
from nasp.spaces.language_model import LanguageModel
from nasp.training.events import Noted, Observer, nobody

VOCABULARY = "vocabulary.json"
"""The file of a run folder that holds the vocabulary."""
EVALUATION_COLUMNS = 10
"""Columns in which a text is measured (DARTS)."""


class TextConfig(DataConfig):
    """Which text, and how it is fed."""

    handed_on: ClassVar[tuple[str, ...]] = (*DataConfig.handed_on, "tokens", "bptt")

    name: str
    """pydoc, ptb, wikitext-2 or text:DIR."""
    batch_size: int = Field(64, ge=1)
    """Columns into which the text is cut."""
    tokens: TokenKind = "words"
    """What a token is: words or char."""
    bptt: int = Field(35, ge=1)
    """Tokens of a column in a step, through which gradients go back."""
    varied: bool = False
    """Let the length of steps vary around bptt, as AWD-LSTM does."""


@dataclass(frozen=True)
class TextData:
    """A text that was read; see `nasp.domains.domain.Data`.

    Attributes:
        config: how it is fed.
        corpus: the text.
    """

    config: TextConfig
    corpus: Corpus

    @property
    def shape(self) -> Mapping[str, Any]:
        """The number of tokens that there are."""
        return {"vocabulary": len(self.corpus.vocabulary)}

    def task(self, config: TextTrainConfig | None = None) -> LanguageModelling:
        """Return the prediction of the next token."""
        del config
        return LanguageModelling(self.config.bptt)

    def search_loaders(
        self, network: LanguageModel, device: torch.device, seed: int
    ) -> SearchLoaders:
        """Return loaders of the parts ``train`` for the weights and ``valid``, as in DARTS."""
        return SearchLoaders(
            self._learnt("train", network, device, 2 * seed),
            self._learnt("valid", network, device, 2 * seed + 1),
            self._measured("valid", network, device),
        )

    def train_loaders(
        self, network: LanguageModel, device: torch.device, seed: int
    ) -> TrainLoaders:
        """Return loaders of ``train``, and to measure on of ``valid`` and ``test``."""
        train = self._learnt("train", network, device, seed)
        valid, test = (self._measured(part, network, device) for part in ("valid", "test"))
        return TrainLoaders(train, valid, test, {"tokens": train.tokens})

    def keep(self, run: Path) -> None:
        """Write the vocabulary into a run folder as a JSON list: a token's number is its place.

        Raises:
            NaspError: the folder holds another, since the text has changed.
        """
        path = run / VOCABULARY
        text = json.dumps(self.corpus.vocabulary, ensure_ascii=False, indent=0) + "\n"
        if not path.is_file():
            write_text_atomic(path, text)
        elif path.read_text(encoding="utf-8") != text:
            raise NaspError(
                f"The text '{self.corpus.name}' has changed since the run in {run} was begun: its"
                " words are not those of vocabulary.json. Bring the text back, or begin a new run."
            )

    def _learnt(
        self, part: str, network: LanguageModel, device: torch.device, seed: int
    ) -> TextLoader:
        return TextLoader(
            self.corpus.parts[part],
            batch_size=self.config.batch_size,
            bptt=self.config.bptt,
            state_size=network.state_size,
            varied=self.config.varied,
            seed=seed,
            device=device,
        )

    def _measured(self, part: str, network: LanguageModel, device: torch.device) -> TextLoader:
        return TextLoader(
            self.corpus.parts[part],
            batch_size=EVALUATION_COLUMNS,
            bptt=self.config.bptt,
            state_size=network.state_size,
            training=False,
            device=device,
        )


def read_corpus(config: TextConfig, observe: Observer = nobody) -> TextData:
    """Read the text; `observe` is told what is in it."""
    corpus = load_text(config.name, config.root, config.tokens)
    observe(Noted(f"{config.name}: {corpus.described()}"))
    return TextData(config, corpus)


def known_shape(config: TextConfig, run: Path) -> Mapping[str, Any]:
    """Return how many tokens the vocabulary of a run folder has; nothing before it was read."""
    del config
    path = run / VOCABULARY
    if not path.is_file():
        return {}
    return {"vocabulary": len(json.loads(path.read_text(encoding="utf-8")))}
