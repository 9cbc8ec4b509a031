"""From the options of a search to its job."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from nasp.cli.fields import Given

if TYPE_CHECKING:
    from nasp.jobs.search import SearchJob

Preset = Annotated[
    str | None,
    typer.Option(help="paper: the settings of the NASP authors' code; default none."),
]


def asked_search(given: Given, preset: str | None, bound_at: str | None = None) -> SearchJob:
    """Return the search that these options ask for."""
    from nasp.jobs.options import named_values, preset_settings, search_job

    search, size = dict(given["search"]), dict(given["size"])
    pairs, selection = search.pop("settings", ()), search.pop("selection", ())
    if "dropouts" in size:
        size["dropouts"] = named_values("--dropout", size["dropouts"])
    strategy = search.get("strategy", "nasp")
    return search_job(
        data=given["data"],
        space=given["job"].get("space"),
        size=size,
        search=search,
        settings={
            **(preset_settings(preset, strategy) if preset is not None else {}),
            **given["settings"],
        },
        pairs=pairs,
        selection={**named_values("--set-select", selection), **given["selection"]},
        bound_at=bound_at,
    )
