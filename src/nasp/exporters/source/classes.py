"""Which classes a file has: modules of like structure are one class, whatever their sizes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from nasp.exporters.source.imports import Imports, unused
from nasp.exporters.source.naming import class_name, is_known
from nasp.exporters.source.parts import Part
from nasp.exporters.source.patterns import Patterns, Written


def classes_of(root: Part, imports: Imports) -> list[Written]:
    """Return the classes that make a network, each after those that it uses; the last is its own.

    A graph and a subclass have a class. A chain of layers has one where the field has a name for
    it, or where it stands at several places; otherwise it is written where it stands.
    """
    patterns = Patterns(imports)
    found: list[Written] = []
    places = _places(root)
    parts = [part for _, part in root.walk() if part is not root]
    for height in range(root.height + 1):
        here = [part for part in parts if part.height == height]
        for group in list(_groups(here, patterns, places)):
            prefix = "Found" if group[0].kind == "subclass" else ""
            name = unused(prefix + class_name(group[0]), imports.taken)
            found.append(patterns.written(name, group))
    return [*found, patterns.written("Network", [root])]


def _groups(parts: list[Part], patterns: Patterns, places: dict[int, Any]) -> Iterator[list[Part]]:
    """Yield the parts that will be instances of one class."""
    alike: dict[Any, list[Part]] = {}
    for part in parts:
        if part.kind == "sequence":
            alike.setdefault((class_name(part), patterns.identity(part)), []).append(part)
        elif part.kind in ("graph", "copied", "subclass"):
            alike.setdefault(_outline(part), []).append(part)
    for group in alike.values():
        if group[0].kind != "sequence":
            yield from _split(group, patterns)
        elif is_known(group[0]) or len({places[id(part)] for part in group}) > 1:
            yield group


def _split(group: list[Part], patterns: Patterns) -> list[list[Part]]:
    """Return the parts of a group whose submodules are, but for a few, of the same classes."""
    clusters: list[list[Part]] = []
    for part in group:
        kinds = [patterns.identity(child) for child in part.children.values()]
        for cluster in clusters:
            theirs = map(patterns.identity, cluster[0].children.values())
            others = sum(one != other for one, other in zip(kinds, theirs, strict=True))
            if others <= max(1, len(kinds) // 4):
                cluster.append(part)
                break
        else:
            clusters.append([part])
    return clusters


def _outline(part: Part) -> Any:
    """Return what parts of one class have in common, their submodules' insides left aside."""
    inside = (int, float, Part, nn.Parameter, Tensor)
    others = {name: item for name, item in part.items.items() if type(item) not in inside}
    return (
        part.kind,
        type(part.module).__module__ if part.kind == "subclass" else "",
        class_name(part),
        repr(part.forward),
        tuple((name, c.kind == "list" and len(c.children)) for name, c in part.children.items()),
        tuple((name, tensor.dim()) for name, tensor in part.tensors.items()),
        tuple(part.items),
        repr(others),
    )


def _places(root: Part) -> dict[int, Any]:
    """Return for each part where it stands: in what, and as what."""
    places: dict[int, Any] = {}
    for _, parent in root.walk():
        outline = class_name(parent) if parent.kind == "sequence" else _outline(parent)
        places |= {id(child): (outline, name) for name, child in parent.children.items()}
    return places
