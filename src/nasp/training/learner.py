"""Gradients and weight steps of one network on one task: device, precision, accumulation."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, cast

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from nasp.supernet.path import Path
from nasp.supernet.probe.taps import Probe
from nasp.supernet.supernet import Supernet
from nasp.training.captured import Captured, is_plain
from nasp.training.device import ranks_of
from nasp.training.evaluation import measured_loss
from nasp.training.exchange import Exchange
from nasp.training.layout import check_layout
from nasp.training.pieces import Pieces
from nasp.training.task import Batch, Metrics, Paced, Static, Task, module_of
from nasp.training.unread import NotFiniteError, Unread, read


class Anchored(Protocol):
    """Knows which leaves of the graph, on the network's device, a backward pass is to reach."""

    @property
    def anchors(self) -> Sequence[Tensor]:
        """The leaves."""
        ...


class Learner:
    """What a strategy, or the training of a derived network, takes its steps with.

    Args:
        fabric: device and precision (Lightning Fabric).
        network: the supernet or the derived network; moved to the device.
        task: turns a batch into a loss.
        weights: the parameters that weight steps move; those of the task itself join them.
        optimizer: makes the weights' optimiser from them.
        clip: largest norm of the weights' gradient; None leaves it as it is.
        accumulate: into how many parts a batch is split, one after the other; default 1.
        capture: replay steps that repeat themselves as CUDA graphs, where a supernet and a task
            are known to depend on nothing else; default True. Not with several processes.
        sync_bn: with several processes, let BatchNorm normalise by the whole batch.
        seed: of what is drawn in passes over a process's share of a batch.

    Attributes:
        is_static: whether what network and task do is known to depend on nothing but the batch.
        ranks: this process, and those that share each batch with it.
        steps_per_epoch: by which schedules that change after each step are laid out.
        after_step: called after each weight step.
    """

    def __init__(
        self,
        fabric: Fabric,
        network: nn.Module,
        task: Task,
        weights: Sequence[nn.Parameter],
        optimizer: Callable[[Sequence[nn.Parameter]], torch.optim.Optimizer],
        clip: float | None = 5.0,
        accumulate: int = 1,
        capture: bool = True,
        sync_bn: bool = False,
        seed: int = 0,
    ) -> None:
        self.fabric = fabric
        self.ranks = ranks_of(fabric)
        self.is_static = isinstance(task, Static) and is_plain(network.modules())
        self._supernet = network if isinstance(network, Supernet) and self.is_static else None
        self._captured = Captured(fabric.device, capture and self.ranks.size == 1)
        self._exchange = Exchange(self.ranks, network, task, self.is_static, sync_bn, seed)
        self._pieces: dict[Hashable, Pieces] = {}
        self.task = task
        self._module = module_of(task)
        own = [] if self._module is None else fabric.to_device(self._module).parameters()
        self.weights = list(dict.fromkeys([*weights, *(w for w in own if w.requires_grad)]))
        self.clip = clip
        self.accumulate = accumulate
        check_layout(network, fabric.device)
        # Moved here, for Fabric would warn of alphas that stay on the CPU.
        self.network = fabric.setup_module(fabric.to_device(network), move_to_device=False)
        self.optimizer = optimizer(self.weights)
        self._stepper: Any = fabric.setup_optimizers(self.optimizer)
        self._scaler: Any = getattr(fabric.strategy.precision, "scaler", None)  # 16-mixed's
        self._scale = 1.0
        self.steps_per_epoch = 1
        self.after_step: Callable[[], None] = lambda: None

    def backward(self, batch: Batch, inputs: Sequence[Tensor] | Anchored) -> Unread:
        """Add the gradient of the batch's mean loss to the ``.grad`` of `inputs`, and no other.

        Args:
            batch: split into `accumulate` parts of equal size.
            inputs: leaves of the graph, on the network's device, or what has them as `anchors`;
                what a probe of the pass finds is worked out here, with the rest.

        Returns:
            Loss and metrics: the device may still be at work on them.
        """
        probe = inputs if isinstance(inputs, Probe) else None
        leaves = list(inputs if isinstance(inputs, Sequence) else inputs.anchors)
        unread, products = Unread(), [] if probe is None else [probe.take()]
        here, parts = self._exchange.parts(batch, self.accumulate)
        for part in parts:

            def work(batch: Batch, share: float = part.of_loss) -> tuple[Any, ...]:
                if probe is not None:
                    probe.forget()  # what a capture left that failed half way
                with _without_gradients(leaves):
                    loss, metrics = self.task.loss(self.network, batch)
                    if probe is not None:
                        probe.forget()  # what a backward pass found that the loss ran itself
                    gradients = self._gradients(loss * share, leaves)
                return loss.detach(), metrics, gradients, probe and probe.take()

            kind = "weights" if probe is None else "probe"
            # What comes of a replay holds until the next one: another part's would replace it.
            key = self.run_key if len(parts) == 1 else None
            in_pieces = self._in_pieces(probe)
            with self._exchange.apart():
                loss, metrics, gradients, of_part = self._captured.run(
                    kind, key, work, part.batch, in_pieces
                )
            unread.add(part, loss, metrics)
            _add(leaves, gradients)
            products += [] if probe is None else [of_part]
        unread, products = self._exchange.join(here, unread, leaves, products)
        if probe is not None:
            probe.forget()
            for found in products:
                probe.give(found)
        return unread

    @property
    def parts(self) -> int:
        """Into how many parts a batch is split, in all processes."""
        return self.accumulate * self.ranks.size

    def _gradients(self, objective: Tensor, leaves: Sequence[Tensor]) -> list[Tensor | None]:
        """Return the gradients by the leaves, scaled as the precision wants it."""
        for leaf in leaves:
            leaf.grad = None
        if objective.requires_grad:
            self.fabric.backward(objective, inputs=list(leaves))
        return [leaf.grad for leaf in leaves]

    def _in_pieces(self, probe: Probe | None) -> Callable[[Hashable, Batch], Any] | None:
        """Return how a step of any path is replayed; None where that would not be the same."""
        supernet, precision = self._supernet, self.fabric.strategy.precision.precision
        is_mixed = precision not in ("32-true", "64-true")
        if supernet is None or is_mixed or not (probe is None or probe.fused):
            return None

        def step(batch: Batch, leaves: Sequence[Tensor]) -> tuple[Any, ...]:
            with _without_gradients(leaves):
                loss, metrics = self.task.loss(self.network, batch)
                return loss, metrics, self._gradients(loss, leaves)

        def in_pieces(form: Hashable, batch: Batch) -> Any:
            path = cast(Path, supernet.run_key[1]) if supernet.run_key else ()
            if form not in self._pieces:
                self._pieces.clear()
                self._pieces[form] = Pieces(supernet, self.weights, step, batch)
            pieces = self._pieces[form]
            if probe is None:
                return (*pieces.weight_step(path, batch), None)
            return pieces.probed_step(path, batch)

        return in_pieces

    @property
    def run_key(self) -> Hashable | None:
        """What the network now does to a batch; None where nobody can say that it stays so."""
        if self._supernet is None or self._supernet.run_key is None:
            return None
        return (*self._supernet.run_key, self._supernet.training)

    def gradients(self, batch: Batch, inputs: Sequence[Tensor] | Anchored) -> Metrics:
        """Do what `backward` does, and wait for the figures.

        Returns:
            The loss and the task's metrics, means over the batch.

        Raises:
            NotFiniteError: the loss is not finite.
        """
        unread, scaler = self.backward(batch, inputs), self._scaler
        one = torch.ones((), device=self.fabric.device)
        (metrics,), scales = read([unread], [] if scaler is None else [scaler.scale(one)])
        self._scale = float(scales[0]) if scales else 1.0
        return metrics

    def unscaled(self, gradients: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
        """Return what the last `gradients` gave, without the loss scale of 16-bit precision.

        Args:
            gradients: on the CPU.

        Returns:
            None where the scaled gradients overflowed: the scale is lowered, and no step is due.
        """
        scaler = self._scaler
        if scaler is None:
            return dict(gradients)
        is_finite = all(bool(gradient.isfinite().all()) for gradient in gradients.values())
        if not is_finite and self._scale >= 1:  # below, no smaller scale will help
            scaler.update(self._scale * scaler.get_backoff_factor())
            return None
        return {name: gradient / self._scale for name, gradient in gradients.items()}

    def loss(self, batch: Batch) -> float:
        """Return the batch's mean loss, the network as it is set, in the mode it is in."""
        unread = Unread()
        here, parts = self._exchange.parts(batch, self.accumulate)
        for part in parts:
            with self._exchange.apart():
                loss, _ = measured_loss(self.task, self.network, part.batch)
            unread.add(part, loss, {})
        whole, _ = self._exchange.join(here, unread, [], [])
        (metrics,), _ = read([whole], must_be_finite=False)
        return metrics["loss"]

    def weight_step(self, batch: Batch) -> Metrics:
        """Move the weights one step down the batch's loss; return loss and metrics.

        Raises:
            NotFiniteError: the loss or the gradient is not finite; the weights have not moved.
        """
        self.optimizer.zero_grad(set_to_none=True)
        unread, norms = self.backward(batch, self.weights), []
        if self.clip is not None:
            norm = self.fabric.clip_gradients(
                self.network, self._stepper, max_norm=self.clip, error_if_nonfinite=False
            )
            norms = [] if norm is None else [norm]
        (metrics,), norms = read([unread], norms)
        # Under a loss scale an overflow is ordinary: the scaler skips that step.
        if self._scaler is None and not all(math.isfinite(float(norm)) for norm in norms):
            raise NotFiniteError(
                "The gradient of the weights is not finite: lower the learning rate, or"
                " check the data for invalid values; the run resumes from its last checkpoint."
            )
        if isinstance(self.task, Paced):
            gradients = [weight.grad for weight in self.weights if weight.grad is not None]
            torch._foreach_mul_(gradients, self.task.pace(batch))
        self._stepper.step()
        self.after_step()
        return metrics

    def state_dict(self) -> dict[str, Any]:
        """Return the states of the optimiser, the precision's loss scale and the task's weights."""
        return {
            "optimizer": self.optimizer.state_dict(),
            "precision": self.fabric.strategy.precision.state_dict(),
            "task": {} if self._module is None else self._module.state_dict(),
            "captured": self._captured.state_dict(),
            "passes": self._exchange.passes,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a state that `state_dict` returned."""
        self.optimizer.load_state_dict(state["optimizer"])
        self.fabric.strategy.precision.load_state_dict(state["precision"])
        if self._module is not None:
            self._module.load_state_dict(state["task"])
        self._captured.load_state_dict(state["captured"])
        self._exchange.passes = state.get("passes", 0)


@contextmanager
def _without_gradients(leaves: Sequence[Tensor]) -> Iterator[None]:
    """Let the leaves have no gradient; give each its own back at the end."""
    held = [leaf.grad for leaf in leaves]
    for leaf in leaves:
        leaf.grad = None
    try:
        yield
    finally:
        for leaf, gradient in zip(leaves, held, strict=True):
            leaf.grad = gradient


def _add(leaves: Sequence[Tensor], gradients: Sequence[Tensor | None]) -> None:
    for leaf, gradient in zip(leaves, gradients, strict=True):
        if gradient is not None:
            leaf.grad = gradient if leaf.grad is None else leaf.grad + gradient


def gradient_of(leaf: Tensor) -> Tensor:
    """Return the leaf's gradient: zeros where no path leads from it to the loss."""
    return torch.zeros_like(leaf) if leaf.grad is None else leaf.grad
