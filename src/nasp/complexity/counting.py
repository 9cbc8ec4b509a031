"""The FLOPs of a pass: torch's counter, and what it does not see."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.batchnorm import _NormBase
from torch.utils.flop_counter import FlopCounterMode

_FREE = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.PReLU, nn.Embedding, nn.EmbeddingBag)
"""Layers that have parameters and multiply no matrices."""


def counted_flops(operation: nn.Module, run: Callable[[], object]) -> float:
    """Return the FLOPs of a pass through an operation, two a multiply-add.

    Attention is run by products of matrices that the counter sees, whatever kernel is fastest.
    A module with parameters that counts 0 is warned of.
    """
    with (
        _without_fused_attention(),
        FlopCounterMode(display=False, custom_mapping=_FORMULAS) as counter,
        ExitStack() as hooks,
    ):
        counts: dict[nn.Module, int] = {}
        starts: list[int] = []

        def before(*_: Any) -> None:
            starts.append(counter.get_total_flops())

        def after(module: nn.Module, *_: Any) -> None:
            counted = counter.get_total_flops() - starts.pop()
            counts[module] = counts.get(module, 0) + counted

        for module in operation.modules():
            hooks.callback(module.register_forward_pre_hook(before, prepend=True).remove)
            hooks.callback(module.register_forward_hook(after).remove)
        run()
    total = counter.get_total_flops()
    # Beside what counts, a vector is taken for a scale or a shift.
    least = 2 if total else 1
    uncounted = [m for m, count in counts.items() if not count and _dimensions(m) >= least]
    if silent := sorted({type(module).__name__ for module in uncounted}):
        warnings.warn(
            f"No FLOPs are counted for {', '.join(silent)}, which has parameters: none of its"
            " operations is known to be a product. Costs flops and macs take it for free; where it"
            " is not, use another cost, such as latency, or cost=function.",
            stacklevel=2,
        )
    return float(total)


def _dimensions(module: nn.Module) -> int:
    """Return how many dimensions the largest of a module's own parameters has, at most."""
    if isinstance(module, _FREE):
        return 0
    lists = (nn.ParameterList, nn.ParameterDict)
    held = [module, *(child for child in module.children() if isinstance(child, lists))]
    return max((p.dim() for part in held for p in part.parameters(recurse=False)), default=0)


@contextmanager
def _without_fused_attention() -> Iterator[None]:
    """Keep attention and encoder layers from the kernels that the counter does not look into."""
    was = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(was)


def _on_tensors(formula: Callable[..., int]) -> Callable[..., int]:
    """Let the counter call a formula with the tensors, not with their shapes."""
    formula._get_raw = True  # type: ignore[attr-defined]
    return formula


@_on_tensors
def _product(matrix: Tensor, other: Tensor, *_: Any, **__: Any) -> int:
    """[m,k] times [k,n] or [k]; of a sparse matrix what is there."""
    entries = matrix.numel() if matrix.layout is torch.strided else matrix._nnz()
    return 2 * entries * (other.shape[1] if other.dim() > 1 else 1)


@_on_tensors
def _sum_and_product(_: Tensor, matrix: Tensor, other: Tensor, *__: Any, **___: Any) -> int:
    flops: int = _product(matrix, other)
    return flops


@_on_tensors
def _bilinear(first: Tensor, weight: Tensor, *_: Any, **__: Any) -> int:
    """First [b,i] times weight [o,i,j], and that times second [b,j]."""
    outputs, rows, columns = weight.shape
    return 2 * first.shape[0] * outputs * (rows + 1) * columns


@_on_tensors
def _recurrent(x: Tensor, *weights: Any, **_: Any) -> int:
    """Every token times every matrix: of one layer on a CPU, or of a list of all on a GPU."""
    given = weights[0] if isinstance(weights[0], list | tuple) else weights[:4]
    matrices: int = sum(weight.numel() for weight in given if weight.dim() == 2)
    return 2 * matrices * int(x.shape[:-1].numel())


_aten = torch.ops.aten
_FORMULAS: dict[Any, Any] = {
    _aten.mm: _product,
    _aten.mv: _product,
    _aten.dot: _product,
    _aten.vdot: _product,
    _aten.addmv: _sum_and_product,
    _aten._sparse_addmm: _sum_and_product,
    _aten._trilinear: _bilinear,
    _aten.mkldnn_rnn_layer: _recurrent,
    _aten._cudnn_rnn: _recurrent,
    _aten.miopen_rnn: _recurrent,
}
