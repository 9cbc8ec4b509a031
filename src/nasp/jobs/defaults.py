"""What is taken where the user says nothing: the paper's settings, smaller for small data."""

from __future__ import annotations

from typing import Any

from nasp.domains.text.corpora import EMBEDDED, is_text
from nasp.errors import UsageError, unknown_name
from nasp.spaces import find_space
from nasp.strategies.nasp import PAPER

Defaults = dict[str, Any]

_SEARCH: Defaults = {"channels": 16, "epochs": 50, "batch_size": 64}
_SEARCH_DIGITS: Defaults = {"channels": 8, "epochs": 15, "batch_size": 32}
_SEARCH_CELLS = {"nasbench201": 5, "nasbench201-3": 5}  # a stage; in all other spaces cells in all
_SEARCH_CELLS_DIGITS = {"nasbench201": 1, "nasbench201-3": 1}
_OTHER_CELLS, _OTHER_CELLS_DIGITS = 8, 3
_DIGITS_SETTINGS: Defaults = {"lr": 3e-3}
_DIGITS_SELECTION: Defaults = {"epochs": 48, "first_rung": 4}  # an epoch is some twenty steps

_TRAIN_CELL: Defaults = {
    "channels": 36,
    "cells": 20,
    "epochs": 600,
    "batch_size": 96,
    "auxiliary": 0.4,
    "drop_path": 0.2,
    "cutout": 16,
}
_TRAIN_NASBENCH201: Defaults = {
    "channels": 16,
    "cells": 5,
    "epochs": 200,
    "batch_size": 256,
    "lr": 0.1,
    "weight_decay": 5e-4,
    "auxiliary": 0.0,
    "drop_path": 0.0,
    "cutout": 0,
}
_TRAIN_DIGITS: Defaults = {
    "channels": 16,
    "epochs": 15,
    "batch_size": 32,
    "auxiliary": 0.0,
    "drop_path": 0.0,
    "cutout": 0,
}

_SEARCH_TEXT: Defaults = {
    "channels": 300,
    "cells": 1,
    "epochs": 50,
    "batch_size": 256,
    "dropouts": {},
    "settings": {"lr": 3e-3},
    "selection": {},
    "recipe": {"lr": 20.0, "momentum": 0.0, "weight_decay": 5e-7, "clip": 0.25},
}
_TRAIN_TEXT: Defaults = {"channels": 850, "cells": 1, "batch_size": 64, "varied": True}
_LIGHT = {"output": 0.3, "hidden": 0.1, "input": 0.3, "embedding": 0.1}
_SEARCH_PYDOC: Defaults = {
    **_SEARCH_TEXT,
    "channels": 64,
    "epochs": 3,
    "batch_size": 64,
    "dropouts": _LIGHT,
    "settings": {},
}
_TRAIN_PYDOC: Defaults = {
    **_TRAIN_TEXT,
    "channels": 64,
    "batch_size": 32,
    "epochs": 3,
    "dropouts": _LIGHT,
}


def default_data(space: str | None) -> str:
    """Return the data where none are named: embedded images, or for a space of text a text."""
    return EMBEDDED if space is not None and find_space(space).data == "text" else "digits"


def is_embedded(data: str) -> bool:
    """Tell whether data come with what is installed, for a first try."""
    return data in ("digits", EMBEDDED)


def default_space(data: str) -> str:
    """Return the search space for a data set: the small one for the embedded digits."""
    if is_text(data):
        return "recurrent"
    return "nasbench201" if data == "digits" else "darts"


def search_defaults(data: str, space: str) -> Defaults:
    """Return channels, cells, epochs, batch_size, settings of the strategy, and of the selection.

    Source: NASP authors' code for the sizes; on digits, an image of 8×8, all is smaller, and the
    alphas step ten times farther, since there are fifty times fewer steps.
    """
    if data == "digits":
        cells = _SEARCH_CELLS_DIGITS.get(space, _OTHER_CELLS_DIGITS)
        own = {"settings": dict(_DIGITS_SETTINGS), "selection": dict(_DIGITS_SELECTION)}
        return {**_SEARCH_DIGITS, "cells": cells, **own}
    cells = _SEARCH_CELLS.get(space, _OTHER_CELLS)
    return {**_SEARCH, "cells": cells, "settings": {}, "selection": {}}


def text_search_defaults(data: str) -> Defaults:
    """Return the same of a search on text, and its `dropouts` and the weights' `recipe`.

    Source: DARTS's and NASP's searches on the Penn Treebank; on the embedded text all is smaller.
    """
    return dict(_SEARCH_PYDOC if data == EMBEDDED else _SEARCH_TEXT)


def text_train_defaults(data: str) -> Defaults:
    """Return channels, cells, batch_size, ... of a training on text, where not those of its class.

    Source: DARTS's evaluation on the Penn Treebank; on the embedded text all is smaller.
    """
    return dict(_TRAIN_PYDOC if data == EMBEDDED else _TRAIN_TEXT)


def train_defaults(data: str, space: str) -> Defaults:
    """Return channels, cells, epochs, batch_size, auxiliary, drop_path, cutout, ... of a training.

    Source: the NASP paper's evaluation for cell spaces; NAS-Bench-201 (Dong and Yang, 2020),
    Sec. 2.3, for its own.
    """
    if data == "digits":
        return {**_TRAIN_DIGITS, "cells": _SEARCH_CELLS_DIGITS.get(space, _OTHER_CELLS_DIGITS)}
    return dict(_TRAIN_NASBENCH201 if space in _SEARCH_CELLS else _TRAIN_CELL)


_PRESETS: dict[str, dict[str, Defaults]] = {"paper": {"nasp": PAPER}}


def preset_settings(preset: str, strategy: str) -> Defaults:
    """Return a strategy's settings by a preset: ``"paper"`` for those of the NASP authors' code.

    Raises:
        UsageError: there is no such preset, or it has nothing for this strategy.
    """
    if preset not in _PRESETS:
        raise unknown_name("preset", preset, list(_PRESETS))
    if strategy not in _PRESETS[preset]:
        raise UsageError(
            f"Preset '{preset}' has no settings for strategy '{strategy}': leave it out, for a"
            " rival's defaults are those of its own authors."
        )
    return dict(_PRESETS[preset][strategy])
