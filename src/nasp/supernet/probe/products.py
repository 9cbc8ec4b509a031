"""Inner products <g, O_k(x)> of every candidate of many edges, at less than the cost of O_k(x).

A pure function of candidates, inputs and gradients, but for the statistics that BatchNorms note.
Candidates that are chains of plain layers share what they can: a leading ReLU or pooling runs once
for all that read one tensor; and a last BatchNorm, with a 1×1 convolution before it, is never run.
With z = W u under a BatchNorm, z̃ = s·(z − μ) + b with s = γ/√(σ² + ε), and

    <g, z̃> = sum over channels of s·(<g, z> − μ·sum(g)) + b·sum(g),
    μ = W·mean(u),  σ² = diag(W·cov(u)·W'),  <g, z> = the rows' sums of W * (g'u),

so neither z nor z̃ is computed, exactly. On a GPU alike chains run side by side, as one grouped
convolution after the other: what it waits for there is the launch of kernels.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nasp.errors import UsageError
from nasp.supernet.excitation import SqueezeExcitation
from nasp.supernet.probe.buffers import buffers_kept
from nasp.supernet.probe.candidate import Candidates, Chain, is_pointwise
from nasp.supernet.probe.edge import (
    Autocast,
    ForwardState,
    autocast_as,
    autocast_of,
    inner_product,
    run_unchanged,
    same_shapes,
    tensors_of,
)
from nasp.supernet.probe.features import Features, channel_products, run_shared
from nasp.supernet.probe.norms import End, Ends, Found, Moments, Place, normalised
from nasp.supernet.zero import Zero


class Read(NamedTuple):
    """What one edge read, and the gradient that reached it.

    Attributes:
        edge: its number in `Supernet.edges`.
        candidates: on the edge.
        chains: of the candidates; None where one cannot be run as a chain in this pass.
        x: ``[B, C, H, W]``, what the edge read.
        version: of `x`, as it was read.
        chosen: the candidate that ran; None where the edge is switched off.
        state: random state and autocast of the forward pass.
        gradient: g, of the shape of O_k(x).
        output: the chosen candidate's, if its product follows from it; None where that comes by
            its BatchNorm's scale, or where none was chosen.
    """

    edge: int
    candidates: Candidates
    chains: tuple[Chain | None, ...]
    x: Tensor
    version: int
    chosen: int | None
    state: ForwardState
    gradient: Tensor
    output: Tensor | None


def inner_products(reads: Sequence[Read]) -> Found:
    """Return <g, O_k(x)> of every candidate of every edge, and where each belongs.

    A place comes as often as its edge was read. The chosen candidate's is missing where its
    BatchNorm's scale gives it. BatchNorms note the batch as if each candidate had run once.

    Raises:
        UsageError: a candidate gives another shape than the others, or changes its input in place.
    """
    # The layers run in the types of the forward pass, sums and moments in float32 at least.
    kinds = {read.x.device.type for read in reads}
    with torch.no_grad(), autocast_as([(kind, False, to) for kind, _, to in autocast_of(kinds)]):
        found = _found(reads)
    dtype = torch.promote_types(reads[0].x.dtype, torch.float32)
    places = [place for places, _ in found for place in places]
    return places, torch.cat([values.to(dtype) for _, values in found])


def _found(reads: Sequence[Read]) -> list[Found]:
    found: list[Found] = []
    members: list[_Member] = []
    known: dict[int, Features] = {}
    for read in reads:
        if read.x._version != read.version:
            raise UsageError(
                f"What the edge with the candidates {', '.join(read.candidates.names)} read was"
                " changed in place afterwards: use inplace=False in the layer that did."
            )
        x, gradient = (known.setdefault(id(t), Features(t)) for t in (read.x, read.gradient))
        for k, chain in enumerate(read.chains):
            place = (read.edge, k)
            if k == read.chosen:
                if read.output is not None:
                    found.append(([place], (gradient.wide * read.output).sum()[None]))
            elif isinstance(read.candidates.operations[k], Zero):
                found.append(([place], _zero(read, k)))
            elif chain is None:
                found.append(([place], _alone(read, k)))
            else:
                is_on = tuple(each for each in read.state.autocast if each[1])
                members.append(_Member(place, chain, x, gradient, is_on))
    ends = Ends()
    for together in _batches(members):
        values = _run(together, ends)
        if values is not None:
            found.append(([member.place for member in together], values))
    return found + ends.settle()


class _Member(NamedTuple):
    place: Place
    chain: Chain
    x: Features
    gradient: Features
    autocast: Autocast

    @property
    def kind(self) -> tuple[object, ...]:
        """Equal for those that can run side by side."""
        x, gradient = self.x.tensor, self.gradient.tensor
        types = x.dtype, gradient.dtype, self.autocast
        return self.chain.signature, x.shape, gradient.shape, types


def at_once(device: torch.device) -> int:
    """Return how many alike chains run side by side.

    On a CPU each alone, while its input is in the cache. Elsewhere as many as a cell of DARTS's
    space has edges: on an H200 twice as many took twice as long, and so did each alone.
    """
    return 1 if device.type == "cpu" else 14


def _batches(members: Sequence[_Member]) -> Iterator[list[_Member]]:
    """Yield what runs side by side."""
    if not members:
        return
    most = at_once(members[0].x.tensor.device)
    if most == 1:
        yield from ([member] for member in members)
        return
    alike: dict[tuple[object, ...], list[_Member]] = defaultdict(list)
    for member in members:
        alike[member.kind].append(member)
    for group in alike.values():
        for start in range(0, len(group), most):
            yield group[start : start + most]


def _run(together: Sequence[_Member], ends: Ends) -> Tensor | None:
    """Return <g, O(x)> of alike chains, ``[M]``; None where `ends` has what it follows from."""
    first, count = together[0].chain, len(together)
    gradient = Features.beside([member.gradient for member in together])
    chains = [member.chain.layers for member in together]
    with autocast_as(together[0].autocast):
        inputs = [member.x for member in together]
        for layer, signature in zip(first.shared, first.signature, strict=False):
            inputs = [x.after(layer, signature) for x in inputs]
        x = Features.beside(inputs)
        for position in range(len(first.shared), first.stop):
            x = Features(_layer([layers[position] for layers in chains], x), count)
    if first.ends_in_norm:
        ends.add(_end([member.place for member in together], chains, x, gradient, first.stop))
        return None
    _check_shape(x.tensor, x.tensor.shape[1], gradient.tensor)
    if x.is_matrix and gradient.is_matrix:
        return torch.dot(gradient.matrix.flatten(), x.matrix.flatten())[None]
    return channel_products(gradient.wide, x.wide).view(count, -1).sum(dim=1)


def _end(
    places: list[Place],
    chains: Sequence[Sequence[nn.Module]],
    x: Features,
    gradient: Features,
    stop: int,
) -> End:
    """Return BatchNorms on `x`, or on what 1×1 convolutions make of it: ends of alike chains."""
    norms = [layers[-1] for layers in chains if isinstance(layers[-1], nn.BatchNorm2d)]
    if stop < len(chains[0]) - 1:
        weight = torch.stack([layers[-2].get_parameter("weight").flatten(1) for layers in chains])
        _check_shape(x.tensor, len(chains) * weight.shape[1], gradient.tensor)
        squares, overlap = x.products, gradient.products_with(x)
    else:
        weight = None
        _check_shape(x.tensor, x.tensor.shape[1], gradient.tensor)
        squares = x.square_sum
        overlap = channel_products(gradient.wide, x.wide).view(len(chains), -1)
    moments = Moments(x.count, x.sum, squares)
    return End(places, norms, moments, overlap, gradient.sum, weight)


def _layer(layers: Sequence[nn.Module], x: Features) -> Tensor:
    """Return what alike layers make of a tensor that none but they read."""
    first, count = layers[0], len(layers)
    if isinstance(first, nn.ReLU):
        return x.tensor.relu_()
    if isinstance(first, nn.Hardswish):
        return F.hardswish(x.tensor, inplace=True)
    if is_pointwise(first):
        # As a matrix product it costs less than half of a call of the convolution.
        weights = [layer.get_parameter("weight").flatten(1) for layer in layers]
        if x.is_matrix:
            return _as_images(x.matrix @ weights[0].T, x.tensor)
        images = x.tensor.view(len(x.tensor), count, -1, x.tensor[0, 0].numel())
        return (torch.stack(weights) @ images).view(len(images), -1, *x.tensor.shape[2:])
    if count == 1:
        return run_shared(first, x.tensor)
    if isinstance(first, nn.Conv2d):
        weight = torch.cat([layer.get_parameter("weight") for layer in layers])
        bias = None
        if first.bias is not None:
            bias = torch.cat([layer.get_parameter("bias") for layer in layers])
        assert not isinstance(first.padding, str)  # `Chain.of` takes none
        groups = first.groups * count
        return F.conv2d(x.tensor, weight, bias, first.stride, first.padding, first.dilation, groups)
    if isinstance(first, nn.BatchNorm2d):
        return normalised([la for la in layers if isinstance(la, nn.BatchNorm2d)], x.tensor)
    if isinstance(first, SqueezeExcitation):
        parts = x.tensor.chunk(count, dim=1)
        return torch.cat([la(part) for la, part in zip(layers, parts, strict=True)], dim=1)
    return run_shared(first, x.tensor)


def _as_images(matrix: Tensor, like: Tensor) -> Tensor:
    """Return ``[N, C]`` as ``[B, C, H, W]``, channels-last in memory."""
    batch, _, height, width = like.shape
    return matrix.reshape(batch, height, width, -1).permute(0, 3, 1, 2)


def _zero(read: Read, k: int) -> Tensor:
    operation, name = read.candidates.operations[k], read.candidates.names[k]
    same_shapes("the others", [read.gradient], name, [operation(read.x.to("meta"))])
    return read.gradient.new_zeros(1)


def _alone(read: Read, k: int) -> Tensor:
    """Return <g, O_k(x)> of a candidate that is no chain, run as it is."""
    name = read.candidates.names[k]
    with read.state.restored(), buffers_kept(read.candidates.kept):
        read.state.rewind()
        output = tensors_of(run_unchanged(name, read.candidates.operations[k], (read.x,), {}))
    same_shapes("the others", [read.gradient], name, output)
    return inner_product([read.gradient], output)[None]


def _check_shape(tensor: Tensor, channels: int, gradient: Tensor) -> None:
    batch, _, *size = tensor.shape
    given, expected = (batch, channels, *size), tuple(gradient.shape)
    if given != expected:
        raise UsageError(
            f"All candidates of an edge must give one shape, but one gives {given} and another"
            f" {expected}."
        )
