"""A pool for tests: what needs a fresh process runs in this one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from nasp.runs.pool import InTurn, Work, in_turn


class Here:
    """Instead of processes: runs in this one."""

    def __init__(self, *_: object) -> None: ...

    def run(self, works: Any, *more: Any) -> Any:
        return InTurn().run((replace(work, fresh=False) for work in works), *more)


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> list[Work]:
    """Run all works here, and return those that wanted a process of their own."""
    asked: list[Work] = []

    class Noting(Here):
        def run(self, works: Any, *more: Any) -> Any:
            asked.extend(works := list(works))
            return super().run(works, *more)

    monkeypatch.setattr(in_turn, "Processes", Noting)
    return asked
