"""Charts: what they show, and Vega-Lite's drawing of it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

from nasp.errors import UsageError

Spec = dict[str, Any]
"""What is drawn, in Vega-Lite's words."""

COLOURS = 10
"""How many the style sheet has: --c0 to --c9."""
_MOST_POINTS = 40
"""Of a curve that has a mark for each; in a longer one they would run into each other."""
_AXIS: Spec = {
    **dict.fromkeys(("labelColor", "titleColor"), "var(--soft)"),
    **dict.fromkeys(("gridColor", "domainColor", "tickColor"), "var(--line)"),
    "titleFontWeight": "normal",
    **dict.fromkeys(("labelFontSize", "titleFontSize"), 12),
    "tickCount": 5,
    "labelOverlap": "greedy",
    "labelSeparation": 8,
}
_LOOKS: Spec = {
    "width": 330,
    "height": 190,
    "background": "transparent",
    "config": {
        "font": "system-ui, sans-serif",
        "view": {"stroke": None},
        "axis": _AXIS,
        "legend": {
            "labelColor": "var(--ink)",
            "labelFontSize": 12,
            "orient": "bottom",
            "columns": 3,
            "columnPadding": 18,
            "labelLimit": 220,
        },
    },
}


class Lines(NamedTuple):
    """Curves over the same x.

    Attributes:
        title: of the chart.
        x: what is to the right.
        y: what is up; shares are written as percentages.
        at: the positions to the right.
        series: name -> a value for each, None where there is none.
        are_shares: whether they are fractions of 1.
        colours: name -> number of its colour, where it has one on the page; default in order.
    """

    title: str
    x: str
    y: str
    at: list[float]
    series: dict[str, list[float | None]]
    are_shares: bool = False
    colours: Mapping[str, int] = {}


class Spread(NamedTuple):
    """Where one value lies among many.

    Attributes:
        title: of the chart.
        x: what is to the right, with its unit.
        others: the many.
        here: the one.
    """

    title: str
    x: str
    others: list[float]
    here: float


class Dots(NamedTuple):
    """Points of several groups, and a front through some.

    Attributes:
        title: of the chart.
        x: what is to the right.
        y: what is up, in per cent.
        groups: name -> points; the first group lies behind.
        front: points that are joined by steps.
    """

    title: str
    x: str
    y: str
    groups: dict[str, list[tuple[float, float]]]
    front: list[tuple[float, float]]


Chart = Lines | Spread | Dots


def drawn(chart: Chart) -> str:
    """Return a chart as an SVG element without a script, in colours of the page.

    Raises:
        UsageError: what draws it is not installed.
    """
    match chart:
        case Lines():
            spec, says = _lines(chart), f"{', '.join(chart.series)} by {chart.x}"
        case Spread():
            spec, says = _spread(chart), f"{chart.x}: this network among random ones"
        case Dots():
            spec, says = _dots(chart), f"{chart.y} against {chart.x}"
    svg: str = vega().vegalite_to_svg({**_LOOKS, **spec})
    # One name says more to a screen reader than a hundred marks; to a mouse each says its own.
    svg = re.sub(r"(<path) aria-label=(\"[^\"]*\")([^>]*)/>", _titled, svg)
    svg = re.sub(r' (?:aria-[a-z]+|role)="[^"]*"', "", svg)
    box = re.search(r'viewBox="[^"]*"', svg)
    assert box is not None
    _, _, drawing = svg.partition(">")
    label = escape(f"{chart.title}. {says}.", quote=True)
    return f'<svg class="chart" role="img" aria-label="{label}" {box[0]}>{drawing}'


def vega() -> Any:
    """Return what draws.

    Raises:
        UsageError: it is not installed.
    """
    try:
        import vl_convert
    except ImportError as error:
        raise UsageError(
            "A report needs vl-convert-python to draw: run pip install 'nasp-torch[report]'."
        ) from error
    return vl_convert


def _titled(mark: re.Match[str]) -> str:
    return f"{mark[1]}{mark[3]}><title>{mark[2][1:-1]}</title></path>"


def _lines(chart: Lines) -> Spec:
    rows = [
        {"x": x, "y": y, "series": name}
        for name, values in chart.series.items()
        for x, y in zip(chart.at, values, strict=True)
        if y is not None and math.isfinite(y)
    ]
    title = "" if chart.y == chart.title.lower() else chart.y
    points = {"size": 20} if len(chart.at) <= _MOST_POINTS else False
    whole = len(chart.at) < _AXIS["tickCount"]  # or an epoch would be written twice
    x_axis = {"format": "d", "grid": False, **({"values": chart.at} if whole else {})}
    y_axis = {"format": ".0%" if chart.are_shares else "~g"}
    return {
        "data": {"values": rows},
        "mark": {"type": "line", "point": points, "strokeWidth": 2},
        "encoding": {
            "x": {**_number("x", chart.x), "axis": x_axis},
            "y": {**_number("y", title), "axis": y_axis},
            "color": _colour(list(chart.series), chart.colours),
        },
    }


def _spread(chart: Spread) -> Spec:
    axis = {"grid": False, "format": "~f"}
    others = {
        "data": {"values": [{"x": x} for x in chart.others]},
        "mark": {"type": "bar", "color": "var(--soft)", "opacity": 0.5},
        "encoding": {
            "x": {**_number("x", chart.x), "bin": {"maxbins": 24}, "axis": axis},
            "y": {"aggregate": "count", "title": "random networks"},
        },
    }
    here = {
        "data": {"values": [{"x": chart.here}]},
        "mark": {"type": "rule", "color": "var(--accent)", "strokeWidth": 3},
        "encoding": {"x": _number("x", chart.x)},
    }
    return {"layer": [others, here]}


def _dots(chart: Dots) -> Spec:
    rows = [
        {"x": x, "y": y, "series": name} for name, points in chart.groups.items() for x, y in points
    ]
    places = {
        "x": _number("x", chart.x),
        "y": {**_number("y", chart.y), "axis": {"format": ".0%"}},
    }
    names = list(chart.groups)
    colour = _colour(names)
    if "random" in names:  # they lie behind
        colour["scale"]["range"][names.index("random")] = "var(--soft)"
    front = {
        "data": {"values": [{"x": x, "y": y} for x, y in chart.front]},
        "mark": {"type": "line", "interpolate": "step-after", "color": "var(--accent)"},
        "encoding": places,
    }
    points = {
        "data": {"values": rows},
        "mark": {"type": "point", "filled": True, "size": 70, "opacity": 0.9},
        "encoding": {**places, "color": colour, "shape": {**colour, "scale": {"domain": names}}},
    }
    return {"layer": [front, points], "width": 400, "height": 270}


def _number(name: str, title: str) -> Spec:
    scale = {"zero": False, "nice": name == "y"}
    return {"field": name, "type": "quantitative", "title": title, "scale": scale}


def _colour(names: Sequence[str], numbers: Mapping[str, int] = {}) -> Spec:
    order = (numbers.get(name, k) for k, name in enumerate(names))
    colours = [f"var(--c{k % COLOURS})" for k in order]
    return {
        "field": "series",
        "type": "nominal",
        "title": "of",
        "sort": list(names),
        "scale": {"domain": list(names), "range": colours},
        "legend": {"title": None} if len(names) > 1 else None,
    }
