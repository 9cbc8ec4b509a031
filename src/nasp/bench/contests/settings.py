"""What all contestants have alike: data, network, budget."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from nasp.bench.contests.contestant import Contestant
from nasp.bench.tables.accuracies import AccuracyTable, open_table
from nasp.bilevel.settings import may_train
from nasp.domains import domain_of
from nasp.errors import UsageError, validated
from nasp.jobs.options import search_job
from nasp.jobs.search_job import SearchJob
from nasp.runs.clock import Clock
from nasp.spaces import find_space


class Budget(BaseModel):
    """How long each contestant may search: so many epochs, or as many as fit in a time."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    epochs: int | None = Field(None, ge=1)
    """Epochs of each search; a selection comes on top; default those of a search on these data."""
    seconds: float | None = Field(None, gt=0)
    """Instead of epochs: what search and selection together may take; default no limit."""
    epoch_steps: int | None = Field(None, ge=1)
    """Steps of an epoch of the search, so that seconds are met finely; default a pass over the
    weights' batches."""
    clock: Clock = "wall"
    """Which seconds: wall, or cpu, the time that the process's threads spent on a processor,
    which other work on the machine hardly moves."""

    @model_validator(mode="after")
    def _is_one(self) -> Budget:
        if (self.epochs is None) == (self.seconds is None):
            raise ValueError("give either epochs or seconds")
        return self


class ContestSettings(BaseModel):
    """What all contestants have alike."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    data: dict[str, Any]
    """fields of `ImageConfig`."""
    space: str
    """The table's search space."""
    channels: int = Field(16, ge=1)
    """Channels of the first cell."""
    cells: int = Field(1, ge=1)
    """Cells in all; in nasbench201, mobile and vit cells a stage."""
    budget: Budget
    """How long each may search."""
    threads: int | None = Field(None, ge=1)
    """Threads of torch; default its own."""
    device: str = "auto"
    """auto (an accelerator if there is one), cpu, cuda or mps."""

    def job(
        self, contestant: Contestant, seed: int, epochs: int, selection_epochs: int = 0
    ) -> SearchJob:
        """Return a contestant's search.

        Args:
            contestant: whose.
            seed: fixes weights, halves and batches.
            epochs: of the search.
            selection_epochs: of its selection's stand-alone training; 0 leaves its own.

        Raises:
            UsageError: a setting does not fit.
        """
        search = dict(contestant.search)
        selection = dict(search.pop("selection", {}))
        if selection_epochs:
            selection["epochs"] = selection_epochs
        return search_job(
            data=self.data,
            space=self.space,
            size={"channels": self.channels, "cells": self.cells},
            search={
                "strategy": contestant.strategy,
                **search,
                "epochs": epochs,
                "epoch_steps": self.budget.epoch_steps,
                "seed": seed,
                "device": self.device,
            },
            settings=contestant.settings,
            selection=selection,
        )

    def may_train(self, contestant: Contestant) -> bool:
        """Tell whether a contestant may train networks alone, besides its search."""
        return may_train(self.job(contestant, seed=0, epochs=1).search)

    def shared(self) -> dict[str, Any]:
        """Return what another measurement must have too, to stand beside this one."""
        values = self.model_dump(mode="json")
        for private in ("root", "workers"):
            values["data"].pop(private, None)
        if self.budget.epoch_steps is None:
            del values["budget"]["epoch_steps"]
        return values


def contest_settings(
    table: str | None,
    data: str | None,
    space: str | None,
    budget: Mapping[str, Any],
    network: Mapping[str, Any],
    feed: Mapping[str, Any],
) -> tuple[ContestSettings, AccuracyTable]:
    """Return settings and table from what a user gave; the rest is the table's, or the default.

    Args:
        table: see `open_table`.
        data: the data set's name.
        space: see `open_table`.
        budget: fields of `Budget`; default the epochs of a search on these data.
        network: `channels`, `cells`, `threads` and `device`, where given.
        feed: fields of `ImageConfig` other than its name, where given.

    Raises:
        UsageError: a name or a value does not fit, or nobody says which data.
        NaspError: the table cannot be read.
    """
    known = open_table(table, data, space)
    if find_space(known.space).data != "images":
        raise UsageError(
            f"Cells of space '{known.space}' are not compared by a table: give another."
        )
    name = data or known.made_with.get("data")
    if name is None:
        raise UsageError(f"The table {known.name} does not say on which data: give --data NAME.")
    made_with = known.made_with if name == known.made_with.get("data") else {}
    sizes = {part: made_with[part] for part in ("channels", "cells") if part in made_with}
    defaults = domain_of(name).search_defaults(name, known.space)
    if "epochs" not in budget and "seconds" not in budget:
        budget = {**budget, "epochs": defaults.search["epochs"]}
    settings = validated(
        ContestSettings,
        {
            "data": {"name": name, "batch_size": defaults.data["batch_size"], **feed},
            "space": known.space,
            "budget": validated(Budget, budget, "the budget"),
            **defaults.size,
            **sizes,
            **network,
        },
        "the bench",
    )
    return settings, known
