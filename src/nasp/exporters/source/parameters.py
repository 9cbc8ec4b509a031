"""The fewest parameters that fill a class's holes, and their names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nasp.exporters.source.blueprint import Block
from nasp.exporters.source.expressions import MISSING, Hole, Parameter

_IN = frozenset({"in_channels", "in_features", "input_size"})
_OUT = frozenset({"out_channels", "out_features", "num_features", "num_channels", "hidden_size"})
_BOTH = frozenset({"channels", "features", "groups", "normalized_shape", "embed_dim", "size"})
_WIDTHS = _IN | _OUT | _BOTH
"""Arguments that say how wide a layer is; equal ones of a class are one parameter."""

_HALVES: tuple[tuple[str, Callable[[int], int]], ...] = (
    ("{0} // 2", lambda n: n // 2),
    ("{0} - {0} // 2", lambda n: n - n // 2),
    ("{0} // 4", lambda n: n // 4),
)
_PADDINGS: tuple[tuple[str, Callable[[int], int]], ...] = (
    ("{0} // 2", lambda n: n // 2),
    ("2 * ({0} // 2)", lambda n: 2 * (n // 2)),
)

Group = list[Hole]
"""Holes that have the same value in each module."""


def fill(holes: list[Hole], literal: Callable[[Any], str]) -> list[Parameter]:
    """Write into each hole what stands there, and return the parameters that this needs.

    What is the same in all modules is a constant. Of the rest, equal holes are one parameter;
    some follow from another, such as the padding from the kernel's size.

    Args:
        holes: of one class.
        literal: returns a constant as source.
    """
    groups: dict[Any, Group] = {}
    for hole in holes:
        if hole.is_constant:
            hole.text = literal(hole.values[0])
        else:
            key = tuple(id(v) if isinstance(v, Block) else repr(v) for v in hole.values)
            groups.setdefault((_family(hole), key), []).append(hole)
    following = _following(list(groups.values()))
    free = sorted((g for g in groups.values() if id(g) not in following), key=_order)
    parameters = _named(free)
    for group in groups.values():
        if id(group) in following:
            base, form = following[id(group)]
            for hole in group:
                hole.text = form.format(base[0].text)
    return sorted(parameters, key=lambda parameter: parameter.default is not MISSING)


def _named(groups: list[Group]) -> list[Parameter]:
    names = [_name(group, groups) for group in groups]
    parameters: list[Parameter] = []
    for index, (group, name) in enumerate(zip(groups, names, strict=True)):
        unique = f"{name}{names[:index].count(name)}" if names.count(name) > 1 else name
        while unique in {parameter.name for parameter in parameters}:
            unique += "_"
        for hole in group:
            hole.text = unique
        parameters.append(Parameter(unique, group[0].values, _default(group), name))
    return parameters


def _following(groups: list[Group]) -> dict[int, tuple[Group, str]]:
    """Return, by its id, each group that follows from another, with that and the form."""
    found: dict[int, tuple[Group, str]] = {}
    bases: set[int] = set()
    for group in groups:
        for other in groups:
            if other is group or id(other) in found or id(group) in bases:
                continue
            form = _form(group, other)
            if form is not None:
                found[id(group)] = other, form
                bases.add(id(other))
                break
    return found


def _form(group: Group, base: Group) -> str | None:
    """Return how the values of one group are computed from those of another."""
    hints, theirs = _hints(group), _hints(base)
    if hints == {"padding"} and theirs == {"kernel_size"}:
        forms = _PADDINGS
    elif hints <= _OUT and theirs <= _WIDTHS and not theirs <= _IN:
        forms = _HALVES
    else:
        return None
    pairs = list(zip(group[0].values, base[0].values, strict=True))
    if not all(type(value) is int for pair in pairs for value in pair):
        return None
    for form, compute in forms:
        if all(value == compute(given) for value, given in pairs):
            return form
    return None


def _hints(group: Group) -> set[str]:
    return {hole.hint for hole in group}


def _family(hole: Hole) -> str:
    if isinstance(hole.values[0], Block):
        return "module"
    return "width" if hole.hint in _WIDTHS else hole.hint


def _order(group: Group) -> int:
    """Return where a parameter stands: modules, widths of inputs, other widths, kernels, rest."""
    if _family(group[0]) == "module":
        return 0
    if _hints(group) & _WIDTHS:
        return 1 if _hints(group) <= _IN else 2
    return 3 if "kernel_size" in _hints(group) else 4


def _name(group: Group, groups: list[Group]) -> str:
    hints = [hole.hint for hole in group]
    if not set(hints) <= _WIDTHS:
        return max(hints, key=hints.count)
    if set(hints) <= _IN:
        return hints[0]
    noun = "features" if {"in_features", "out_features"} & set(hints) else "channels"
    has_inputs = any(_hints(other) <= _IN for other in groups)
    return f"out_{noun}" if has_inputs and set(hints) <= _OUT else noun


def _default(group: Group) -> Any:
    """Return the layer's default where some of the modules take it, for what is no size."""
    default = group[0].default
    if _order(group) != 4 or default is MISSING:
        return MISSING
    taken = any(type(v) is type(default) and v == default for v in group[0].values)
    return default if taken else MISSING
