"""What the commands have in common which let several contestants search."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

from nasp.cli import options as o
from nasp.cli.fields import Given

if TYPE_CHECKING:
    from nasp.bench.contests.contest import Contest


class Contestants(BaseModel):
    """Who searches, how often, and who tells what the found cells are worth."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    strategies: str | None = None
    """Comma-separated, with their default settings; see --contestant."""
    contestant: list[str] = []
    """'LABEL=STRATEGY key=value ...': a variant: keys are settings of a search (select=train,
    selection.epochs=8) or of the strategy (settings.lr=0.01, average=0.2); repeatable."""
    table: str | None = None
    """Every cell's accuracy: a .csv with arch and test_accuracy, a .json of nasp bench table, or
    nats:PATH; default embedded, for digits and fashion-mnist."""
    space: str | None = None
    """The space of a table in CSV; default nasbench201."""
    seeds: int = Field(3, ge=1)
    """Searches of each contestant."""
    first_seed: int = Field(0, ge=0)
    """The seeds count from here."""

    def contest(
        self, given: Given, default: Sequence[str], controls_of: str | None = None
    ) -> Contest:
        """Return the contest of those who were named, or else of these strategies.

        Args:
            given: of the command.
            default: names of strategies.
            controls_of: label of the contestant for which controls take part, too.
        """
        from nasp.bench.contests.contest import Contest
        from nasp.bench.contests.contestant import contestants_of, with_controls
        from nasp.bench.contests.settings import contest_settings

        is_named = self.strategies is not None or self.contestant
        names = o.names(self.strategies) if is_named else default
        contestants = contestants_of(names, self.contestant)
        data = dict(given["data"])
        name = data.pop("name", None)
        settings, table = contest_settings(
            self.table, name, self.space, given["budget"], given["contest"], data
        )
        if controls_of is not None:
            # With time to spend, random cells spend it in trainings.
            is_timed = settings.budget.seconds is not None
            contestants = with_controls(
                contestants, controls_of, lambda each: is_timed or settings.may_train(each)
            )
        seeds = range(self.first_seed, self.first_seed + self.seeds)
        return Contest(settings, contestants, seeds, table)
