"""What the commands have in common which let several contenders search."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

from nasp.cli import options as o
from nasp.cli.fields import Given, Section

if TYPE_CHECKING:
    from nasp.bench.contests.contender import Contender
    from nasp.bench.contests.quality_settings import QualitySettings
    from nasp.bench.truth.truth import Truth


class Contestants(BaseModel):
    """Who searches, how often, and who tells what the found cells are worth."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    strategies: str | None = None
    """Comma-separated, with their default settings; see --contender."""
    contender: list[str] = []
    """'LABEL=STRATEGY key=value ...': a variant: keys are settings of a search (select=train,
    selection.epochs=8) or of the strategy (settings.lr=0.01, exploration=0.2); repeatable."""
    table: str | None = None
    """Every cell's accuracy: a .csv with arch and test_accuracy, a .json of nasp bench table, or
    nats:PATH; default embedded, for digits and fashion-mnist."""
    space: str | None = None
    """The space of a table in CSV; default nasbench201."""
    seeds: int = Field(3, ge=1)
    """Searches of each contender."""
    first_seed: int = Field(0, ge=0)
    """The seeds count from here."""

    def contenders(self, default: Sequence[str]) -> list[Contender]:
        """Return who was named, or else these strategies."""
        from nasp.bench.contests.contender import contenders_of

        is_named = self.strategies is not None or self.contender
        return contenders_of(o.names(self.strategies) if is_named else default, self.contender)

    def all_seeds(self) -> range:
        """Return the seeds of each contender's searches."""
        return range(self.first_seed, self.first_seed + self.seeds)

    def settings(self, given: Given) -> tuple[QualitySettings, Truth]:
        """Return what all contenders have alike, and the table."""
        from nasp.bench.contests.quality_settings import quality_settings

        data = dict(given["data"])
        name = data.pop("name", None)
        return quality_settings(
            self.table, name, self.space, given["budget"], given["contest"], data
        )


CONTESTANTS = Section("contestants", lambda: {"": Contestants})
