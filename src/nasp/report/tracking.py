"""A run told to a tracker: its epochs, and at the end its cells as pictures and its report."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from nasp.report.charts import vega
from nasp.report.contents import contents_of
from nasp.report.page import colours, source, templates_of_page, write_page
from nasp.runs.folder import RunFolder
from nasp.training.events import Event, Observer
from nasp.training.tracking import Tracked, Tracker

REPORT = "report.html"
_STYLE = """<style>
text { font: 12px monospace; fill: #1a2230; stroke: none; }
.state { font: 13px sans-serif; }
path { fill: none; stroke-width: 2.5; }
rect { fill: #ffffff; stroke-width: 1.6; }
</style>"""


class Reporting(Tracker):
    """A tracker that is also told a run's result: its cells as pictures, its report as a file."""

    @property
    def wants_result(self) -> bool:
        """Whether its kind takes pictures and files."""
        return self.kind is not None

    def result(self, run: RunFolder) -> None:
        """Write a run's report, and tell of it.

        Raises:
            UsageError: what draws is not installed.
        """
        contents = contents_of(run)
        write_page([contents], run.path / REPORT)
        self.file(run.path / REPORT)
        stops = contents.moves.stops
        with TemporaryDirectory() as folder:
            for cell in contents.cells if stops else ():
                name = (cell.title or "choices").replace(" ", "-")
                file = Path(folder) / f"{name}.png"
                file.write_bytes(picture_of(cell, stops[-1].path, colours(contents)))
                self.picture(f"found/{name}", file)


@contextmanager
def told(observe: Observer, name: str | None, run: RunFolder) -> Iterator[Observer]:
    """Tell a tracker what an observer is told, and at the end the result; it writes into the run.

    Args:
        observe: the observer.
        name: of the tracker; None: there is none.
        run: the folder.

    Raises:
        UsageError: there is no such tracker, or its package is not installed.
    """
    if name is None:
        yield observe
        return
    vega()  # says so now, not after the search, where the report cannot be drawn
    tracker = Reporting.into(name, run.path)
    tracked = Tracked(tracker, run.config().get("job", {}))

    def both(event: Event) -> object:
        tracked(event)
        return observe(event)

    try:
        yield both
        tracker.result(run)
    finally:
        tracker.close()


def picture_of(cell: Any, path: Mapping[str, str | None], numbers: Mapping[str, int]) -> bytes:
    """Return a drawn cell as a PNG.

    Args:
        cell: a `nasp.report.cells.Cell`.
        path: edge -> candidate.
        numbers: candidate -> the number of its colour.
    """
    macros: Any = templates_of_page().get_template("macros.html.j2").module
    figure = macros.still(cell, path, numbers)
    palette = dict(re.findall(r"--c(\d): (#\w+)", source("report.css").partition("@media")[0]))
    svg = figure[figure.index("<svg") : figure.index("</figure>")].strip()
    svg = re.sub(r"--k: var\(--c(\d)\)", lambda k: f"stroke: {palette[k[1]]}", svg)
    svg = svg.replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"', 1)
    head, end, rest = svg.partition(">")
    paper = '<rect width="100%" height="100%" stroke="none"/>'
    png: bytes = vega().svg_to_png(head + end + _STYLE + paper + rest, scale=2)
    return png
