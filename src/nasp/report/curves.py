"""A run's curves and alphas as a picture: first computed, then drawn."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import matplotlib
from matplotlib.figure import Figure

from nasp.bilevel.history import ALPHAS, averaged
from nasp.errors import UsageError
from nasp.runs.files import write_atomic
from nasp.runs.folder import RunFolder, load_tensors
from nasp.supernet.architecture import Architecture

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class Heat(NamedTuple):
    """The alphas of one table after the last epoch, or their average, and which are kept."""

    title: str
    edges: list[str]
    candidates: list[str]
    entries: list[list[float]]
    chosen: list[int | None]


class Curves(NamedTuple):
    """What a run's picture shows.

    Attributes:
        epochs: 1 to the last that is done.
        accuracy: name -> fraction by epoch, where the run has it.
        perplexity: name -> perplexity by epoch, where the run has it.
        loss: name -> loss by epoch.
        changed_edges: by epoch; empty for a training.
        margin: mean margin between the best and second candidate by epoch; empty likewise.
        heats: a table's alphas each, and its average; empty for a training or an unfinished search.
    """

    epochs: list[int]
    accuracy: dict[str, list[float]]
    perplexity: dict[str, list[float]]
    loss: dict[str, list[float]]
    changed_edges: list[int]
    margin: list[float]
    heats: list[Heat]


def curves_of(run: RunFolder, candidates: dict[str, list[str]] | None = None) -> Curves:
    """Read a run folder.

    Args:
        run: a search or a training with at least one epoch done.
        candidates: table -> names of its candidate operations, for the alphas' picture.

    Raises:
        UsageError: no epoch is done yet.
    """
    lines = run.metrics()
    if not lines:
        raise UsageError(f"{run.path} has nothing to draw yet: no epoch is done.")
    return Curves(
        epochs=[line["epoch"] for line in lines],
        accuracy=_series(lines, "_accuracy"),
        perplexity=_series(lines, "_perplexity"),
        loss=_series(lines, "_loss"),
        changed_edges=[line["changed_edges"] for line in lines if "changed_edges" in line],
        margin=[line["margin_mean"] for line in lines if "margin_mean" in line],
        heats=_heats(run, candidates or {}, _result(run, lines[-1])),
    )


def draw(curves: Curves, path: Path, title: str) -> None:
    """Write the picture, in the format that the file's ending names (png, svg, pdf).

    Raises:
        UsageError: matplotlib knows no such format.
        NaspError: the file cannot be written.
    """
    kind = path.suffix.lstrip(".")
    if kind not in Figure().canvas.get_supported_filetypes():
        raise UsageError(f"Cannot draw to {path}: give a file that ends in .png, .svg or .pdf.")
    figures = {
        "accuracy": curves.accuracy,
        "perplexity": curves.perplexity,
        "loss": curves.loss,
    }
    series = [(what, values) for what, values in figures.items() if values]
    panels = len(series) + bool(curves.margin) + len(curves.heats)
    columns = -(-panels // 2)
    figure = Figure(figsize=(5.2 * columns, 8.0), layout="constrained")
    axes = figure.subplots(2, columns, squeeze=False).flatten()
    for unused in axes[panels:]:
        unused.set_axis_off()
    for axis, (what, values) in zip(axes, series, strict=False):
        _draw_series(axis, curves.epochs, values, what)
    if curves.margin:
        _draw_settling(axes[len(series)], curves)
    for axis, heat in zip(axes[panels - len(curves.heats) : panels], curves.heats, strict=True):
        _draw_heat(axis, heat)
    figure.suptitle(title)
    write_atomic(path, lambda stream: figure.savefig(stream, format=kind, dpi=110))


def _result(run: RunFolder, last: dict[str, Any]) -> dict[str, str | None]:
    """Return what is kept: bounds and a selection may have changed what the last epoch had."""
    if run.architecture_path.is_file():
        return dict(Architecture.load(run.architecture_path).edges)
    return dict(last.get("architecture", {}))


def _series(lines: list[dict[str, Any]], ending: str) -> dict[str, list[float]]:
    names = [name for name in lines[-1] if name.endswith(ending)]
    missing = float("nan")
    return {
        name.removesuffix(ending): [line.get(name, missing) for line in lines] for name in names
    }


def _heats(
    run: RunFolder, candidates: dict[str, list[str]], architecture: dict[str, str | None]
) -> list[Heat]:
    path = run.path / ALPHAS
    if not path.is_file() or not candidates:
        return []
    tensors = load_tensors(path)
    averages = averaged(tensors)
    shown = [(table, f"alphas of {table}", tensors[table]) for table in candidates]
    shown += [(table, f"{table}: {words}", tensor) for table, (words, tensor) in averages.items()]
    heats = []
    for table, what, history in shown:
        names = candidates[table]
        edges = [edge for edge in architecture if edge.rpartition("/")[0] == table]
        chosen = [architecture[edge] for edge in edges]
        heats.append(
            Heat(
                f"{what}, kept ringed",
                edges,
                names,
                history[-1].tolist(),
                [None if name is None else names.index(name) for name in chosen],
            )
        )
    return heats


def _draw_series(axis: Axes, epochs: list[int], series: dict[str, list[float]], what: str) -> None:
    for name, values in series.items():
        axis.plot(epochs, values, marker="o", markersize=3, label=name)
    axis.set(xlabel="epoch", ylabel=what)
    axis.grid(alpha=0.3)
    axis.legend()


def _draw_settling(axis: Axes, curves: Curves) -> None:
    axis.bar(curves.epochs, curves.changed_edges, color="#c9c9c9", label="edges changed")
    axis.set(xlabel="epoch", ylabel="edges changed since the last epoch")
    margin = axis.twinx()
    margin.plot(curves.epochs, curves.margin, color="#b5432e", marker="o", markersize=3)
    margin.set_ylabel("margin: best minus second, mean", color="#b5432e")


def _draw_heat(axis: Axes, heat: Heat) -> None:
    colours = matplotlib.colormaps["viridis"]
    lowest = min(min(row) for row in heat.entries)
    axis.imshow(heat.entries, aspect="auto", cmap=colours, vmin=min(0.0, lowest))
    axis.set_xticks(range(len(heat.candidates)), heat.candidates, rotation=45, ha="right")
    # Labels of many edges, such as a recurrent cell's 36, would lie over each other.
    axis.set_yticks(range(len(heat.edges)), heat.edges, fontsize=min(10.0, 200 / len(heat.edges)))
    axis.set_title(heat.title)
    for row, column in enumerate(heat.chosen):
        if column is not None:
            axis.plot(column, row, "o", markersize=9, markerfacecolor="none", color="white")
