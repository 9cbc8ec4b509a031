"""GDAS against plain autograd, and what it runs."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor

from nasp.strategies import strategy_config


def redrawn(alphas: Tensor, temperature: float, generator: torch.Generator) -> Tensor:
    """Return the relaxed sample as the authors' code has it, drawn by the same numbers."""
    waits = torch.empty(alphas.shape, dtype=torch.float64).exponential_(generator=generator)
    return ((alphas.log_softmax(dim=1) - waits.log()) / temperature).softmax(dim=1)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_gradient_is_the_sampled_candidates_through_the_relaxed_sample(
    small: Any, seed: int
) -> None:
    it = small.make("gdas", temperature=2.0, seed=seed)
    small.spread()
    generator = torch.Generator()
    generator.set_state(it.generator.get_state())
    alphas = {n: a.detach().clone().requires_grad_() for n, a in small.supernet.alphas.items()}
    soft = {n: redrawn(a, 2.0, generator) for n, a in alphas.items()}
    hard = {n: (s == s.amax(dim=1, keepdim=True)).to(s.dtype) for n, s in soft.items()}
    leaves = {n: h.clone().requires_grad_() for n, h in hard.items()}
    objective = small.objective(leaves, small.batch(0))
    gradients = torch.autograd.grad(objective, list(leaves.values()))
    # h̃'s Jacobian, applied to ∂L/∂h_k of the sampled k alone
    onto = [g * hard[n] for g, n in zip(gradients, hard, strict=True)]
    expected = torch.autograd.grad(list(soft.values()), list(alphas.values()), onto)
    it.arch_step(small.batch(0))
    for found, gradient in zip(small.alpha_gradients().values(), expected, strict=True):
        torch.testing.assert_close(found, gradient, rtol=0, atol=1e-12)
    assert torch.cat([gradient.flatten() for gradient in expected]).abs().max() > 1e-3


def test_both_steps_run_one_candidate_an_edge_the_same_in_both_cells(small: Any) -> None:
    it = small.make("gdas")
    ran: list[tuple[int, int]] = []
    for row, choices in enumerate(small.supernet.choices()):
        for choice in choices:
            for k, operation in enumerate(choice.operations):
                operation.register_forward_hook(
                    lambda *_, row=row, k=k, choice=choice: ran.append((id(choice), row, k))
                )
    paths = set()
    for step in range(6):
        for act in (it.arch_step, it.weight_step):
            ran.clear()
            act(small.batch(step))
            assert len(ran) == 5  # two edges of two cells, and one alone
            assert len({choice for choice, *_ in ran}) == 5
            nodes = [{(row, k) for c, row, k in ran if c in cell} for cell in cells(small)]
            assert nodes[0] == nodes[1]
            paths.add(tuple(sorted((row, k) for _, row, k in ran)))
    assert len(paths) > 5  # each step draws anew


def cells(small: Any) -> list[set[int]]:
    return [{id(choice) for choice in cell.choices} for cell in small.supernet.network.cells]


def test_a_weight_step_moves_the_sampled_candidates_alone_down_the_loss(small: Any) -> None:
    it = small.make("gdas")
    before = small.snapshot()
    it.weight_step(small.batch(3))
    rows = torch.stack([choices[0].run.weights for choices in small.supernet.choices()])
    path = {"cell": rows[:2], "alone": rows[2:]}
    after = small.snapshot()
    small.supernet.network.load_state_dict(before, strict=False)
    weights = list(small.supernet.network.parameters())
    gradients = torch.autograd.grad(small.loss(path, small.batch(3)), weights)
    for (name, w), gradient in zip(before.items(), gradients, strict=True):
        torch.testing.assert_close(after[name], w - small.LR * gradient, rtol=0, atol=1e-12)
    moved = Counter(
        name.split(".candidates.")[1].split(".")[0]
        for name, w in before.items()
        if ".candidates." in name and not torch.equal(w, after[name])
    )
    assert moved.keys() <= {"wide", "conv"}


def test_the_temperature_falls_by_equal_steps_from_the_first_epoch_to_the_last(small: Any) -> None:
    it = small.make("gdas", epochs=4, steps=2)
    seen = []
    for step in range(8):
        seen.append(it.temperature)
        it.weight_step(small.batch(step))
    assert seen == pytest.approx([10, 10, 6.7, 6.7, 3.4, 3.4, 0.1, 0.1])


def test_paths_are_drawn_by_softmax_of_the_alphas(small: Any) -> None:
    it = small.make("gdas")
    small.spread()
    counts: Counter[int] = Counter()
    for _ in range(1000):
        weights, path = it.mixture()
        assert path[-1] == int(weights["alone"].argmax())
        counts[path[-1]] += 1
    expected = 1000 * small.supernet.alphas["alone"].detach().softmax(dim=1)[0]
    statistic = sum((counts[k] - float(e)) ** 2 / float(e) for k, e in enumerate(expected))
    assert statistic < 16.3  # p = 0.001, 3 degrees


def test_none_is_not_derived(small: Any) -> None:
    it = small.make("gdas")
    with torch.no_grad():
        small.supernet.alphas["cell"].copy_(torch.tensor([[0, 1, 0, 9.0], [0, 2, 0, 0]]))
        small.supernet.alphas["alone"].copy_(torch.tensor([[0, 0, 1, 9.0]]))
    assert dict(it.derive().edges) == {"cell/0": None, "cell/1": "conv", "alone": "skip"}


def test_the_defaults_are_the_authors() -> None:
    assert strategy_config("gdas", {}).model_dump() == {
        "lr": None,
        "betas": (0.5, 0.999),
        "weight_decay": 1e-3,
        "temperature": 10.0,
        "final_temperature": 0.1,
    }
