"""Steps of paths that never stand still, replayed from pieces that are captured once.

Between its edges a supernet does the same whatever its path is: that is captured as a chain of
CUDA graphs, forward and backward, cut where an edge has its turn. So is every candidate of every
edge, when it is first chosen. A step replays the chain, and at each cut the path's own candidate.

A candidate keeps nothing of its forward pass, and computes it anew for its backward pass: so all
candidates work in the same memory. A probed step is an ordinary one, and after it the products of
all candidates, which are the same work for every path (`nasp.supernet.probe.products`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from nasp.supernet.choice import Choice
from nasp.supernet.path import Path
from nasp.supernet.probe.buffers import buffers_kept
from nasp.supernet.probe.candidate import may_draw
from nasp.supernet.probe.features import is_image_batch
from nasp.supernet.probe.norms import Found
from nasp.supernet.probe.products import inner_products
from nasp.supernet.supernet import Supernet
from nasp.training.captured import HeldBatch
from nasp.training.pieces.chain import Chain, Graph
from nasp.training.pieces.direct import DirectGraph
from nasp.training.pieces.edge import Cut, Edge, Note, Readers, Turn, UnfitError, Upstream
from nasp.training.task import Batch

Step = Callable[[Batch, Sequence[Tensor]], tuple[Any, ...]]
"""Loss, metrics and the gradients of leaves, of a batch; the edges as they are told to run."""


class Pieces:
    """Steps of any path of one supernet, on batches of one form.

    Args:
        supernet: whose modules do the same at every step (`nasp.training.captured.is_plain`).
        weights: the parameters whose gradients a step gives.
        step: a step of the path that the edges are told to run.
        batch: of the form.
        make_graph: makes what captures.

    Raises:
        RuntimeError: the network cannot be captured, and why.
    """

    def __init__(
        self,
        supernet: Supernet,
        weights: Sequence[nn.Parameter],
        step: Step,
        batch: Batch,
        make_graph: Callable[[], Graph] = DirectGraph,
    ) -> None:
        choices = [choice for each in supernet.choices() for choice in each]
        operations = [operation for choice in choices for operation in choice.operations]
        owned = [weight for operation in operations for weight in operation.parameters()]
        if len(set(owned)) < len(owned):
            raise UnfitError("candidates share weights")
        self._places: dict[Tensor, int] = {weight: place for place, weight in enumerate(weights)}
        self._gradients = [torch.zeros_like(weight) for weight in weights]
        between = [weight for weight in weights if weight not in set(owned)]
        self._batch = HeldBatch(batch)
        self._chain: Chain[Cut] = Chain(supernet.device, make_graph)
        self._products: tuple[Graph, Found] | None = None
        anchor = torch.zeros((), device=supernet.device, requires_grad=True)
        leaves = [*between, anchor]

        def take(choice: Choice, args: tuple[Any, ...], _: Any) -> Tensor:
            (x,) = args
            return edges[choice].taken(self._chain, anchor, x, Upstream.of(x, self._places))

        with self._chain.beside():
            edges = _edges(supernet, lambda: step(self._batch.batch, leaves))
            with supernet.handed(take):
                # Libraries look for their fastest kernels, in each thread and not in a capture.
                with buffers_kept([*supernet.modules()]):
                    step(self._batch.batch, leaves)
                with self._chain.cutting():
                    loss, self._metrics, found = step(self._batch.batch, leaves)
        self._edges = list(edges.values())
        for edge in self._edges:
            edge.check()
        if may_draw(supernet):  # `DirectGraph` is for work that draws none
            raise UnfitError("a module may draw random numbers")
        self._loss, self._end = loss.detach(), Upstream.of(loss, self._places)
        for weight, gradient in zip(between, found, strict=False):
            self._gradients[self._places[weight]] = gradient

    def weight_step(self, path: Path, batch: Batch) -> tuple[Any, ...]:
        """Return loss, metrics and the weights' gradients; they hold until the next step."""
        turns = self._step(path, batch)
        gradients: list[Tensor | None] = [None] * len(self._gradients)
        for place in self._reached(turns):
            gradients[place] = self._gradients[place]
        return self._loss, self._metrics, gradients

    def probed_step(self, path: Path, batch: Batch) -> tuple[Any, ...]:
        """Return loss, metrics, no gradients, and the inner products of all candidates."""
        turns = self._step(path, batch)
        if self._products is None:
            self._products = self._captured_products()
        graph, found = self._products
        # All candidates take note of the batch there; the chosen ones have done so before.
        notes = [note for turn in turns.values() for note in turn.notes]
        _copy([(note.kept, note.noted) for note in notes])
        graph.replay()
        _copy([(note.noted, note.kept) for note in notes])
        return self._loss, self._metrics, [None], found

    def _step(self, path: Path, batch: Batch) -> dict[Edge, Turn]:
        """Replay a step; return who had a turn."""
        turns = {edge: self._turn(edge, path) for edge in self._edges}
        self._batch.fill(batch)
        for link in self._chain.links:
            if not isinstance(link, Cut):
                link.replay()
                continue
            turn = turns[link.edge]
            stays_off = link.edge.is_off and path[link.edge.number] is None
            graph = turn.backward if not link.is_forward else None if stays_off else turn.forward
            if graph is not None:
                graph.replay()
        for edge in self._edges:
            edge.is_off = path[edge.number] is None
        return turns

    def _reached(self, turns: Mapping[Edge, Turn]) -> set[int]:
        """Return which weights a gradient reaches: none behind edges that let nothing pass."""
        reached, seen, waiting = set(self._end.weights), set[Edge](), list(self._end.edges)
        while waiting:
            edge = waiting.pop()
            if edge in seen:
                continue
            seen.add(edge)
            reached.update(turns[edge].weights)
            if turns[edge].passes:
                reached |= edge.upstream.weights
                waiting += edge.upstream.edges
        return reached

    def _turn(self, edge: Edge, path: Path) -> Turn:
        k = path[edge.number]
        if k not in edge.turns:
            with self._chain.beside():
                edge.turns[k] = self._captured(edge, k)
        return edge.turns[k]

    def _captured(self, edge: Edge, k: int | None) -> Turn:
        """Capture a candidate where it has its turn; None: the edge gives nothing."""
        operation = None if k is None else edge.choice.operations[k]
        part = operation or nn.Module()
        weights = [weight for weight in part.parameters() if weight in self._places]
        gradients = [self._gradients[self._places[weight]] for weight in weights]
        with buffers_kept([*part.modules()]):  # as in `__init__`, before they are captured
            edge.forward(operation)
            edge.backward(operation, weights, gradients)
        forward, _ = self._chain.single(lambda: edge.forward(operation))
        assert forward is not None  # it writes the output, be it zeros
        with _without_notes([part]):
            backward, (passes, *have) = self._chain.single(
                lambda: edge.backward(operation, weights, gradients)
            )
        reached = [self._places[w] for w, has in zip(weights, have, strict=True) if has]
        notes = [Note(buffer, torch.empty_like(buffer)) for buffer in part.buffers()]
        return Turn(forward, backward, reached, passes, notes)

    def _captured_products(self) -> tuple[Graph, Found]:
        def work() -> Found:
            return inner_products([edge.read() for edge in self._edges])

        with self._chain.beside():
            with buffers_kept([m for edge in self._edges for m in edge.choice.modules()]):
                work()
            graph, found = self._chain.single(work)
            assert graph is not None
            return graph, found


