"""A network as a tree of parts: what each module is made of and how it is written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor, nn

from nasp.errors import UsageError
from nasp.exporters.source.constructors import arguments_of, own_attributes, own_tensors
from nasp.exporters.source.forwards import Forward, forward_of
from nasp.exporters.source.imports import Imports
from nasp.exporters.source.traces import (
    attribute_name,
    essence,
    is_ours,
    loops,
    passes_on,
    simplified,
    submodules,
)
from nasp.supernet.derive import Plain

Kind = Literal["call", "sequence", "list", "graph", "copied", "subclass"]
"""How a part is written: as a call of its class; as an `nn.Sequential`; as an `nn.ModuleList`; as
a class with a forward from its graph, or with its class's methods; as a subclass of its class."""

_CONTAINERS: dict[type[nn.Module], Kind] = {nn.Sequential: "sequence", nn.ModuleList: "list"}


@dataclass(eq=False)
class Part:
    """One module of a network, as it will be written."""

    module: nn.Module  # that it stands for
    path: str  # where that is in the network
    kind: Kind
    # What it is made of, by name: for a call the arguments of the constructor, else the
    # attributes that will be set. Submodules are parts.
    items: dict[str, Any] = field(default_factory=dict)
    # Its parameters and buffers: for a call all but those of its items.
    tensors: dict[str, Tensor] = field(default_factory=dict)
    forward: Forward | None = None  # of a graph

    @property
    def children(self) -> dict[str, Part]:
        """Its submodules."""
        return {name: item for name, item in self.items.items() if isinstance(item, Part)}

    @property
    def height(self) -> int:
        """How many parts are nested in it at most."""
        return 1 + max((child.height for child in self.children.values()), default=-1)

    def walk(self, place: str = "") -> Iterator[tuple[str, Part]]:
        """Yield all parts with their places in the written network, outer ones first."""
        yield place, self
        for name, child in self.children.items():
            yield from child.walk(joined(place, name))


def part_of(network: nn.Module, imports: Imports, path: str = "") -> Part:
    """Return a network, or a module at a path in one, as a part.

    Raises:
        UsageError: a module cannot be written to a file.
    """
    module, path = essence(network, path)
    part = Part(module, path, _CONTAINERS.get(type(module), "call"))
    where = f"The {type(module).__name__} at '{path or 'the top'}'"
    _check(module, where)
    is_plain, is_sequence = isinstance(module, Plain), part.kind == "sequence"
    names = [n for n, c in submodules(module).items() if not (is_sequence and passes_on(c))]
    is_named = is_sequence and not path and not all(map(str.isdigit, names))
    if is_named or (is_ours(module) and not is_plain):
        return _written_out(part, imports)
    if part.kind != "call":
        part.items = {str(i): _child(part, name, imports) for i, name in enumerate(names)}
        return part
    if not is_plain:
        imports.reference(type(module), where)
    what, items = "Argument", None if is_plain else arguments_of(module)
    if items is None:
        what, part.kind = "Attribute", "copied" if is_plain else "subclass"
        part.tensors = own_tensors(module)
        items = own_attributes(module) | submodules(module)
    for name, value in items.items():
        if isinstance(value, nn.Module):
            items[name] = _child(part, name, imports)
        else:
            imports.literal(value, f"{what} '{name}' of the{where[3:]}")
    part.items = items | part.tensors
    if part.kind == "call":
        inner = tuple(f"{name}." for name in part.children)
        state = module.state_dict(keep_vars=True)
        part.tensors = {n: tensor for n, tensor in state.items() if not n.startswith(inner)}
    return part


def _child(part: Part, target: str, imports: Imports) -> Part:
    return part_of(part.module.get_submodule(target), imports, joined(part.path, target))


def _written_out(part: Part, imports: Imports) -> Part:
    """Fill in the part of a module that is written as its graph."""
    part.kind, graph = "graph", simplified(part.module)
    attributes = {loop.path: attribute_name(loop.path) for loop in loops(graph)}
    lists = {path: Part(nn.ModuleList(), joined(part.path, path), "list") for path in attributes}
    for node in graph.nodes:
        target = str(node.target)
        if target in attributes or node.op not in ("call_module", "get_attr"):
            continue
        parent, _, last = target.rpartition(".")
        item = getattr(part.module.get_submodule(parent), last)
        if node.op == "call_module":
            item = _child(part, target, imports)
        elif not isinstance(item, Tensor):
            raise UsageError(f"'{joined(part.path, target)}' is no tensor, and is used as one.")
        if parent in lists:
            part.items[attributes[parent]] = lists[parent]
            lists[parent].items[last] = item
        else:
            part.items[attributes.setdefault(target, attribute_name(target))] = item
    part.tensors = {n: item for n, item in part.items.items() if isinstance(item, Tensor)}
    part.forward = forward_of(graph, attributes, imports)
    return part


def _check(module: nn.Module, where: str) -> None:
    hooks = [*module._forward_hooks.values(), *module._forward_pre_hooks.values()]
    if any(not str(getattr(hook, "__module__", "")).startswith("nasp.") for hook in hooks):
        raise UsageError(
            f"{where} has hooks or a re-parametrised weight, which a source file cannot say:"
            " remove them first, or export with --to onnx or --to torch."
        )
    if hasattr(module, "parametrizations"):
        raise UsageError(
            f"{where} has a re-parametrised weight: make it a plain one first"
            " (torch.nn.utils.parametrize.remove_parametrizations)."
        )


def joined(path: str, name: str) -> str:
    """Return the path of what has a name in what is at a path."""
    return f"{path}.{name}".strip(".")
