"""What a sweep is asked to do, in a form that fits in a JSON file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from nasp.complexity.quantity import find_quantity, read_bound
from nasp.errors import UsageError, unknown_name, validated
from nasp.jobs.job import Size
from nasp.jobs.search_job import SearchJob
from nasp.spaces import find_space
from nasp.spaces.sampling import has_parameters

ErrorSource = Literal["shared", "train", "table"]
"""Where errors come from: shared weights, short trainings, or a table of what is known."""

RANDOM: dict[str, int] = {"shared": 50, "train": 6, "table": 500}
"""Random architectures behind the front, where the user says nothing: what they cost differs."""


class Setting(BaseModel):
    """One point of a sweep: a weight, a bound or a target."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    complexity: float = Field(0.0, ge=0)
    at_most: dict[str, float] = Field(default_factory=dict)
    target: dict[str, float] = Field(default_factory=dict)

    @property
    def name(self) -> str:
        """How it is called, in tables and as a folder.

        ``complexity=0.1``, ``parameters=1M``, or of a target ``parameters~1M``.
        """
        for sign, amounts in (("=", self.at_most), ("~", self.target)):
            for name, amount in amounts.items():
                return f"{name}{sign}{find_quantity(name).written(amount).replace(' ', '')}"
        return f"complexity={self.complexity:g}"


CONTROLS = ("params", "random")
"""What stands beside searches at a given cost: the largest network, random architectures."""


class SweepJob(BaseModel):
    """Searches that differ in their settings and seeds alone, and how they are compared."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    search: SearchJob
    """What they have in common."""
    settings: tuple[Setting, ...] = Field(min_length=1)
    """What each seed is searched with."""
    seeds: tuple[int, ...] = Field(min_length=1)
    """Of the searches."""
    cost: str
    """The quantity that errors are drawn against."""
    size: Size
    """Of the networks whose cost that is."""
    error: ErrorSource = "shared"
    """Where errors come from: shared weights (on validation data), a short train(ing), or a
    table."""
    random: int = Field(ge=0)
    """Random architectures beside them, behind the front."""
    table: str | None = None
    """File of --error table: CSV, or of nasp bench table; default embedded."""
    train_epochs: int = Field(3, ge=1)
    """Epochs of --error train."""

    @property
    def controls(self) -> tuple[str, ...]:
        """Strategies that search beside the sweep's own, at its bounds or targets; else none."""
        is_bounded = any(setting.at_most or setting.target for setting in self.settings)
        return tuple(c for c in CONTROLS if is_bounded and c != self.search.search.strategy)


def sweep_job(
    search: SearchJob,
    complexities: Sequence[float],
    bounds: Sequence[str],
    targets: Sequence[str],
    seeds: int,
    size: Mapping[str, int],
    error: str = "shared",
    random: int | None = None,
    table: str | None = None,
    train_epochs: int | None = None,
) -> SweepJob:
    """Return the job of a sweep.

    Args:
        search: what all searches have in common; its seed is the first of the sweep's.
        complexities: weights η, one a setting.
        bounds: ``NAME=AMOUNT``, one a setting.
        targets: likewise.
        seeds: searches of each setting.
        size: channels and cells of the networks whose cost counts; what is left out is that of
            a training.
        error: where errors come from.
        random: random architectures to compare with; default by the source of errors.
        table: as in `SweepJob`.
        train_epochs: as in `SweepJob`; default 3.

    Raises:
        UsageError: candidates that cost alike; neither weights nor bounds nor targets, or several
            of these; bounds on different costs; options of another source of errors.
    """
    if not has_parameters(find_space(search.space)):
        raise UsageError(
            f"The candidates of space '{search.space}' cost alike, so there is nothing to sweep:"
            " choose one whose candidates differ in it, such as darts."
        )
    if sum(map(bool, (complexities, bounds, targets))) != 1:
        raise UsageError(
            "Say what to sweep over: either --complexities 0,0.1,..., or --at-most, repeated, or"
            " --target, repeated."
        )
    amounts = [read_bound(text) for text in [*bounds, *targets]]
    kind = "at_most" if bounds else "target"
    names = {name for name, _ in amounts} or {search.search.cost}
    if len(names) > 1:
        raise UsageError(f"All bounds of a sweep are on one cost, not {', '.join(sorted(names))}.")
    if error not in RANDOM:
        raise unknown_name("error", error, list(RANDOM))
    if table is not None and error != "table":
        raise UsageError("--table is read by --error table.")
    if train_epochs is not None and error != "train":
        raise UsageError("--train-epochs are those of --error train.")
    settings = [Setting(complexity=each) for each in complexities]
    settings += [Setting.model_validate({kind: {name: amount}}) for name, amount in amounts]
    if len({setting.name for setting in settings}) < len(settings):
        raise UsageError("A sweep has each setting once.")
    trained = search.domain.train_defaults(search.data.name, search.space)
    first = search.search.seed
    return validated(
        SweepJob,
        {
            "search": search.model_copy(update={"data": search.data.absolute()}),
            "settings": tuple(settings),
            "seeds": tuple(range(first, first + seeds)),
            "cost": names.pop(),
            "size": {**trained.size, **size},
            "error": error,
            "random": RANDOM[error] if random is None else random,
            "table": table,
            "train_epochs": train_epochs or 3,
        },
        "the sweep",
    )