def _edges(supernet: Supernet, step: Callable[[], Any]) -> dict[Choice, Edge]:
    """Return all edges, in the order of their turns, by a step that leaves nothing behind."""
    edges: dict[Choice, Edge] = {}
    readers: dict[Tensor, Readers] = {}
    numbers = {c: number for number, each in enumerate(supernet.choices()) for c in each}

    def take(choice: Choice, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        output = choice.operations[0](*args, **kwargs)
        is_plain = len(args) == 1 and not kwargs and choice not in edges
        if not (is_plain and is_image_batch(args[0]) and is_image_batch(output)):
            raise UnfitError("not every edge reads one image batch, once a pass")
        x = args[0]
        if x not in readers:
            readers[x] = Readers(x)
        edges[choice] = Edge(numbers[choice], choice, readers[x], output)
        return output

    with buffers_kept([*supernet.modules()]), supernet.handed(take):
        step()
    return edges


@contextmanager
def _without_notes(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Let no BatchNorm take note of what it normalises."""
    norms = [
        module
        for each in modules
        for module in each.modules()
        if getattr(module, "track_running_stats", False)
    ]
    for norm in norms:
        norm.track_running_stats = False  # type: ignore[assignment]
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True  # type: ignore[assignment]


def _copy(pairs: Iterable[tuple[Tensor, Tensor]]) -> None:
    """Copy many small tensors, at once for each type."""
    by_type: dict[torch.dtype, tuple[list[Tensor], list[Tensor]]] = {}
    for to, source in pairs:
        for some, tensor in zip(by_type.setdefault(to.dtype, ([], [])), (to, source), strict=True):
            some.append(tensor)
    for to_all, sources in by_type.values():
        torch._foreach_copy_(to_all, sources)
