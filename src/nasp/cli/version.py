"""``nasp --version``."""

from __future__ import annotations

from typing import Annotated

import typer


def _show(wanted: bool) -> None:
    if wanted:
        from nasp import __version__

        typer.echo(f"nasp {__version__}")
        raise typer.Exit


def print_version(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Take the options that come before a command."""
    del version
