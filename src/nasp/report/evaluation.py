"""Pictures of an evaluation: which classes are taken for which, and the worst mistakes."""

from __future__ import annotations

import math
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from nasp.domains.evaluation import Evaluation
from nasp.runs.files import write_atomic

NUMBERED, NAMED = 20, 60
"""Up to how many classes the cells have numbers, and the axes names."""


def draw_confusion(evaluation: Evaluation, path: Path) -> None:
    """Write the confusion matrix as a PNG file: a row a class, shaded by its share."""
    counts, classes = evaluation.confusion, evaluation.classes
    share = counts / counts.sum(1, keepdim=True).clamp(min=1)
    side = min(4 + 0.25 * len(classes), 16)
    figure = Figure(figsize=(side + 1, side), layout="constrained")
    axis = figure.subplots()
    image = axis.imshow(share.numpy(), cmap=matplotlib.colormaps["Blues"], vmin=0, vmax=1)
    figure.colorbar(image, label="share of the class", shrink=0.7)
    axis.set(xlabel="predicted", ylabel="class", title=_title(evaluation))
    if len(classes) <= NAMED:
        names = [_plain(name) for name in classes]
        axis.set_xticks(range(len(classes)), names, rotation=90, fontsize=8)
        axis.set_yticks(range(len(classes)), names, fontsize=8)
    if len(classes) <= NUMBERED:
        for row, column in counts.nonzero().tolist():
            colour = "white" if share[row, column] > 0.5 else "black"
            number = str(int(counts[row, column]))
            axis.text(column, row, number, ha="center", va="center", color=colour, fontsize=8)
    _write(figure, path)


def draw_mistakes(evaluation: Evaluation, path: Path) -> None:
    """Write the worst mistakes as a contact sheet, a PNG file: what is seen, taken for what."""
    mistakes = evaluation.mistakes
    columns = min(6, max(len(mistakes), 1))
    rows = max(math.ceil(len(mistakes) / columns), 1)
    height = 2.6 * rows + 0.6
    figure = Figure(figsize=(max(2.2 * columns, 6), height))
    margins = {"left": 0.02, "right": 0.98, "bottom": 0.1 / height, "top": 1 - 1 / height}
    grid = {**margins, "hspace": 0.3, "wspace": 0.05}
    axes = figure.subplots(rows, columns, squeeze=False, gridspec_kw=grid).flatten()
    for axis in axes:
        axis.set_axis_off()
    for axis, each in zip(axes, mistakes, strict=False):
        picture = each.picture.permute(1, 2, 0).squeeze(2).numpy()
        axis.imshow(picture, cmap="gray", vmin=0, vmax=255)
        predicted, label = _plain(each.predicted, 16), _plain(each.label, 24)
        axis.set_title(f"said {predicted} ({each.probability:.0%})\nis {label}", fontsize=9)
    figure.suptitle(f"Surest mistakes. {_title(evaluation)}")
    _write(figure, path)


def _title(evaluation: Evaluation) -> str:
    return f"Accuracy {evaluation.figures['accuracy']:.2%} on {_plain(evaluation.on)}"


def _plain(name: str, most: int = 40) -> str:
    """Return a name that is no formula to matplotlib, and not too long."""
    return (name if len(name) <= most else f"...{name[3 - most :]}").replace("$", r"\$")


def _write(figure: Figure, path: Path) -> None:
    write_atomic(path, lambda stream: figure.savefig(stream, format="png", dpi=110))
