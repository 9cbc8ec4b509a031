"""Which fields of which settings are options; several commands share these."""

from __future__ import annotations

from nasp.cli.fields import BY_DATA, Classes, Section


def _measured() -> Classes:
    from nasp.bench.steps.settings import BenchSettings

    return {"": BenchSettings}


def _repetition() -> Classes:
    from nasp.bench.steps.rounds import Repetition

    return {"": Repetition}


def _epoch() -> Classes:
    from nasp.bench.steps.epoch import EpochSettings

    return {"": EpochSettings}


def _images() -> Classes:
    from nasp.domains.images.data import ImageConfig

    return {"images": ImageConfig}


def _cells_of_a_table() -> Classes:
    from nasp.bench.tables.making import TableSettings

    return {"": TableSettings}


def _budget() -> Classes:
    from nasp.bench.contests.settings import Budget

    return {"": Budget}


def _contest() -> Classes:
    from nasp.bench.contests.settings import ContestSettings

    return {"": ContestSettings}


DATA_FLAGS = {"name": "data", "root": "data-dir"}

REPEATABLE = {"deterministic": "deterministic/fast"}
MEASURED = Section("settings", _measured, but=["path_candidates"], flags=REPEATABLE)
EPOCH = Section("settings", _epoch, flags=REPEATABLE)
ROUNDS = Section("repetition", _repetition)

TABLE_DATA = Section(
    "data",
    _images,
    flags=DATA_FLAGS,
    defaults={"name": "digits", "batch_size": BY_DATA, "subset": BY_DATA},
)
TABLE = Section(
    "table", _cells_of_a_table, but=["data"], defaults={"channels": BY_DATA, "epochs": BY_DATA}
)

CONTEST_DATA = Section(
    "data", _images, flags=DATA_FLAGS, defaults={"name": "the table's", "batch_size": BY_DATA}
)
CONTEST = Section(
    "contest",
    _contest,
    only=["channels", "cells", "threads", "device"],
    defaults={"channels": "the table's", "cells": "the table's"},
)
EPOCHS = Section("budget", _budget, only=["epochs"])
BUDGET = Section("budget", _budget)
