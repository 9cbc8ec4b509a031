"""One forward pass of all candidates, before the first step: whatever is wrong has a name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from nasp.errors import NaspError, UsageError
from nasp.supernet.choice import Choice, Node
from nasp.supernet.derive import refuse_lost
from nasp.supernet.probe.edge import run_unchanged, same_shapes, tensors_of, with_tensors
from nasp.supernet.probe.passes import is_transformed
from nasp.supernet.supernet import Supernet
from nasp.supernet.untouched import untouched
from nasp.supernet.zero import Zero

Result = TypeVar("Result")


@dataclass(frozen=True)
class Seen:
    """What a checked pass saw of the network and its loss.

    Attributes:
        missed: edges that it did not run, neither in training nor in evaluation mode.
        has_inner_passes: the loss runs backward passes of its own.
        is_second_order: the loss takes derivatives of the network's own derivatives.
    """

    missed: tuple[str, ...]
    has_inner_passes: bool
    is_second_order: bool


def check_candidates(
    supernet: Supernet, run: Callable[[], Tensor], must_be_finite: bool = True, *owners: object
) -> Seen:
    """Run every candidate of every edge on what its edge reads; leave all as it was.

    Args:
        supernet: in the mode in which it is to be searched.
        run: passes a batch through the network; returns the loss, with its graph.
        must_be_finite: refuse candidates whose values are not.
        owners: what else `run` may change, such as the task.

    Raises:
        UsageError: a candidate fails, or gives no tensor, another shape or type than the others or
            values that are not finite, or changes its input; a layer behind an edge changes in
            place what others still read; or a `Choice` or `Node` does what a built network would
            not. The candidate and its edge are named.
    """
    refuse_lost(supernet.network)
    check = _Check(supernet, must_be_finite)
    owned = supernet, *owners
    with untouched(*owned):
        check.run(run)
    if check.waiting:
        with untouched(*owned):
            supernet.eval()
            check.run(run)
    heard = check.heard
    seen = Seen(tuple(check.waiting), heard.has_inner_passes, heard.is_second_order)
    if check.changed():
        check.compare(run, owned)
    return seen


def run_candidates(supernet: Supernet, run: Callable[[], object]) -> None:
    """Run every candidate of every edge, such as for lazy modules to begin.

    Args:
        supernet: its candidates' parameters, buffers and attributes stay as the pass leaves them.
        run: passes a batch through the network.

    Raises:
        UsageError: a candidate is wrong, as in `check_candidates`.
    """
    _Check(supernet, must_be_finite=False).run(run)
    supernet.single((0,) * len(supernet.edges))


class _Alias(NamedTuple):
    """A candidate's output that is its input, or a view of it."""

    edge: str
    name: str
    output: Tensor
    version: int

    @property
    def is_changed(self) -> bool:
        return self.output._version != self.version


class _Heard:
    """Backward passes that the loss ran itself.

    Hooks of tensors hold this alone: a check that held such tensors, too, would never be freed,
    nor their graph, and no step after it could be captured.
    """

    has_inner_passes = False
    is_second_order = False

    def listen(self, _gradient: Tensor) -> None:
        self.has_inner_passes = True
        self.is_second_order |= torch.is_grad_enabled()


