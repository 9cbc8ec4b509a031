"""BatchNorm over the parts that all processes have of a batch, on any device.

torch's own SyncBatchNorm needs a GPU, and another class of layer: the network that is handed back
would not be the plain one. Here the layers are others only while a pass over a part goes by.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from nasp.training.ranks import Ranks


class _Sum(torch.autograd.Function):
    """The sum over all processes; so is the gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, ranks: Ranks) -> Tensor:
        ctx.ranks = ranks
        summed = x.clone()
        ranks.sum([summed])
        return summed

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _Sum.apply(gradient.contiguous(), ctx.ranks), None


class _Synced(_BatchNorm):
    """Normalises by the mean and the variance of all processes' examples together."""

    ranks: Ranks

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[B, C, ...]`` to the same shape."""
        if not (self.training or self.running_mean is None):
            return super().forward(x)
        self._check_input_dim(x)  # type: ignore[no-untyped-call]
        wide = x if x.dtype == torch.float64 else x.float()
        others = [dim for dim in range(x.dim()) if dim != 1]
        count = x.numel() // x.shape[1]
        own = wide.mean(others)
        spread = (wide - _shaped(own, x)).square().mean(others)
        # Of each process its own row: means and spreads are then added up without cancellation.
        place = torch.zeros(self.ranks.size, 1, dtype=wide.dtype, device=x.device)
        place[self.ranks.rank] = 1
        rows = place * torch.cat([own.new_full((1,), count), own, spread])
        table = _Sum.apply(rows, self.ranks)
        counts, means, spreads = torch.split(table, [1, len(own), len(own)], dim=1)
        shares = counts.detach() / counts.detach().sum()
        mean = (shares * means).sum(0)
        variance = (shares * (spreads + (means - mean).square())).sum(0)
        self._note(mean, variance, counts.sum())
        y = (wide - _shaped(mean, x)) * _shaped((variance + self.eps).rsqrt(), x)
        if self.weight is not None:
            y = y * _shaped(self.weight.to(wide.dtype), x)
        if self.bias is not None:
            y = y + _shaped(self.bias.to(wide.dtype), x)
        return y.to(x.dtype)

    @torch.no_grad()
    def _note(self, mean: Tensor, variance: Tensor, count: Tensor) -> None:
        """Move the running statistics, as BatchNorm does."""
        if not (self.training and self.track_running_stats) or self.running_mean is None:
            return
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        unbiased = variance * (count / (count - 1))
        momentum = self.momentum
        if momentum is None:
            momentum = 1.0 / float(self.num_batches_tracked)
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), momentum)
        self.running_var.lerp_(unbiased.to(self.running_var.dtype), momentum)


class _Synced1d(_Synced, nn.BatchNorm1d):
    pass


class _Synced2d(_Synced, nn.BatchNorm2d):
    pass


class _Synced3d(_Synced, nn.BatchNorm3d):
    pass


SYNCED: dict[type[nn.Module], type[_Synced]] = {
    nn.BatchNorm1d: _Synced1d,
    nn.BatchNorm2d: _Synced2d,
    nn.BatchNorm3d: _Synced3d,
}


@contextmanager
def synced(norms: Sequence[nn.Module], ranks: Ranks) -> Iterator[None]:
    """Let BatchNorms normalise by the examples of all processes meanwhile.

    Args:
        norms: of one of the classes in `SYNCED`; others are left as they are.
        ranks: the processes; with one alone nothing changes.
    """
    plain = [(norm, type(norm)) for norm in norms if type(norm) in SYNCED and ranks.size > 1]
    for norm, kind in plain:
        object.__setattr__(norm, "ranks", ranks)
        norm.__class__ = SYNCED[kind]
    try:
        yield
    finally:
        for norm, kind in plain:
            norm.__class__ = kind
            object.__delattr__(norm, "ranks")


def _shaped(per_channel: Tensor, like: Tensor) -> Tensor:
    return per_channel.view(1, -1, *[1] * (like.dim() - 2))
