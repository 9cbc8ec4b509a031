"""Language modelling."""

from __future__ import annotations

from nasp.domains.domain import Domain, HandMade
from nasp.domains.text import networks
from nasp.domains.text.corpora import EMBEDDED, TEXTS
from nasp.domains.text.data import TextConfig, known_shape, read_corpus
from nasp.domains.text.defaults import default_space, search_defaults, train_defaults
from nasp.domains.text.train import TextTrainConfig
from nasp.spaces import LanguageConfig

TEXT = Domain(
    name="text",
    data_names=TEXTS,
    embedded=EMBEDDED,
    data=TextConfig,
    supernet=networks.TextSupernet,
    train=TextTrainConfig,
    network=LanguageConfig,
    shape=("vocabulary",),
    by_hand={"lstm": HandMade("LSTM", networks.hand_made)},
    default_space=default_space,
    search_defaults=search_defaults,
    train_defaults=train_defaults,
    read=read_corpus,
    known_shape=known_shape,
    sized=networks.sized,
    example=networks.example,
    stand_in=networks.stand_in,
    target=networks.target,
    described=networks.described,
)
"""Running text, token by token."""
