"""What ``nasp bench quality`` prints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import typer

from nasp.bench.contests.quality_rows import SECONDS
from nasp.cli.tables import print_table


def show_quality(report: Mapping[str, Any]) -> None:
    """Print the rows, the best first, and how the reference does against each other one."""
    table, settings = report["table"], report["settings"]
    rows = sorted(map(dict, report["rows"]), key=lambda row: -row["table_accuracy"]["mean"])
    clock = settings["budget"]["clock"]
    for row in rows:
        row["last"] = row["per_epoch"][-1]["table_accuracy"] if row["per_epoch"] else None
    columns = {
        "contestant": "{name}",
        "accuracy": "{table_accuracy[mean]:.2f} ± {table_accuracy[std]:.2f}",
        "worst": "{table_accuracy[worst]:.2f}",
        "best": "{table_accuracy[best]:.2f}",
        "regret": "{regret:.2f}",
        "percentile": "{percentile:.1f}",
        "free": "{parameterless:.0%}",
        "last epoch": "{last[mean]:.2f}",
        "epochs": "{epochs}",
        "s" if clock == "wall" else "cpu s": f"{{{SECONDS[clock]}:.1f}}",
        "MB": "{peak_bytes:MB}",
    }
    print_table(rows, columns)
    typer.echo(
        f"Accuracy in the table {table['name']} of {table['cells']} cells: best"
        f" {table['best']:.2f} %, median {table['median']:.2f}; free: edges without parameters;"
        " last epoch: before the selection."
    )
    budget = settings["budget"]
    limit = (
        f"{budget['epochs']} epochs"
        if budget["seconds"] is None
        else f"{budget['seconds']:g} s by the {budget['clock']} clock"
    )
    typer.echo(
        f"Searched {settings['space']} on {settings['data']['name']}, C={settings['channels']},"
        f" N={settings['cells']}; budget {limit}."
    )
    for compared in report["comparisons"]:
        typer.echo(_sentence(compared))


def _sentence(compared: Mapping[str, Any]) -> str:
    p_t = "" if compared["p_t"] is None else f"t-test p = {compared['p_t']:.3f}, "
    return (
        f"{compared['name']} against {compared['against']}: {compared['mean']:+.2f} points over"
        f" {compared['seeds']} seeds ({compared['wins']} won, {compared['losses']} lost;"
        f" {p_t}permutation p = {compared['p_permutation']:.3f})"
    )
