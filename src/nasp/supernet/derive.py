"""From a searched module and an architecture to a plain PyTorch network."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, fx, nn

from nasp.errors import UsageError
from nasp.supernet.architecture import Architecture
from nasp.supernet.choice import Choice, Node
from nasp.supernet.copies import copied
from nasp.supernet.supernet import Supernet


class Plain:
    """Marks a module of a space of ours that a derived network holds as it is.

    So is one that loops over time steps: a graph has as many steps as its example.
    """


@runtime_checkable
class Derives(Protocol):
    """A module with choices inside that knows itself what it becomes."""

    def derived(self, kept: Callable[[Choice], nn.Module | None]) -> nn.Module:
        """Return the module without choices, of this one's own weights, to be copied.

        Args:
            kept: the candidate that stands on a choice's edge; None where it is switched off.
        """
        ...


def derive(
    supernet: Supernet, architecture: Architecture, weights: Mapping[str, Tensor] | None = None
) -> nn.Module:
    """Return a copy of the supernet's network in which every choice is its chosen candidate.

    Nothing of nasp is left in it: its node groups, its `Zero`s and the modules of its own spaces
    become `torch.fx.GraphModule`s; a user's own modules are copied as they are, and so are the
    modules of nasp that are `Plain`.

    Args:
        supernet: left untouched.
        architecture: which candidate each edge keeps.
        weights: parameters and buffers by their names in ``supernet.network``, to start from;
            default the current ones.

    Raises:
        UsageError: the architecture does not belong to this supernet, or a `Choice` or `Node` does
            what its candidates alone would not.
    """
    network = supernet.network
    refuse_lost(network)
    memo: dict[int, Any] = _replaced_tensors(network, weights or {})
    chosen = _chosen_candidates(supernet, architecture)
    # Inner modules first: a copy of an outer one finds its insides already plain.
    for module in _inner_first(network):
        if isinstance(module, Choice):
            candidate = chosen[id(module)]
            memo[id(module)] = None if candidate is None else copied(candidate, memo)
        elif isinstance(module, Node):
            memo[id(module)] = _plain_sum(module, memo)
        elif isinstance(module, Derives):
            plain = module.derived(lambda choice: chosen[id(choice)])
            memo[id(module)] = copied(plain, memo)
        elif _is_traced(module):
            memo[id(module)] = _traced(copied(module, memo))
    derived: nn.Module = copied(network, memo)
    return derived


def refuse_lost(network: nn.Module) -> None:
    """Refuse what a `Choice`, a `Node` or the like does and a network built of it would not.

    Raises:
        UsageError: one has a hook, or a `Choice` or `Node` a forward of its own.
    """
    for place, module in network.named_modules():
        kind = next((kind for kind in (Choice, Node) if isinstance(module, kind)), type(module))
        is_rebuilt = isinstance(module, Choice | Node | Derives) or _is_traced(module)
        if not is_rebuilt:
            continue
        where = f"The {kind.__name__} at '{place}'"
        if any(vars(module)[hooks] for hooks in _HOOKS):
            raise UsageError(
                f"{where} has a hook, which a built network would not have: put the hook on a"
                " module around it, or on its candidates."
            )
        if isinstance(module, Derives):
            continue
        if type(module).forward is not kind.forward or "forward" in vars(module):
            raise UsageError(
                f"{where} has a forward of its own, which a built network would not have: let a"
                f" module around a nasp.{kind.__name__} do what it does."
            )


_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def _is_traced(module: nn.Module) -> bool:
    """Tell whether a module becomes its graph alone: one of nasp's own."""
    is_own = type(module).__module__.partition(".")[0] == "nasp"
    return is_own and not isinstance(module, Plain | Derives | Choice | Node)


def _inner_first(module: nn.Module, seen: set[int] | None = None) -> Iterator[nn.Module]:
    seen = set() if seen is None else seen
    if id(module) not in seen:
        seen.add(id(module))
        for child in module.children():
            yield from _inner_first(child, seen)
        yield module


def _replaced_tensors(network: nn.Module, weights: Mapping[str, Tensor]) -> dict[int, Any]:
    memo: dict[int, Any] = {}
    for name, parameter in network.named_parameters():
        if name in weights:
            start = weights[name].detach().to(parameter.device, copy=True)
            memo[id(parameter)] = nn.Parameter(start, parameter.requires_grad)
    for name, buffer in network.named_buffers():
        if name in weights:
            memo[id(buffer)] = weights[name].detach().to(buffer.device, copy=True)
    return memo


def _chosen_candidates(
    supernet: Supernet, architecture: Architecture
) -> dict[int, nn.Module | None]:
    path = supernet.path(architecture)  # raises where the two do not belong together
    chosen: dict[int, nn.Module | None] = {}
    for k, choices in zip(path, supernet.choices(), strict=True):
        for choice in choices:
            chosen[id(choice)] = None if k is None else choice.operations[k]
    in_nodes = {
        id(choice)
        for node in supernet.modules()
        if isinstance(node, Node)
        for choice in node.choices
    }
    for identity, candidate in chosen.items():
        if candidate is None and identity not in in_nodes:
            raise UsageError("The architecture switches off an edge that is in no Node.")
    return chosen


def _plain_sum(node: Node, memo: dict[int, Any]) -> fx.GraphModule:
    """Return the sum of the surviving edges, as a module of torch's alone."""
    edges = [memo[id(choice)] for choice in node.choices]
    root = nn.Module()
    root.add_module("edges", nn.Module())
    graph = fx.Graph()
    inputs = [graph.placeholder(f"x{index}") for index in range(len(edges))]
    total: fx.Node | None = None
    for index, edge in enumerate(edges):
        if edge is None:
            continue
        root.get_submodule("edges").add_module(str(index), edge)
        arity, given = node.arities[index], inputs[index]
        arguments = [given] if arity is None else [_item(graph, given, i) for i in range(arity)]
        output = graph.call_module(f"edges.{index}", tuple(arguments))
        total = output if total is None else graph.call_function(torch.add, (total, output))
    graph.output(total)
    plain = fx.GraphModule(root, graph, class_name="Sum")
    type(plain).__doc__ = "The sum of a node's edges."  # fx makes each of them a class of its own
    return plain


def _item(graph: fx.Graph, sequence: fx.Node, index: int) -> fx.Node:
    return graph.call_function(operator.getitem, (sequence, index))


def graph_of(module: nn.Module) -> fx.Graph:
    """Return a module's forward as a graph of calls to its submodules."""
    if isinstance(module, fx.GraphModule):
        return module.graph

    # A class of this function: fx pickles a tracer it can find by name, and ours is in nasp.
    class Shallow(fx.Tracer):
        def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:  # noqa: ARG002
            return True

    graph = Shallow().trace(module)
    for node in graph.nodes:
        if isinstance(node.type, str):  # an annotation's text, which torch 2.6 cannot pickle
            node.type = None
    return graph


def _traced(module: nn.Module) -> fx.GraphModule:
    """Return the module as its graph alone, with its class's name and docstring."""
    training = module.training
    plain = fx.GraphModule(module, graph_of(module), class_name=type(module).__name__)
    type(plain).__doc__ = type(module).__doc__
    plain.train(training)
    return plain
