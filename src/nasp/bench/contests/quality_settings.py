"""What all contenders of a quality bench have alike: data, network, budget."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from nasp.bench.contests.budget import Budget
from nasp.bench.contests.contender import Contender
from nasp.bench.truth.truth import Truth, open_truth
from nasp.errors import UsageError, validated
from nasp.jobs.defaults import search_defaults
from nasp.jobs.jobs import SearchJob
from nasp.jobs.plans import search_job


class QualitySettings(BaseModel):
    """What all contenders have alike."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    data: dict[str, Any]
    """Fields of `DataConfig`."""
    space: str
    """The table's search space."""
    channels: int = Field(16, ge=1)
    """Channels of the first cell."""
    cells: int = Field(1, ge=1)
    """Cells in all; in nasbench201 cells a stage, of three."""
    budget: Budget
    """How long each may search."""
    threads: int | None = Field(None, ge=1)
    """Threads of torch; default its own."""
    device: str = "auto"
    """auto (an accelerator if there is one), cpu, cuda or mps."""

    def job(self, contender: Contender, seed: int, epochs: int, selection_epochs: int) -> SearchJob:
        """Return a contender's search.

        Args:
            contender: whose.
            seed: fixes weights, halves and batches.
            epochs: of the search.
            selection_epochs: of its selection's stand-alone training; 0 leaves its own.

        Raises:
            UsageError: a setting does not fit, or the space is not for images.
        """
        search = dict(contender.search)
        selection = dict(search.pop("selection", {}))
        if selection_epochs:
            selection["epochs"] = selection_epochs
        job = search_job(
            data=self.data,
            space=self.space,
            size={"channels": self.channels, "cells": self.cells},
            search={
                "strategy": contender.strategy,
                **search,
                "epochs": epochs,
                "epoch_steps": self.budget.epoch_steps,
                "seed": seed,
                "device": self.device,
            },
            settings=contender.settings,
            selection=selection,
        )
        if not isinstance(job, SearchJob):
            raise UsageError(f"No table knows the cells of space '{self.space}': choose another.")
        return job

    def shared(self) -> dict[str, Any]:
        """Return what another measurement must have too, to stand beside this one."""
        values = self.model_dump(mode="json")
        for private in ("root", "workers"):
            values["data"].pop(private, None)
        if self.budget.epoch_steps is None:
            del values["budget"]["epoch_steps"]
        return values


def quality_settings(
    table: str | None,
    data: str | None,
    space: str | None,
    budget: Mapping[str, Any],
    network: Mapping[str, Any],
    feed: Mapping[str, Any],
) -> tuple[QualitySettings, Truth]:
    """Return settings and table from what a user gave; the rest is the table's, or the default.

    Args:
        table: see `open_truth`.
        data: the data set's name.
        space: see `open_truth`.
        budget: fields of `Budget`; default the epochs of a search on these data.
        network: `channels`, `cells`, `threads` and `device`, where given.
        feed: fields of `DataConfig` other than its name, where given.

    Raises:
        UsageError: a name or a value does not fit, or nobody says which data.
        NaspError: the table cannot be read.
    """
    truth = open_truth(table, data, space)
    name = data or truth.made_with.get("data")
    if name is None:
        raise UsageError(f"The table {truth.name} does not say on which data: give --data NAME.")
    made_with = truth.made_with if name == truth.made_with.get("data") else {}
    sizes = {part: made_with[part] for part in ("channels", "cells") if part in made_with}
    defaults = search_defaults(name, truth.space)
    if "epochs" not in budget and "seconds" not in budget:
        budget = {**budget, "epochs": defaults["epochs"]}
    settings = validated(
        QualitySettings,
        {
            "data": {"name": name, "batch_size": defaults["batch_size"], **feed},
            "space": truth.space,
            "budget": validated(Budget, budget, "the budget"),
            "channels": defaults["channels"],
            "cells": defaults["cells"],
            **sizes,
            **network,
        },
        "the bench",
    )
    return settings, truth
