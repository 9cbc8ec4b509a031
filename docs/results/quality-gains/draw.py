"""Draws what each contestant found, seed by seed, to found.png; from the files beside this."""

from __future__ import annotations

import json
import statistics
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

HERE = Path(__file__).parent
PANELS = {
    "digits, 30 s": {"digits.json": "nasp"},
    "Fashion-MNIST, 90 s": {"fashion-mnist-default.json": "nasp", "fashion-mnist.json": None},
    "at 330,000 parameters, 75 s": {"fashion-mnist-330K.json": "whole"},
    "at 570,000 parameters, 75 s": {"fashion-mnist-570K.json": "whole"},
}
"""Title -> file -> who in it is today's default, None: nobody. A control counts by the first."""
NAMES = {
    "params": "largest",
    "random": "random,\ntrained",
    "paper": "authors'\ndynamics",
    "pa-standard": "PA,\nstandard",
    "darts": "DARTS",
}


def found_in(files: dict[str, str | None]) -> dict[str, list[float]]:
    """Return name -> the accuracies of what it found, a seed each."""
    found: dict[str, list[float]] = {}
    for file, default in files.items():
        for row in json.loads((HERE / file).read_text())["rows"]:
            name = "nasp" if row["name"] == default else NAMES.get(row["name"])
            if name is not None:
                found.setdefault(name, row["table_accuracy"]["seeds"])
    return {name: found[name] for name in ("nasp", *NAMES.values()) if name in found}


def draw(axes: Axes, title: str, found: dict[str, list[float]]) -> None:
    """Draw a dot a seed and a line at the mean."""
    jitter = np.random.default_rng(0)
    for place, (name, values) in enumerate(found.items()):
        colour = "tab:red" if name == "nasp" else "tab:grey"
        x = place + jitter.uniform(-0.2, 0.2, len(values))
        axes.plot(x, values, "o", color=colour, markersize=3.5, alpha=0.55, markeredgewidth=0)
        mean = statistics.fmean(values)
        axes.hlines(mean, place - 0.35, place + 0.35, color=colour, linewidth=2)
    axes.set_xticks(range(len(found)), list(found), fontsize=7)
    axes.set_title(f"{title} ({len(found['nasp'])} seeds)", fontsize=9)
    axes.tick_params(axis="y", labelsize=7)
    axes.grid(axis="y", alpha=0.3)


def main() -> None:
    """Draw the picture."""
    page = Figure(figsize=(10, 5.6), layout="constrained")
    for axes, (title, files) in zip(page.subplots(2, 2).flat, PANELS.items(), strict=True):
        draw(axes, title, found_in(files))
        axes.set_ylabel("accuracy by the table, %", fontsize=7)
    page.savefig(HERE / "found.png", dpi=110)


if __name__ == "__main__":
    main()
