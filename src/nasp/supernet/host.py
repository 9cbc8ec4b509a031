"""What comes from the device to the host, where the alphas are, comes all at once."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def to_host(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return detached copies on the CPU, of the same shapes and types.

    Those of one device come in a single copy, which waits until the device has done its work: it
    is the one place where a step may wait.
    """
    found = [tensor.detach() for tensor in tensors]
    for device in {tensor.device for tensor in found}:
        where = [index for index, tensor in enumerate(found) if tensor.device == device]
        # In the widest type, for a copy is of one: back in its own, each value is what it was.
        wide = torch.float32 if device.type == "mps" else torch.float64
        types = {found[index].dtype for index in where}
        kind = types.pop() if len(types) == 1 else wide
        flat = torch.cat([found[index].reshape(-1).to(kind) for index in where]).cpu()
        parts = torch.split(flat, [found[index].numel() for index in where])
        for index, part in zip(where, parts, strict=True):
            found[index] = part.view(found[index].shape).to(found[index].dtype)
    return found
