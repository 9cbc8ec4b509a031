"""A network as a tree of blocks: what each module is made of and how it is called."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor, fx, nn

from nasp.errors import UsageError
from nasp.exporters.source.constructors import (
    Argument,
    arguments_of,
    own_attributes,
    own_tensors,
    submodules,
)
from nasp.exporters.source.forwards import forward_of
from nasp.exporters.source.graphs import (
    attribute_name,
    chain,
    essence,
    is_ours,
    loops,
    passes_on,
    paths,
    simplified,
)
from nasp.exporters.source.imports import Imports
from nasp.exporters.source.statements import Forward
from nasp.supernet.derive import Plain

Kind = Literal["call", "sequence", "list", "graph", "copied", "subclass"]
"""How a block is written: as a call of its class; as an `nn.Sequential`; as an `nn.ModuleList`; as
a class with a forward from its graph, or with its class's methods; as a subclass of its class."""

_CONTAINERS: dict[type[nn.Module], Kind] = {nn.Sequential: "sequence", nn.ModuleList: "list"}


@dataclass(eq=False)
class Block:
    """One module of a network, as it will be written.

    Attributes:
        module: the module that it stands for.
        path: where that is in the network.
        kind: how it is written.
        children: its submodules, by the attributes that they will be.
        tensors: parameters and buffers of its own, by the attributes that they will be.
        arguments: of the constructor, for a call.
        forward: of a graph.
        attributes: of a module that keeps its methods, beside submodules and tensors.
    """

    module: nn.Module
    path: str
    kind: Kind
    children: dict[str, Block] = field(default_factory=dict)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    arguments: dict[str, Argument] = field(default_factory=dict)
    forward: Forward | None = None
    attributes: dict[str, Any] = field(default_factory=dict)

    @property
    def height(self) -> int:
        """How many blocks are nested in it at most."""
        return 1 + max((child.height for child in self.children.values()), default=-1)

    def walk(self, place: str = "") -> Iterator[tuple[str, Block]]:
        """Yield all blocks with their places in the written network, outer ones first."""
        yield place, self
        for name, child in self.children.items():
            yield from child.walk(f"{place}.{name}" if place else name)


def blueprint(network: nn.Module, imports: Imports) -> Block:
    """Return the block of a network.

    Raises:
        UsageError: a module cannot be written to a file.
    """
    module, inside = essence(network)
    names = [name for name, child in submodules(module) if not passes_on(child)]
    if type(module) is nn.Sequential and not all(name.isdigit() for name in names):
        block = Block(module, inside, "graph")
        return _written_out(block, chain(names), imports)
    return _block(module, inside, imports)


def _block(module: nn.Module, path: str, imports: Imports) -> Block:
    module, inside = essence(module)
    path = f"{path}.{inside}".strip(".")
    where = f"The {type(module).__name__} at '{path or 'the top'}'"
    _check(module, where)
    if type(module) in _CONTAINERS:
        block = Block(module, path, _CONTAINERS[type(module)])
        acting = [
            (name, child)
            for name, child in submodules(module)
            if block.kind == "list" or not passes_on(child)
        ]
        for index, (name, child) in enumerate(acting):
            block.children[str(index)] = _block(child, _joined(path, name), imports)
        return block
    if isinstance(module, Plain):
        return _with_parts(Block(module, path, "copied"), where, imports)
    if is_ours(module):
        return _written_out(Block(module, path, "graph"), simplified(module), imports)
    arguments = arguments_of(module)
    if arguments is None:
        imports.reference(type(module), where)
        return _with_parts(Block(module, path, "subclass"), where, imports)
    imports.reference(type(module), where)
    block = Block(module, path, "call", arguments=arguments)
    for name, argument in arguments.items():
        if isinstance(argument.value, nn.Module):
            block.children[name] = _block(argument.value, _joined(path, name), imports)
        else:
            imports.literal(argument.value, f"Argument '{name}' of {where[0].lower() + where[1:]}")
    return block


def _written_out(block: Block, graph: fx.Graph, imports: Imports) -> Block:
    """Fill in the block of a module that is a graph."""
    attributes: dict[str, str] = {}
    looped = {chained.path: chained for chained in loops(graph).values()}
    for target in paths(graph, "call_module"):
        parent = target.rpartition(".")[0]
        path = _joined(block.path, target)
        child = _block(block.module.get_submodule(target), path, imports)
        if parent in looped:
            name = attributes.setdefault(parent, attribute_name(parent))
            items = block.children.setdefault(
                name, Block(nn.ModuleList(), _joined(block.path, parent), "list")
            )
            items.children[str(len(items.children))] = child
        else:
            attributes[target] = attribute_name(target)
            block.children[attributes[target]] = child
    for target in paths(graph, "get_attr"):
        attributes[target] = attribute_name(target)
        owner, _, name = target.rpartition(".")
        tensor = getattr(block.module.get_submodule(owner), name)
        if not isinstance(tensor, Tensor):
            raise UsageError(f"'{_joined(block.path, target)}' is no tensor, and is used as one.")
        block.tensors[attributes[target]] = tensor
    block.forward = forward_of(graph, attributes, imports)
    return block


def _with_parts(block: Block, where: str, imports: Imports) -> Block:
    """Fill in the block of a module that keeps its methods, and so the names of its parts."""
    block.tensors = own_tensors(block.module)
    for name, child in submodules(block.module):
        block.children[name] = _block(child, _joined(block.path, name), imports)
    for name, value in own_attributes(block.module).items():
        imports.literal(value, f"Attribute '{name}' of {where[0].lower() + where[1:]}")
        block.attributes[name] = value
    return block


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


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
