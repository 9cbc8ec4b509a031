"""The options that commands have which let several contenders search, said once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nasp.cli import options as o
from nasp.cli.sharing import sharing

if TYPE_CHECKING:
    from nasp.bench.contests.contender import Contender
    from nasp.bench.contests.quality_settings import QualitySettings
    from nasp.bench.truth.truth import Truth


@dataclass(frozen=True)
class Contest:
    """What these options ask for.

    Attributes:
        seeds: of the searches.
        epochs: of a search, where given.
        who: contenders from the strategies that are taken where the user names none.
        where: settings and table from the fields of a budget.
    """

    seeds: Sequence[int]
    epochs: int | None
    who: Callable[[Sequence[str]], list[Contender]]
    where: Callable[[dict[str, Any]], tuple[QualitySettings, Truth]]


def contest(
    strategies: Annotated[
        str | None,
        typer.Option(help="Comma-separated, with their default settings; see --contender."),
    ] = None,
    contender: Annotated[
        list[str] | None,
        typer.Option(
            metavar="'LABEL=STRATEGY key=value ...'",
            help="A variant: keys are settings of a search (select=train, selection.epochs=8) or"
            " of the strategy (settings.lr=0.01, exploration=0.2); repeatable.",
        ),
    ] = None,
    table: Annotated[
        str | None,
        typer.Option(
            help="Every cell's accuracy: a .csv with arch and test_accuracy, a .json of nasp bench"
            " table, or nats:PATH; default embedded, for digits and fashion-mnist."
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(help="What is searched on; default the table's, where it says so."),
    ] = None,
    space: Annotated[
        str | None, typer.Option(help="The space of a table in CSV; default nasbench201.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Searches of each contender.")] = 3,
    first_seed: Annotated[int, typer.Option(min=0, help="The seeds count from here.")] = 0,
    epochs: o.Epochs = None,
    channels: o.Channels = None,
    cells: o.Cells = None,
    batch_size: o.BatchSize = None,
    subset: o.Subset = None,
    cutout: o.Cutout = None,
    data_dir: o.DataDir = None,
    image_size: o.ImageSize = None,
    workers: o.Workers = 2,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads of torch.")] = None,
    device: o.Device = "auto",
) -> dict[str, Contest]:
    """Return what these options ask for, as `contest`."""
    feed = o.given(
        batch_size=batch_size,
        subset=subset,
        cutout=cutout,
        root=data_dir,
        image_size=image_size,
        workers=workers,
    )
    network = o.given(channels=channels, cells=cells, threads=threads, device=device)

    def who(default: Sequence[str]) -> list[Contender]:
        from nasp.bench.contests.contender import contenders_of

        names = default if strategies is None and not contender else o.names(strategies)
        return contenders_of(names, contender or [])

    def where(budget: dict[str, Any]) -> tuple[QualitySettings, Truth]:
        from nasp.bench.contests.quality_settings import quality_settings

        return quality_settings(table, data, space, budget, network, feed)

    return {"contest": Contest(range(first_seed, first_seed + seeds), epochs, who, where)}


with_contest = sharing(contest, types=())
"""Gives a command these options; it takes a `contest` instead."""
