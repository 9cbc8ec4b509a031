"""What is taken of images where the user says nothing: the paper's settings, small for digits."""

from __future__ import annotations

from nasp.domains.domain import SearchDefaults, TrainDefaults

DIGITS = "digits"
"""The embedded images, of 8×8."""

_CELLS = {"nasbench201": 5, "nasbench201-3": 5}  # a stage; in all other spaces cells in all
_CELLS_DIGITS = {"nasbench201": 1, "nasbench201-3": 1}
_OTHER_CELLS, _OTHER_CELLS_DIGITS = 8, 3


def default_space(data: str) -> str:
    """Return the search space for an image set: the small one for the embedded digits."""
    return "nasbench201" if data == DIGITS else "darts"


def search_defaults(data: str, space: str) -> SearchDefaults:
    """Return the defaults of a search.

    Source: NASP authors' code for the sizes; on digits all is smaller, and the alphas step ten
    times farther, since there are fifty times fewer steps.
    """
    final = train_defaults(data, space).size
    if data != DIGITS:
        return SearchDefaults(
            size={"channels": 16, "cells": _CELLS.get(space, _OTHER_CELLS)},
            data={"batch_size": 64},
            search={"epochs": 50},
            bound_at=final,
        )
    return SearchDefaults(
        size={"channels": 8, "cells": _CELLS_DIGITS.get(space, _OTHER_CELLS_DIGITS)},
        data={"batch_size": 32},
        search={"epochs": 15},
        settings={"lr": 3e-3},
        selection={"epochs": 48, "first_rung": 4},  # an epoch is some twenty steps
        bound_at=final,
    )


def train_defaults(data: str, space: str) -> TrainDefaults:
    """Return the defaults of a training.

    Source: the NASP paper's evaluation for cell spaces; NAS-Bench-201 (Dong and Yang, 2020),
    Sec. 2.3, for its own.
    """
    plain = {"auxiliary": 0.0, "drop_path": 0.0}
    if data == DIGITS:
        return TrainDefaults(
            {"channels": 16, "cells": _CELLS_DIGITS.get(space, _OTHER_CELLS_DIGITS)},
            {"batch_size": 32, "cutout": 0},
            {"epochs": 15, **plain},
        )
    if space in _CELLS:
        return TrainDefaults(
            {"channels": 16, "cells": 5},
            {"batch_size": 256, "cutout": 0},
            {"epochs": 200, "lr": 0.1, "weight_decay": 5e-4, **plain},
        )
    return TrainDefaults(
        {"channels": 36, "cells": 20},
        {"batch_size": 96, "cutout": 16},
        {"epochs": 600, "auxiliary": 0.4, "drop_path": 0.2},
    )
