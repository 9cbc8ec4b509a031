"""The networks that are measured: a supernet of any number of candidates, and one path in it."""

from __future__ import annotations

import copy

import torch
from torch import nn

from nasp.bench.steps.settings import BenchSettings
from nasp.bench.steps.workloads import network_size
from nasp.complexity import parameter_counts
from nasp.spaces import find_space
from nasp.supernet.choice import Choice
from nasp.supernet.path import Path
from nasp.supernet.supernet import Supernet
from nasp.training.device import find_device
from nasp.training.layout import laid_out

LEAD = 0.2
"""The path's alphas above the others': more than the alphas move while a row is measured."""


def make_supernet(settings: BenchSettings, partial_channels: int = 1) -> Supernet:
    """Return the supernet, laid out as a search has it, its alphas set to `random_path`.

    Args:
        settings: what is measured.
        partial_channels: K, where its candidates see 1/K of an edge's channels; default 1.

    Raises:
        UsageError: the space, or a network of this size in it, does not exist.
    """
    torch.manual_seed(settings.seed)
    network = laid_out(make_network(settings, partial_channels), find_device(settings.device))
    supernet = Supernet(network, settings.space)
    point = supernet.one_hot(random_path(supernet, settings))
    with torch.no_grad():
        for name, a in supernet.alphas.items():
            a.copy_(0.4 + LEAD * point[name])
    return supernet


def make_network(settings: BenchSettings, partial_channels: int = 1) -> nn.Module:
    """Return the space's network with so many candidates on each edge; see `make_supernet`.

    Raises:
        UsageError: the space, or a network of this size in it, does not exist.
    """
    space = find_space(settings.space)
    network = space.supernet(network_size(space, settings, partial_channels))
    if settings.candidates is not None:
        _set_candidates(network, settings.candidates)
    return network


def random_path(supernet: Supernet, settings: BenchSettings) -> Path:
    """Return the seed's uniformly random path through the first `path_candidates`."""
    # Drawn in tables of that width, so that more candidates do not change the draw.
    narrow = {
        name: torch.zeros_like(a.detach()[:, : settings.path_candidates])
        for name, a in supernet.alphas.items()
    }
    return supernet.discretise(narrow, torch.Generator().manual_seed(settings.seed))


def _set_candidates(network: nn.Module, count: int) -> None:
    """Give each edge `count` candidates: the space's, those with most parameters first.

    In that order few candidates still hold convolutions (DARTS's own list begins with
    poolings). Beyond the space's number they are repeated with fresh weights, named
    ``sep_conv_3x3-2``.
    """
    orders = _orders(network)
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, Choice):
                candidates = _candidates(child, orders[id(child)], count)
                search_only = child.search_only.intersection(candidates)
                module.add_module(name, Choice(candidates, child.share, search_only))


def _orders(network: nn.Module) -> dict[int, list[str]]:
    supernet = Supernet(network)
    counts = parameter_counts(supernet)
    of_edge: dict[str, list[str]] = {}
    for name, table in supernet.tables.items():
        sizes = counts[name].sum(dim=0).tolist()  # one order for all edges of a table
        by_size = sorted(range(len(sizes)), key=lambda k: -sizes[k])
        of_edge |= {edge: [table.candidates[k] for k in by_size] for edge in table.edges}
    pairs = zip(of_edge.values(), supernet.choices(), strict=True)
    return {id(choice): order for order, choices in pairs for choice in choices}


def _candidates(choice: Choice, order: list[str], count: int) -> dict[str, nn.Module]:
    candidates: dict[str, nn.Module] = {}
    for index in range(count):
        lap, position = divmod(index, len(order))
        name = order[position]
        operation = choice.candidates[name]
        candidates[name if lap == 0 else f"{name}-{lap + 1}"] = (
            operation if lap == 0 else _fresh(operation)
        )
    return candidates


def _fresh(operation: nn.Module) -> nn.Module:
    clone = copy.deepcopy(operation)
    for module in clone.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.reset_parameters()
    return clone
