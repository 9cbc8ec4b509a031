"""Which fields of which settings are options; several commands share these."""

from __future__ import annotations

from nasp.cli.fields import Classes, Section


def _measured() -> Classes:
    from nasp.bench.steps.settings import BenchSettings

    return {"": BenchSettings}


def _repetition() -> Classes:
    from nasp.bench.steps.rounds import Repetition

    return {"": Repetition}


MEASURED = Section("settings", _measured, but=["path_candidates"])
ROUNDS = Section("repetition", _repetition)
