"""What is taken of images where the user says nothing: the paper's settings, small for digits."""

from __future__ import annotations

from typing import Any

from nasp.domains.domain import SearchDefaults, Settings, TrainDefaults
from nasp.domains.images.folder import likely_side
from nasp.domains.images.networks import IMAGENET_SIZE

DIGITS = "digits"
"""The embedded images, of 8×8."""

_STAGED = {"nasbench201", "nasbench201-3", "mobile", "vit"}
"""Spaces whose cells are counted by the stage: one is searched, for a random path of a deep network
is hard to train, see docs/results."""
_OTHER_CELLS, _OTHER_CELLS_DIGITS = 8, 3
_CHANNELS = {"vit": 64}
_CHANNELS_DIGITS = {"vit": 16}

_LEAST_STEPS = 4000
"""Searches of three data sets rank cells by then about as well as they will, see docs/results."""
_IN_DOUBT = {"fallback": "train"}
_PLAIN = {"auxiliary": 0.0, "drop_path": 0.0}
_NASBENCH201 = TrainDefaults(
    {"channels": 16, "cells": 5},
    {"batch_size": 256, "cutout": 0},
    {"epochs": 200, "lr": 0.1, "weight_decay": 5e-4, **_PLAIN},
)
_SMOOTH: dict[str, Any] = {"lr": 0.05, "weight_decay": 4e-5, "label_smoothing": 0.1}
_TRAIN = {
    "nasbench201": _NASBENCH201,
    "nasbench201-3": _NASBENCH201,
    "mobile": TrainDefaults(
        {"channels": 16, "cells": 1},
        {"batch_size": 128, "cutout": 0},
        {"epochs": 150, **_SMOOTH, **_PLAIN},
    ),
    "vit": TrainDefaults(
        {"channels": 64, "cells": 2},
        {"batch_size": 128, "cutout": 0},
        {"epochs": 300, **_SMOOTH, "auxiliary": 0.0, "drop_path": 0.1},
    ),
}
_CELLS_OF_DARTS = TrainDefaults(
    {"channels": 36, "cells": 20},
    {"batch_size": 96, "cutout": 16},
    {"epochs": 600, "auxiliary": 0.4, "drop_path": 0.2},
)


def default_space(data: Settings) -> str:
    """Return the search space for an image set: the small one for the embedded digits.

    Of image files it is `mobile` where a network will read 128 pixels a side or more.

    Raises:
        UsageError: there is no such folder or file, or it is not laid out as it should be.
    """
    name = data["name"]
    if name == DIGITS:
        return "nasbench201"
    if not name.startswith(("folder:", "csv:")):
        return "darts"
    side = data.get("image_size") or likely_side(name, data.get("csv_columns"))
    return "mobile" if side >= IMAGENET_SIZE else "darts"


def search_defaults(data: str, space: str) -> SearchDefaults:
    """Return the defaults of a search.

    Source: NASP authors' code for the sizes in cells of DARTS; on digits all is smaller.
    """
    final = train_defaults(data, space).size
    if data != DIGITS:
        return SearchDefaults(
            size={
                "channels": _CHANNELS.get(space, 16),
                "cells": _cells(space, _OTHER_CELLS),
            },
            data={"batch_size": 64},
            search={"epochs": 50, "least_steps": _LEAST_STEPS, **_IN_DOUBT},
            bound_at=final,
        )
    return SearchDefaults(
        size={
            "channels": _CHANNELS_DIGITS.get(space, 8),
            "cells": _cells(space, _OTHER_CELLS_DIGITS),
        },
        data={"batch_size": 32},
        search={"epochs": 60, **_IN_DOUBT},
        selection={"epochs": 48, "first_rung": 4},  # an epoch is some twenty steps
        bound_at=final,
    )


def train_defaults(data: str, space: str) -> TrainDefaults:
    """Return the defaults of a training.

    Source: the NASP paper's evaluation for cell spaces; NAS-Bench-201 (Dong and Yang, 2020),
    Sec. 2.3, for its own. Those of `mobile` and `vit` are ours, near to MobileNetV3's decay.
    """
    if data == DIGITS:
        return TrainDefaults(
            {"channels": 16, "cells": _cells(space, _OTHER_CELLS_DIGITS)},
            {"batch_size": 32, "cutout": 0},
            {"epochs": 15, **_PLAIN},
        )
    return _TRAIN.get(space, _CELLS_OF_DARTS)


def _cells(space: str, others: int) -> int:
    return 1 if space in _STAGED else others
