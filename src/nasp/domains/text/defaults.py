"""What is taken of texts where the user says nothing: DARTS's settings, small for pydoc."""

from __future__ import annotations

from typing import Any

from nasp.domains.domain import SearchDefaults, Settings, TrainDefaults
from nasp.domains.text.corpora import EMBEDDED
from nasp.spaces.recurrent import RECURRENT

_LIGHT = {"dropouts": {"output": 0.3, "hidden": 0.1, "input": 0.3, "embedding": 0.1}}
_SGD: dict[str, Any] = {
    "lr": 20.0,
    "lr_min": None,  # constant, as in DARTS
    "momentum": 0.0,
    "weight_decay": 5e-7,
    "clip": 0.25,
}


def default_space(_data: Settings) -> str:
    """Return the search space for a text."""
    return RECURRENT.name


def search_defaults(data: str, _space: str) -> SearchDefaults:
    """Return the defaults of a search.

    Source: DARTS's and NASP's searches on the Penn Treebank; on the embedded text all is smaller.
    """
    if data == EMBEDDED:
        return SearchDefaults(
            {"channels": 64, "cells": 1}, {"batch_size": 64}, {"epochs": 3, **_SGD}, _LIGHT
        )
    return SearchDefaults(
        {"channels": 300, "cells": 1},
        {"batch_size": 256},
        {"epochs": 50, **_SGD},
        settings={"lr": 3e-3, "weight_steps": 1},
    )


def train_defaults(data: str, _space: str) -> TrainDefaults:
    """Return the defaults of a training.

    Source: DARTS's evaluation on the Penn Treebank; on the embedded text all is smaller.
    """
    if data == EMBEDDED:
        return TrainDefaults(
            {"channels": 64, "cells": 1},
            {"batch_size": 32, "varied": True},
            {"epochs": 3, **_LIGHT},
        )
    return TrainDefaults({"channels": 850, "cells": 1}, {"batch_size": 64, "varied": True})
