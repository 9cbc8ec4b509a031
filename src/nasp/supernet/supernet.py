"""A module with choices inside, and its architecture parameters."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from nasp.errors import UsageError
from nasp.supernet.architecture import Architecture
from nasp.supernet.choice import Call, Choice, Handed, Mixture, Probed, Run, Single
from nasp.supernet.leaves import on_device
from nasp.supernet.path import Path
from nasp.supernet.probe.taps import Probe
from nasp.supernet.proximal import largest_entries, surviving_edges
from nasp.supernet.shared import shared_blocks
from nasp.supernet.tables import choices_by_edge, node_groups, tables_of

Alphas = dict[str, Tensor]


class Supernet(nn.Module):
    """Finds the choices of a module and owns the alphas.

    The weights are the module's own parameters, the alphas the supernet's: the two never mix. The
    alphas stay on the CPU wherever the network is.

    Args:
        network: any module with at least one `Choice` inside; used as it is, not copied.
        space: the search space's name, kept in architectures; default None.

    Attributes:
        tables: the alphas' tables, by name, in order of appearance. Choices with
            ``share="normal/0"`` are edges of the table ``normal``; a choice without `share` is
            the only edge of a table that is named by its place in the module.
        edges: the names of all edges, table after table.
        groups: the node groups, over all edges in the order of `edges`.
        has_inner_passes: whether the loss runs backward passes of its own; default False.
        fuses: whether edges may share a probe's work; default True.
        run_key: equal whenever the edges are told to run alike; None where weights say how.

    Raises:
        UsageError: no choice inside; edges of one table with different candidates; an edge in
            two different node groups.
    """

    def __init__(self, network: nn.Module, space: str | None = None) -> None:
        super().__init__()
        self.network = network
        self.space = space
        self._choices = choices_by_edge(network)
        self.tables = tables_of(self._choices)
        self.edges = tuple(edge for table in self.tables.values() for edge in table.edges)
        self.groups = node_groups(network, self._choices)
        self.has_inner_passes = False
        self.fuses = True
        self._shared = shared_blocks(network, list(self.choices()))
        self.run_key: tuple[Hashable, ...] | None = None
        self._alphas = nn.ParameterList(
            torch.full((len(table.edges), len(table.candidates)), 0.5, device="cpu")
            for table in self.tables.values()
        )

    @property
    def alphas(self) -> dict[str, nn.Parameter]:
        """The architecture parameters: table -> ``[edges, candidates]``, on the CPU."""
        return dict(zip(self.tables, self._alphas, strict=True))

    def named_alphas(self) -> dict[str, dict[str, float]]:
        """Return edge -> candidate -> alpha, as plain numbers."""
        rows = [row for alphas in self.alphas.values() for row in alphas.tolist()]
        each = zip(self.edges, self.candidates, rows, strict=True)
        return {edge: dict(zip(names, row, strict=True)) for edge, names, row in each}

    @property
    def candidates(self) -> list[tuple[str, ...]]:
        """The names of each edge's candidates, in the order of `edges`."""
        return [table.candidates for table in self.tables.values() for _ in table.edges]

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next((p.device for p in self.network.parameters()), torch.device("cpu"))

    def weights(self) -> list[nn.Parameter]:
        """Return the network's parameters that are to be trained, without the alphas."""
        return [weight for weight in self.network.parameters() if weight.requires_grad]

    def choices(self) -> Iterator[list[Choice]]:
        """Yield the choices of every edge, in the order of `edges`."""
        return (self._choices[edge] for edge in self.edges)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Run the network, each edge as it was last told."""
        return self.network(*args, **kwargs)

    def discretise(
        self, alphas: Mapping[str, Tensor], generator: torch.Generator | None = None
    ) -> Path:
        """Return where prox_C1 of the alphas keeps an entry.

        A candidate that is `search_only` is never kept.

        Args:
            alphas: table -> ``[edges, candidates]``.
            generator: breaks ties uniformly; default torch's global one.
        """
        eligible = [self._eligible(name, alphas[name].detach()) for name in self.tables]
        chosen = [largest_entries(rows, generator).int().argmax(dim=1) for rows in eligible]
        strengths = torch.cat([rows.amax(dim=1) for rows in eligible])
        surviving = surviving_edges(strengths, self.groups, generator).tolist()
        numbers = torch.cat(chosen).tolist()
        return tuple(k if on else None for k, on in zip(numbers, surviving, strict=True))

    def random_path(self, generator: torch.Generator | None = None) -> Path:
        """Return a uniformly random path: every entry ties with every other."""
        return self.discretise({n: torch.zeros_like(a) for n, a in self.alphas.items()}, generator)

    def one_hot(self, path: Path) -> Alphas:
        """Return a path as the discrete point that it is: one-hot rows, zero where off."""
        numbers, point = iter(path), {}
        for name, a in self.alphas.items():
            width = range(a.shape[1])
            rows = [[float(k == j) for j in width] for k in islice(numbers, len(a))]
            point[name] = torch.tensor(rows, dtype=a.dtype)
        return point

    def single(self, path: Path) -> None:
        """Run the chosen candidates alone from now on."""
        self._run([Single(chosen) for chosen in path])
        self.run_key = ("single", path)

    def probe(self, path: Path, fused: bool = True, fixed_weights: bool = False) -> Probe:
        """Run the chosen candidates, and let a backward pass give every candidate's gradient.

        Args:
            path: which are chosen.
            fused: let unchosen candidates share work and leave out what their gradient does not
                need (`nasp.supernet.probe.taps`); False runs each as it is, for the same gradient.
            fixed_weights: the weights of chosen candidates need no gradient: the fused probe then
                leaves out what it would have to keep and compute for one, unless a pass of the
                loss's own may ask for it.
        """
        fixed_weights = fixed_weights and not self.has_inner_passes
        alphas = self.alphas
        shapes = {name: (len(a), a.shape[1]) for name, a in alphas.items()}
        dtype = next(iter(alphas.values())).dtype
        fused = fused and self.fuses
        probe = Probe(path, shapes, self.device, dtype, fused, fixed_weights)
        kept = self._kept(path)
        self._run([Probed(k, edge, probe, kept) for edge, k in enumerate(path)])
        self.run_key = ("probe", path, fused, fixed_weights)
        return probe

    @contextmanager
    def handed(self, call: Call) -> Iterator[None]:
        """Let somebody else run all choices meanwhile: also those that a node switched off."""
        with self.runs_restored():
            self._run([Handed(call)] * len(self.edges))
            yield

    @contextmanager
    def runs_restored(self) -> Iterator[None]:
        """Let every choice be run at the end as it was told before."""
        before = [(choice, choice.run) for choices in self.choices() for choice in choices]
        try:
            yield
        finally:
            for choice, run in before:
                choice.run = run

    def mixture(
        self, weights: Mapping[str, Tensor], path: Path | None = None, at: Path | None = None
    ) -> None:
        """Run candidates weighted and added up.

        Args:
            weights: table -> ``[edges, candidates]``, with a graph or without; those on another
                device than the network go there in one copy.
            path: only its candidates run, and where it has none a node switched the edge off.
                Default: all run.
            at: the discrete point that the weights are, if they are one: no candidate beside it
                then moves what a chosen one shares with it, as in a probe.
        """
        self.run_key = None
        here = {name: weights[name] for name in self.tables}
        device = self.device
        if any(table.device != device for table in here.values()):
            here = on_device(here, device)
        rows = [row for table in here.values() for row in table.unbind()]
        if path is None:
            kept = () if at is None else self._kept(at)
            chosen = at or (None,) * len(rows)
            self._run([Mixture(row, None, kept, k) for row, k in zip(rows, chosen, strict=True)])
            return
        support = [() if k is None else (k,) for k in path]
        self._run([Mixture(row, k) for row, k in zip(rows, support, strict=True)])

    def check(self, made: Callable[[str], Call]) -> None:
        """Let every choice be run by what `made` returns, given the name of its edge."""
        self.run_key = None
        self._run([Handed(made(edge)) for edge in self.edges])

    def architecture(self, path: Path) -> Architecture:
        """Return a path with names."""
        rows = zip(self.edges, self.candidates, path, strict=True)
        edges = {edge: None if k is None else names[k] for edge, names, k in rows}
        return Architecture(edges, self.space)

    def path(self, architecture: Architecture) -> Path:
        """Return an architecture's path.

        Raises:
            UsageError: it has other edges or candidates than this supernet.
        """
        if set(architecture.edges) != set(self.edges):
            raise UsageError(
                f"The architecture has {len(architecture.edges)} edges, the network"
                f" {len(self.edges)}, or their names differ: they do not belong together."
            )
        path: list[int | None] = []
        for edge, names in zip(self.edges, self.candidates, strict=True):
            candidate = architecture[edge]
            if candidate is not None and candidate not in names:
                raise UsageError(
                    f"Edge '{edge}' has no candidate '{candidate}':"
                    f" choose one of {', '.join(names)}."
                )
            path.append(None if candidate is None else names.index(candidate))
        for group in self.groups:
            if all(path[edge] is None for edge in group.edges):
                ends = ", ".join(self.edges[edge] for edge in group.edges)
                raise UsageError(
                    f"The architecture switches off every edge of a Node ({ends}): one must stay."
                )
        return tuple(path)

    def _kept(self, path: Path) -> tuple[nn.Module, ...]:
        return tuple(shared.module for shared in self._shared if shared.is_kept(path))

    def _eligible(self, table: str, alphas: Tensor) -> Tensor:
        """Return alphas, minus infinity for candidates that never survive."""
        left_out = torch.tensor(self.tables[table].search_only, dtype=torch.long, device="cpu")
        return alphas.index_fill(1, left_out, -torch.inf)

    def _run(self, runs: Sequence[Run]) -> None:
        for choices, run in zip(self.choices(), runs, strict=True):
            for choice in choices:
                choice.run = run

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Supernet:
        """Move the network and convert its types; the alphas take the type, and stay."""
        self.network._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for a in self._alphas:
            a.data = a.data.to(fn(a.data.new_empty(0)).dtype)
        return self