class _Check:
    def __init__(self, supernet: Supernet, must_be_finite: bool) -> None:
        self.supernet = supernet
        self.must_be_finite = must_be_finite
        self.waiting = dict.fromkeys(supernet.edges)
        self.heard = _Heard()
        self.aliases: list[_Alias] = []
        self.given: list[Tensor] = []
        self.copies = False
        self.raised: UsageError | None = None
        self.picked: dict[Any, int] = {}
        self.first_of_node = _firsts(supernet)
        self.node_shapes: dict[int, tuple[str, list[Tensor]]] = {}

    def run(self, run: Callable[[], Result]) -> Result:
        self.supernet.check(lambda edge: lambda *call: self._edge(edge, *call))
        given = self.supernet.register_forward_pre_hook(self._note_inputs, with_kwargs=True)
        try:
            return run()
        finally:
            given.remove()

    def _note_inputs(self, _: nn.Module, args: tuple[Any, ...], kwargs: Any) -> None:
        self.given += tensors_of((args, kwargs))

    def changed(self) -> list[_Alias]:
        return [alias for alias in self.aliases if alias.is_changed]

    def compare(self, run: Callable[[], Tensor], owned: tuple[object, ...]) -> None:
        """Refuse what is changed in place behind an edge, where that changes the loss."""
        changed, losses = self.changed(), []
        is_batch = any(_is_view([alias.output], self.given) for alias in changed)
        weights = self.supernet.weights()
        for self.copies in (True, False):
            with untouched(*owned):
                try:
                    loss = self.run(run)
                    losses.append(loss.detach())
                    if loss.requires_grad:
                        torch.autograd.grad(loss, weights, allow_unused=True)
                except RuntimeError as error:
                    if "inplace operation" not in str(error):
                        raise
        is_same = len(losses) == 2 and torch.allclose(losses[0], losses[1], equal_nan=True)
        if is_batch or not is_same:
            raise UsageError(
                f"What candidate '{changed[0].name}' of edge '{changed[0].edge}' returns is its"
                " input itself, and a layer behind the edge changes it in place though others"
                " still read it: use inplace=False in that layer."
            )

    def _edge(self, edge: str, choice: Choice, args: tuple[Any, ...], kwargs: Any) -> Any:
        self.waiting.pop(edge, None)
        key = (id(choice), *_form((args, kwargs)))
        if key not in self.picked:
            self.picked[key] = self._all(edge, choice, args, kwargs)
        k = self.picked[key]
        output = choice.operations[k](*args, **kwargs)
        if is_transformed():
            self.heard.has_inner_passes = self.heard.is_second_order = True
            return output
        tensors = tensors_of(output)
        if self.copies:
            output = with_tensors(output, [tensor.clone() for tensor in tensors])
        else:
            inputs = tensors_of((args, kwargs))
            views = [tensor for tensor in tensors if _is_view([tensor], inputs)]
            self.aliases += [_Alias(edge, choice.names[k], x, x._version) for x in views]
        for tensor in tensors:
            if tensor.requires_grad:
                tensor.register_hook(self.heard.listen)  # type: ignore[no-untyped-call]
        return output

    @torch.no_grad()
    def _all(self, edge: str, choice: Choice, args: tuple[Any, ...], kwargs: Any) -> int:
        """Run all candidates; return which is to go on: one that returns its input, if any."""
        inputs = tensors_of((args, kwargs))
        must_be_finite = self.must_be_finite and all(map(_is_finite, inputs))
        first: list[Tensor] = []
        views: list[int] = []
        for k, (name, operation) in enumerate(zip(choice.names, choice.operations, strict=True)):
            try:
                output = run_unchanged(name, operation, args, kwargs)
                tensors = _checked(name, output)
                if k > 0:
                    same_shapes(choice.names[0], first, name, tensors)
                    _same_types(choice.names[0], first, name, tensors)
            except NaspError as error:
                if error is self.raised:  # by an edge inside of this candidate
                    raise
                raise self._error(f"Edge '{edge}': {error}") from error
            except Exception as error:
                reason = (str(error).splitlines() or [type(error).__name__])[0]
                shapes = ", ".join(str(list(x.shape)) for x in inputs) or "no tensor"
                raise self._error(
                    f"Candidate '{name}' of edge '{edge}' fails on what the edge reads, {shapes}:"
                    f" {reason}"
                ) from error
            if must_be_finite and not all(map(_is_finite, tensors)):
                raise self._error(
                    f"Candidate '{name}' of edge '{edge}' gives values that are not finite: keep"
                    " them finite, or leave it out."
                )
            first = first or tensors
            if _is_view(tensors, inputs):
                views.append(k)
        self._same_as_in_node(edge, choice, first)
        solid = [k for k, o in enumerate(choice.operations) if not isinstance(o, Zero)]
        return [*views, *solid, 0][0]

    def _error(self, sentence: str) -> UsageError:
        self.raised = UsageError(sentence)
        return self.raised

    def _same_as_in_node(self, edge: str, choice: Choice, tensors: list[Tensor]) -> None:
        first = self.first_of_node.get(id(choice))
        if first is choice:
            self.node_shapes[id(choice)] = edge, tensors
        elif first is not None and id(first) in self.node_shapes:
            other, others = self.node_shapes[id(first)]
            shapes, expected = ([list(t.shape) for t in side] for side in (tensors, others))
            if shapes != expected:
                raise self._error(
                    f"All edges of a Node must give one shape, but '{other}' gives {expected} and"
                    f" '{edge}' gives {shapes}."
                )


def _checked(name: str, output: object) -> list[Tensor]:
    tensors = tensors_of(output)
    if not tensors:
        raise UsageError(
            f"Candidate '{name}' must return a tensor, or a tuple, list or dictionary of tensors,"
            f" but gave a {type(output).__name__}."
        )
    return tensors


def _same_types(name: str, tensors: list[Tensor], other: str, others: list[Tensor]) -> None:
    """Raise UsageError unless two candidates give one type, on one device.

    Under autocast they need not: it is what it makes of them.
    """
    for one, two in zip(tensors, others, strict=True):
        is_autocast = torch.is_autocast_enabled(one.device.type)
        if one.device != two.device or (one.dtype != two.dtype and not is_autocast):
            raise UsageError(
                "All candidates of an edge must give one type on one device, but"
                f" '{name}' gives {one.dtype} on {one.device} and '{other}' gives {two.dtype} on"
                f" {two.device}."
            )


def _is_finite(tensor: Tensor) -> bool:
    is_countable = tensor.is_floating_point() or tensor.is_complex()
    if not is_countable or tensor.layout is not torch.strided or is_transformed():
        return True
    return bool(tensor.isfinite().all())


def _is_view(tensors: list[Tensor], inputs: list[Tensor]) -> bool:
    if is_transformed() or any(x.layout is not torch.strided for x in [*tensors, *inputs]):
        return False
    read = {x.untyped_storage().data_ptr() for x in inputs if x.numel()}
    return any(x.untyped_storage().data_ptr() in read for x in tensors if x.numel())


def _form(tree: Any) -> tuple[object, ...]:
    leaves, spec = pytree.tree_flatten(tree)
    forms = [(x.shape, x.dtype) if isinstance(x, Tensor) else type(x) for x in leaves]
    return (*forms, str(spec))


def _firsts(network: nn.Module) -> dict[int, Choice]:
    """Return the first edge of the node that each choice ends in, by ``id``."""
    nodes = [module for module in network.modules() if isinstance(module, Node)]
    return {id(choice): node.choices[0] for node in nodes for choice in node.choices}
