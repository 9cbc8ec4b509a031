"""How one edge is run: a single candidate, a mixture of all, or a probe.

A probe's output is the chosen candidate's alone; after its backward pass there is also the exact
dL/da_k = <g, O_k(x)> of *every* candidate, each unchosen one run forward without a graph on what
the edge read, with the gradient g that reached its output.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from nasp.errors import UsageError, unknown_name
from nasp.supernet.partial_channels import alike_frames
from nasp.supernet.probe.buffers import buffers_kept
from nasp.supernet.probe.candidate import Candidates
from nasp.supernet.probe.edge import run_unchanged, same_shapes, tensors_of, with_tensors
from nasp.supernet.probe.taps import Probe


@dataclass(frozen=True)
class Single:
    """Run one candidate alone (None: a node group switched the edge off)."""

    candidate: int | None


@dataclass(frozen=True)
class Mixture:
    """Run candidates and add them up, weighted by `weights` ``[candidates]``.

    Attributes:
        support: which candidates run, such as those whose weight is not 0; None: all. Of no
            candidate: a node group switched the edge off.
        kept: modules inside whose buffers no candidate but the chosen one may move.
        chosen: that candidate, where the weights are those of a discrete point.
    """

    weights: Tensor
    support: tuple[int, ...] | None = None
    kept: tuple[nn.Module, ...] = ()
    chosen: int | None = None


@dataclass(frozen=True)
class Probed:
    """Run one candidate (None: switched off); `probe` gets the inner products of all of them.

    Attributes:
        edge: its number in `Supernet.edges`.
        kept: modules inside whose buffers only the chosen candidate may move.
    """

    candidate: int | None
    edge: int
    probe: Probe
    kept: tuple[nn.Module, ...] = ()


@dataclass(frozen=True)
class Handed:
    """Hand the choice to somebody else, such as a check of its candidates.

    Attributes:
        run: what the choice does.
        candidate: one of those that it may run.
    """

    run: Call
    candidate: int = 0


Call = Callable[["Choice", tuple[Any, ...], dict[str, Any]], Any]
"""Gets a choice and what it was called with; returns what a candidate would."""
Run = Single | Mixture | Probed | Handed


class Choice(nn.Module):
    """The mixed operation on one edge: named candidate operations, one of which survives.

    Every candidate takes the same inputs (any number, any shapes) and returns a tensor, or a
    tuple, list or dictionary of tensors, of the same shapes as its rivals.

    Args:
        candidates: name -> candidate operation, names without dots; or a list of candidate
            operations, which have their positions, from ``"0"`` on, as names.
        share: ties the edge to a row of alphas: all choices with the same `share`, such as
            ``"normal/0"`` (table ``normal``), choose alike. Default: a row of its own.
        search_only: candidates that can have a share in a mixture, but never survive.

    Raises:
        UsageError: fewer than one candidate that can survive, or a name that cannot be a
            submodule's.
    """

    run: Run

    def __init__(
        self,
        candidates: Mapping[str, nn.Module] | Iterable[nn.Module],
        share: str | None = None,
        search_only: Iterable[str] = (),
    ) -> None:
        super().__init__()
        try:
            self.candidates = nn.ModuleDict(_named(candidates))
        except (KeyError, TypeError) as error:
            raise UsageError(
                f"A Choice maps names to modules, and cannot take these candidates: {error}."
            ) from error
        if None in self.candidates.values():
            raise UsageError("A candidate of a Choice must be a module, not None.")
        if not self.candidates:
            raise UsageError("A Choice needs at least one candidate operation.")
        self.names = tuple(self.candidates)
        self.share = share
        self.search_only = frozenset(search_only)
        if unknown := sorted(self.search_only.difference(self.names)):
            raise unknown_name("candidate", unknown[0], self.names)
        if self.search_only.issuperset(self.names):
            raise UsageError("A Choice needs at least one candidate that is not search_only.")
        self.run = Single(0)

    @property
    def operations(self) -> tuple[nn.Module, ...]:
        """The candidate operations, in the order of `names`."""
        return tuple(self.candidates.values())

    @cached_property
    def probeable(self) -> Candidates:
        """The candidates as a probe sees them; looked at once."""
        return Candidates.of(self.names, self.operations)

    @property
    def is_off(self) -> bool:
        """Whether a node group switched this edge off."""
        run = self.run
        if isinstance(run, Single | Probed):
            return run.candidate is None
        return isinstance(run, Mixture) and run.support == ()

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Run the edge as `run` says; the output is that of a candidate."""
        run = self.run
        operations = self.operations
        if self.is_off:
            where = "of a Node" if self.share is None else f"'{self.share}'"
            raise UsageError(
                f"The edge {where} is switched off and can only be run inside its Node: call the"
                " Node, not its edges."
            )
        if isinstance(run, Handed):
            return run.run(self, args, kwargs)
        if isinstance(run, Mixture):
            return self._mix(run, args, kwargs)
        assert run.candidate is not None
        if isinstance(run, Single) or not torch.is_grad_enabled():
            return operations[run.candidate](*args, **kwargs)
        return run.probe.run(
            run.edge, self.probeable.keeping(run.kept), run.candidate, args, kwargs
        )

    def attach_off_edge(self, output: Tensor, inputs: tuple[Any, ...]) -> Tensor:
        """Return the node's `output` unchanged, with this switched-off edge's probe on it."""
        run = self.run
        if not isinstance(run, Probed) or not torch.is_grad_enabled():
            return output
        return run.probe.attach(run.edge, self.probeable.keeping(run.kept), output, inputs)

    def _mix(self, run: Mixture, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        support = range(len(self.names)) if run.support is None else run.support
        names = [self.names[k] for k in support]
        operations = [self.operations[k] for k in support]
        kept = [() if k == run.chosen else run.kept for k in support]
        rows = run.weights.unbind()
        weights = [rows[k] for k in support]
        frames = [] if kwargs else alike_frames(operations)
        if not frames:
            return weighted_sum(names, operations, kept, weights, args, kwargs)
        # The same sum, in which the channels that go past the operations are joined to it once.
        seen, rest = frames[0].split(*args)
        mixed = weighted_sum(names, [f.operation for f in frames], kept, weights, (seen,), {})
        return frames[0].join(mixed, sum(weights[1:], start=weights[0]) * rest)

    def extra_repr(self) -> str:
        """Show how the edge is tied."""
        return "" if self.share is None else f"share={self.share!r}"

    def __getstate__(self) -> dict[str, Any]:
        """Leave out how the edge is being run: it may hold a graph, and is set before each pass."""
        return {k: v for k, v in self.__dict__.items() if k != "probeable"} | {"run": Single(0)}


def _named(candidates: Mapping[str, nn.Module] | Iterable[nn.Module]) -> dict[str, nn.Module]:
    if isinstance(candidates, Mapping | nn.ModuleDict):
        return dict(candidates.items())
    return {str(position): candidate for position, candidate in enumerate(candidates)}


def weighted_sum(
    names: Sequence[str],
    operations: Sequence[nn.Module],
    kept: Sequence[Sequence[nn.Module]],
    weights: Sequence[Tensor],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    """Run all the operations on the same inputs; return their outputs weighted and added up.

    Args:
        names: of the operations.
        operations: leave their inputs as they are.
        kept: of each the modules whose buffers it must not move.
        weights: of each.
        args: positional inputs.
        kwargs: named inputs.
    """
    outputs = []
    for name, operation, modules in zip(names, operations, kept, strict=True):
        with buffers_kept(modules):
            outputs.append(run_unchanged(name, operation, args, kwargs))
    leaves = [tensors_of(output) for output in outputs]
    for name, other in zip(names, leaves, strict=True):
        same_shapes(names[0], leaves[0], name, other)
    mixed = []
    for tensors in zip(*leaves, strict=True):
        products = [w * t for w, t in zip(weights, tensors, strict=True)]
        mixed.append(sum(products[1:], start=products[0]))
    return with_tensors(outputs[0], mixed)


class Node(nn.Module):
    """A node group: the sum of its edges, of which the `keep` strongest survive.

    Args:
        edges: the choices that end in this node.
        keep: how many survive.

    Attributes:
        arities: how many inputs each edge was last given as a tuple; None: one, not in a tuple.

    Raises:
        UsageError: an edge is no Choice, or `keep` is not between 1 and the number of edges.
    """

    def __init__(self, edges: Iterable[Choice], keep: int) -> None:
        super().__init__()
        choices = list(edges)
        if not all(isinstance(edge, Choice) for edge in choices):
            raise UsageError("The edges of a Node must be Choices.")
        if not 1 <= keep <= len(choices):
            raise UsageError(
                f"A Node of {len(choices)} edges cannot keep {keep}:"
                f" keep must be between 1 and {len(choices)}."
            )
        self.edges = nn.ModuleList(choices)
        self.keep = keep
        self.arities: tuple[int | None, ...] = (None,) * len(choices)

    @property
    def choices(self) -> Sequence[Choice]:
        """The edges, in the order of the inputs."""
        return [edge for edge in self.edges if isinstance(edge, Choice)]

    def forward(self, *inputs: Any) -> Tensor:
        """Return the sum of the surviving edges.

        Args:
            inputs: one for each edge, in order; a tuple is an edge's several inputs.

        Returns:
            The node's value, of the shape of an edge's output.
        """
        if len(inputs) != len(self.edges):
            raise UsageError(f"A Node of {len(self.edges)} edges was given {len(inputs)} inputs.")
        self.arities = tuple(len(x) if isinstance(x, tuple) else None for x in inputs)
        arguments = [x if isinstance(x, tuple) else (x,) for x in inputs]
        pairs = list(zip(self.choices, arguments, strict=True))
        outputs = [edge(*args) for edge, args in pairs if not edge.is_off]
        for output in outputs[1:]:
            same_shapes("its first edge", [outputs[0]], "another", [output])
        node: Tensor = sum(outputs[1:], start=outputs[0])
        for edge, args in pairs:
            if edge.is_off:
                node = edge.attach_off_edge(node, args)
        return node

    def extra_repr(self) -> str:
        """Show how many edges survive."""
        return f"keep={self.keep}"
