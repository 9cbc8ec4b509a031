"""Every strategy takes its steps on every space on a GPU, and repeats itself there."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from nasp.spaces import SPACES
from nasp.strategies import STRATEGIES
from nasp.strategies.nasp import PAPER
from nasp.supernet.architecture import Architecture

pytestmark = pytest.mark.cuda

Make = Callable[..., Any]
IMAGES = [name for name, space in SPACES.items() if space.data == "images"]
"""Those whose networks draw no masks: a GPU draws others than a CPU, and each type its own."""
GRADIENTS = ("probe", "probe-unfused", "plain")


@pytest.fixture
def no_tf32() -> Iterator[None]:
    """Let convolutions compute with all of float32's bits."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32 = before


def moving(strategy: str) -> dict[str, Any]:
    """Return settings with which it moves its alphas from the first step on."""
    if strategy == "nasp":
        return dict(PAPER)
    fields = STRATEGIES[strategy].config.model_fields
    short = {"warmup_epochs": 0, "samples": 3}
    return {name: value for name, value in short.items() if name in fields}


def assert_same(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name


def precisions() -> list[Any]:
    every = [
        (s, p) for p in ("32-true", "bf16-mixed") for s, r in STRATEGIES.items() if r.iterative
    ]
    every += [(s, "32-true") for s, r in STRATEGIES.items() if not r.iterative]
    return [*every, *((s, "16-mixed") for s in ("nasp", "darts", "gdas"))]


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize(("strategy", "precision"), precisions())
def test_steps(strategy: str, precision: str, space: str, make: Make) -> None:
    steps = make(space, strategy, precision, options=moving(strategy))
    before = steps.tensors()
    # The loss scale of 16 bits begins where gradients overflow, and those steps move nothing.
    count = 12 if precision == "16-mixed" else 2
    seen = steps.iterate(0, count, weights=STRATEGIES[strategy].iterative)
    assert isinstance(seen[-1], Architecture)
    figures = [figure for metrics in seen[:-1] if metrics for figure in metrics.values()]
    assert torch.tensor(figures, dtype=torch.float64).isfinite().all()
    after = steps.tensors()
    for name, tensor in after.items():
        assert tensor.isfinite().all(), name
    if STRATEGIES[strategy].iterative:
        moved = {name for name, tensor in after.items() if not torch.equal(tensor, before[name])}
        assert any(name.startswith("network.") for name in moved)
        if strategy != "random-sharing":
            assert any("alphas" in name for name in moved)


@pytest.mark.parametrize("strategy", [n for n, r in STRATEGIES.items() if r.iterative])
def test_resumed_steps_go_on_to_the_same_bits(strategy: str, make: Make) -> None:
    whole = make("nasbench201-3", strategy)
    whole.iterate(0, 3)
    resumed = make("nasbench201-3", strategy, seed=99)
    resumed.load(whole.saved())
    assert whole.iterate(3, 7) == resumed.iterate(3, 7)
    assert_same(whole.tensors(), resumed.tensors())


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("space", SPACES)
def test_the_same_seed_gives_the_same_bits(space: str, precision: str, make: Make) -> None:
    one, other = (make(space, "nasp", precision, options=dict(PAPER)) for _ in range(2))
    assert one.iterate(0, 4) == other.iterate(0, 4)
    assert_same(one.tensors(), other.tensors())


@pytest.mark.parametrize("strategy", [n for n, r in STRATEGIES.items() if r.iterative])
def test_a_step_waits_for_the_gpu_at_most_twice(strategy: str, device: str, make: Make) -> None:
    if device == "cpu":
        pytest.skip("CUDA counts its waits, a CPU does not")
    steps = make("nasbench201", strategy, options=moving(strategy))
    train, val = map(steps.learner.fabric.to_device, (steps.train, steps.val))
    for step, batch in ((steps.strategy.arch_step, val), (steps.strategy.weight_step, train)) * 4:
        waits = _waits(partial(step, batch))  # the first ones load kernels and capture
    assert len(waits) <= 2, waits
    waits = _waits(partial(steps.strategy.arch_step, val))
    assert len(waits) <= 2, waits


def _waits(step: Callable[[], object]) -> list[str]:
    """Return where in a step the host waited for the GPU."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            step()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    words = "called a synchronizing CUDA operation"
    return [f"{w.filename}:{w.lineno}" for w in caught if words in str(w.message)]


def gradients(steps: Any) -> dict[str, Tensor]:
    """Return what an A step leaves in the alphas' ``.grad``, in float64 on the CPU."""
    steps.iterate(0, 1, weights=False)
    found = steps.supernet.alphas.items()
    return {name: a.grad.detach().cpu().double() for name, a in found if a.grad is not None}


@pytest.mark.parametrize("space", SPACES)
def test_the_probe_equals_the_plain_graph(space: str, make: Make) -> None:
    options = [{**PAPER, "gradient": gradient} for gradient in GRADIENTS]
    fused, unfused, plain = (gradients(make(space, "nasp", "64-true", options=o)) for o in options)
    assert plain
    for name, expected in plain.items():
        torch.testing.assert_close(fused[name], expected, rtol=1e-7, atol=1e-10)
        torch.testing.assert_close(unfused[name], expected, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("space", IMAGES)
def test_the_probe_of_the_gpu_equals_that_of_the_cpu(space: str, make: Make) -> None:
    from .conftest import Steps

    steps = [make(space, "nasp", "64-true", options=dict(PAPER))]
    steps.append(Steps("cpu", space, "nasp", "64-true", options=dict(PAPER)))
    found, expected = map(gradients, steps)
    assert expected
    for name, gradient in expected.items():
        # The alphas, and so their gradients, are in float32.
        assert (found[name] - gradient).norm() <= 2e-5 * gradient.norm(), name


@pytest.mark.parametrize("space", SPACES)
def test_the_probe_equals_the_plain_graph_of_single_precision(
    space: str, make: Make, no_tf32: None
) -> None:
    found, plain = (
        gradients(make(space, "nasp", "32-true", options={**PAPER, "gradient": gradient}))
        for gradient in ("probe", "plain")
    )
    for name, expected in plain.items():
        assert (found[name] - expected).norm() <= 1e-3 * expected.norm(), name


@pytest.mark.parametrize("space", SPACES)
def test_the_probe_of_half_precision_is_as_near_to_the_truth_as_the_plain_graph(
    space: str, make: Make, no_tf32: None
) -> None:
    cases = (("probe", "bf16-mixed"), ("plain", "bf16-mixed"), ("plain", "32-true"))
    found, plain, true = (
        gradients(make(space, "nasp", precision, options={**PAPER, "gradient": gradient}))
        for gradient, precision in cases
    )
    for name, expected in true.items():
        error = (plain[name] - expected).norm()
        assert (found[name] - expected).norm() <= 2 * error + 0.05 * expected.norm(), name


@pytest.mark.parametrize("gradient", GRADIENTS)
@pytest.mark.parametrize("space", IMAGES)
def test_gradients_in_float32(space: str, gradient: str, make: Make, no_tf32: None) -> None:
    options = {**PAPER, "gradient": gradient}
    ours, others = (make(space, "nasp", p, options=options) for p in ("32-true", "64-true"))
    ours.strategy.path = others.strategy.path  # ties are broken by draws of the alphas' own type
    found, exact = gradients(ours), gradients(others)
    for name, expected in exact.items():
        assert (found[name] - expected).norm() <= 1e-3 * expected.norm(), name
