"""Which classes a file has: modules of like structure are one class, whatever their sizes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from nasp.exporters.source.blueprint import Block
from nasp.exporters.source.expressions import Make, Written
from nasp.exporters.source.imports import Imports, unused
from nasp.exporters.source.naming import class_name, is_known
from nasp.exporters.source.parameters import fill
from nasp.exporters.source.unify import Unifier


def classes_of(root: Block, imports: Imports) -> list[Written]:
    """Return the classes that make a network, each after those that it uses; the last is its own.

    A graph and a subclass have a class. A chain of layers has one where the field has a name for
    it, or where it stands at several places; otherwise it is written where it stands.
    """
    found: list[Written] = []
    by_block: dict[int, Written] = {}
    places = _places(root)
    blocks = [block for _, block in root.walk() if block is not root]
    for height in range(root.height + 1):
        here = [block for block in blocks if block.height == height]
        for group in _groups(here, by_block, places):
            prefix = "Found" if group[0].kind == "subclass" else ""
            name = unused(prefix + class_name(group[0]), imports.taken)
            found.append(_written(name, group, by_block, imports))
    found.append(_written("Network", [root], by_block, imports))
    return found


def _groups(
    blocks: list[Block], by_block: dict[int, Written], places: dict[int, Any]
) -> Iterator[list[Block]]:
    """Yield the blocks that will be instances of one class."""
    unifier = Unifier(by_block)
    alike: dict[Any, list[Block]] = {}
    for block in blocks:
        if block.kind == "sequence":
            key: Any = (class_name(block), unifier.identity(block))
            alike.setdefault(key, []).append(block)
        elif block.kind in ("graph", "copied", "subclass"):
            alike.setdefault(_outline(block), []).append(block)
    for group in alike.values():
        if group[0].kind != "sequence":
            yield from _split(group, unifier)
        elif is_known(group[0]) or len({places[id(block)] for block in group}) > 1:
            yield group


def _split(group: list[Block], unifier: Unifier) -> Iterator[list[Block]]:
    """Yield the parts of a group whose submodules are, but for a few, of the same classes."""
    clusters: list[list[Block]] = []
    for block in group:
        for cluster in clusters:
            pairs = zip(cluster[0].children.values(), block.children.values(), strict=True)
            others = sum(unifier.identity(a) != unifier.identity(b) for a, b in pairs)
            if others <= max(1, len(block.children) // 4):
                cluster.append(block)
                break
        else:
            clusters.append([block])
    yield from clusters


def _outline(block: Block) -> Any:
    """Return what blocks of one class have in common, their submodules' insides left aside."""
    lists = {name: len(c.children) for name, c in block.children.items() if c.kind == "list"}
    others = {k: v for k, v in block.attributes.items() if type(v) not in (int, float)}
    return (
        block.kind,
        type(block.module).__module__ if block.kind == "subclass" else "",
        class_name(block),
        str(block.forward),
        tuple(block.children),
        tuple(lists.items()),
        tuple((name, tensor.dim()) for name, tensor in block.tensors.items()),
        tuple(block.attributes),
        repr(others),
    )


def _places(root: Block) -> dict[int, Any]:
    """Return for each block where it stands: in what, and as what."""
    places = {}
    for _, parent in root.walk():
        for name, child in parent.children.items():
            outline = class_name(parent) if parent.kind == "sequence" else _outline(parent)
            places[id(child)] = (outline, name)
    return places


def _written(
    name: str, blocks: list[Block], by_block: dict[int, Written], imports: Imports
) -> Written:
    written = Written(name, blocks)
    unifier = Unifier(by_block)
    first = blocks[0]
    if first.kind == "call":
        made = unifier.modules(blocks, "")
        assert isinstance(made, Make)
        written.arguments = made.items
    else:
        for attribute in first.children:
            children = [block.children[attribute] for block in blocks]
            written.body[attribute] = unifier.modules(children, attribute)
    for attribute in first.tensors:
        sizes = [tuple(block.tensors[attribute].shape) for block in blocks]
        columns = zip(*sizes, strict=True)
        written.sizes[attribute] = [unifier.values(list(c), "size") for c in columns]
    for attribute in first.attributes:
        values = [block.attributes[attribute] for block in blocks]
        written.attributes[attribute] = unifier.values(values, attribute)
    written.parameters = fill(unifier.holes, lambda value: str(imports.literal(value, name)))
    by_block.update({id(block): written for block in blocks})
    return written
