"""A probe under way: a backward pass is all it takes to its gradients."""

from __future__ import annotations

from torch import Tensor

from nasp.supernet.leaves import Leaves


class Probed:
    """What `Supernet.probe` returns: where the gradient of every candidate will be.

    Args:
        leaves: hold the path, one-hot, and get the gradient.

    Attributes:
        anchors: leaves of the graph, on the network's device, that a backward pass is to reach:
            the `inputs` of `Learner.gradients`.
    """

    def __init__(self, leaves: Leaves) -> None:
        self.anchors = leaves.anchors
        self._leaves = leaves

    def gradients(self) -> dict[str, Tensor]:
        """Return dL/da of every candidate, table -> ``[edges, candidates]``, on the CPU.

        To be called after the backward pass; of several it is the sum.
        """
        return self._leaves.gradients()
