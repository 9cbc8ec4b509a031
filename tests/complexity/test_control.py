"""A search's complexity: penalty, feasible results, impossible bounds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nasp.complexity import Regulariser, parameter_count, parameter_counts
from nasp.complexity.config import ComplexityConfig
from nasp.complexity.control import Complexity, cheapest_of
from nasp.complexity.costs import Cost, flops, memory
from nasp.complexity.store import Store
from nasp.complexity.target import Target
from nasp.errors import NaspError, UsageError
from nasp.supernet.architecture import Architecture
from nasp.supernet.choice import Choice
from nasp.supernet.derive import derive
from nasp.supernet.supernet import Supernet

X = torch.randn(1, 1, 8, 8)


def made(
    supernet: Supernet, store: Path | None = None, own: Cost | None = None, **settings: Any
) -> Complexity:
    def target() -> Target:
        return Target("itself", supernet, lambda: supernet(X), lambda a: derive(supernet, a))

    config = ComplexityConfig(**settings)
    return Complexity(supernet, config, target, target, 10, Store(store), own)


def random_alphas(supernet: Supernet, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for a in supernet.alphas.values():
            a.copy_(torch.rand(a.shape, generator=generator))


def some_architecture(supernet: Supernet, seed: int) -> Architecture:
    return supernet.architecture(supernet.random_path(torch.Generator().manual_seed(seed)))


def strongest(supernet: Supernet) -> Architecture:
    return supernet.architecture(supernet.discretise(supernet.alphas))


def test_nothing_is_measured_where_nothing_is_asked_for(supernet: Supernet) -> None:
    def target() -> Target:
        raise AssertionError

    it = Complexity(supernet, ComplexityConfig(), target, target, 10, Store(None))
    assert float(it.penalty(supernet.alphas)) == 0
    architecture = strongest(supernet)
    assert it.is_feasible(architecture)
    assert it.settle(architecture) == architecture
    assert it.line(supernet.path(architecture)) == {}
    assert it.conclude(architecture, architecture) == []


def test_the_papers_penalty(supernet: Supernet) -> None:
    random_alphas(supernet, 0)
    expected = Regulariser(parameter_counts(supernet), 0.3)(supernet.alphas)
    found = made(supernet, complexity=0.3).penalty(supernet.alphas)
    torch.testing.assert_close(found, expected)
    other = made(supernet, complexity=0.3, cost="flops").penalty(supernet.alphas)
    assert not torch.allclose(found, other)


def test_terms_add_up(supernet: Supernet) -> None:
    random_alphas(supernet, 0)
    both = made(supernet, complexity=0.3, at_most={"params": 200, "flops": 3e4})
    parts = [
        made(supernet, complexity=0.3),
        made(supernet, at_most={"params": 200}),
        made(supernet, at_most={"flops": 3e4}),
    ]
    total = sum(float(part.penalty(supernet.alphas).detach()) for part in parts)
    assert float(both.penalty(supernet.alphas).detach()) == pytest.approx(total, rel=1e-5)
    assert set(both.line(supernet.path(strongest(supernet)))["costs"]) == {"parameters", "flops"}


@pytest.mark.parametrize(
    ("name", "measure"),
    [
        ("parameters", lambda network: parameter_count(network)),
        ("flops", lambda network: flops(network, X)),
        ("memory", lambda network: memory(network, X)),
    ],
)
def test_the_result_keeps_its_bound(supernet: Supernet, name: str, measure: Any) -> None:
    free = made(supernet, at_most={name: 1e12})
    repaired = 0
    for seed in range(6):
        random_alphas(supernet, seed)
        before = strongest(supernet)
        smallest = free.reached(cheapest_of(free.bounds[0].gauge, free.bounds[0].table))[0].reached
        paid = measure(derive(supernet, before))
        limit = smallest + 0.4 * (paid - smallest)
        it = made(supernet, at_most={name: max(limit, 1)})
        result = it.settle(before)
        assert measure(derive(supernet, result)) <= it.bounds[0].limit
        assert it.is_feasible(result)
        assert it.settle(result) == result
        remarks = it.conclude(before, result)
        assert bool(remarks) == (result != before)
        repaired += result != before
    assert repaired >= 4


def test_a_cost_that_does_not_add_up_is_kept_all_the_same(supernet: Supernet) -> None:
    def more_than_its_parts(operation: nn.Module, *_: Tensor) -> float:
        return float(parameter_count(operation)) ** 1.3

    for seed in range(4):
        random_alphas(supernet, seed)
        before = strongest(supernet)
        limit = 0.5 * more_than_its_parts(derive(supernet, before)) + 200
        it = made(supernet, own=more_than_its_parts, at_most={"own": limit})
        result = it.settle(before)
        assert more_than_its_parts(derive(supernet, result)) <= limit


def test_if_none_that_was_tried_keeps_it_that_is_said(supernet: Supernet) -> None:
    it = made(supernet, at_most={"params": 1000})
    it.bounds[0].limit = 10  # as if the measured costs had become larger since
    result = it.settle(strongest(supernet))
    assert not it.is_feasible(result)
    assert it.reached(result)[0].reached == min(
        parameter_count(derive(supernet, a)) for a in [result, strongest(supernet)]
    )
    assert any("could not be kept" in remark for remark in it.conclude(result, result))


@pytest.mark.parametrize(
    ("name", "measure"),
    [("parameters", parameter_count), ("flops", lambda network: flops(network, X))],
)
def test_a_target_is_met_from_both_sides(supernet: Supernet, name: str, measure: Any) -> None:
    changed = []
    for seed in range(3):
        random_alphas(supernet, seed)
        before = strongest(supernet)
        paid = measure(derive(supernet, before))
        others = [some_architecture(supernet, 10 * seed + k) for k in range(3)]
        for target in [paid, *(measure(derive(supernet, other)) for other in others)]:
            it = made(supernet, target={name: target}, within=0.02)
            result = it.settle(before)
            reached = measure(derive(supernet, result))
            assert 0.98 * target <= reached <= 1.02 * target
            assert it.reached(result)[0].is_met
            assert it.settle(result) == result
            assert bool(it.conclude(before, result)) == (result != before)
            if abs(target / paid - 1) <= 0.02:
                assert result == before
            else:
                changed.append(reached > paid)
    assert set(changed) == {False, True}


def test_a_target_of_a_cost_that_does_not_add_up_is_mostly_met(supernet: Supernet) -> None:
    def more_than_its_parts(operation: nn.Module, *_: Tensor) -> float:
        return float(parameter_count(operation)) ** 1.05

    met = 0
    for seed in range(3):
        random_alphas(supernet, seed)
        before = strongest(supernet)
        for other in range(3):
            network = derive(supernet, some_architecture(supernet, 10 * seed + other))
            target = more_than_its_parts(network)
            it = made(supernet, own=more_than_its_parts, target={"own": target}, within=0.15)
            result = it.settle(before)
            reached = more_than_its_parts(derive(supernet, result))
            is_met = abs(reached / target - 1) <= 0.15
            assert (
                any("could not be kept" in each for each in it.conclude(result, result)) != is_met
            )
            met += is_met
    assert met >= 7


def test_all_that_is_ranked_costs_what_it_should(supernet: Supernet) -> None:
    random_alphas(supernet, 0)
    it = made(supernet, target={"params": 300}, at_most={"flops": 4e4}, within="10%")
    ranked = it.ranked(supernet.alphas, 12)
    assert len(set(ranked)) == 12
    for each in ranked:
        assert 270 <= parameter_count(derive(supernet, each)) <= 330
        assert flops(derive(supernet, each), X) <= 4e4
        assert it.is_within(each)


def test_a_target_that_nothing_meets(supernet: Supernet) -> None:
    with pytest.raises(
        UsageError,
        match=r"costs 50 parameters within 5 %: the nearest possible is 55 \(itself\)",
    ):
        made(supernet, target={"params": 50})
    with pytest.raises(UsageError, match=r"within 0\.1 %: the nearest possible is 5\d "):
        made(supernet, target={"params": 56.5}, within=0.001)
    made(supernet, target={"params": 54})
    with pytest.raises(ValueError, match="parameters has a bound and a target"):
        ComplexityConfig(target={"params": 50}, at_most={"params": 60})


@pytest.mark.parametrize(
    ("text", "share"), [("5%", 0.05), ("0.03", 0.03), (0.2, 0.2), ("3 %", 0.03)]
)
def test_tolerances_are_read(text: Any, share: float) -> None:
    assert ComplexityConfig(within=text).within == pytest.approx(share)


@pytest.mark.parametrize("text", ["five", "%", "5", "0", "-3%", "100%"])
def test_tolerances_that_cannot_be(text: str) -> None:
    with pytest.raises(ValueError, match=r"no share|less than 1|greater than 0"):
        ComplexityConfig(within=text)


def test_a_bound_that_nothing_keeps(supernet: Supernet) -> None:
    smallest = 40 + 15  # the stem and the head
    with pytest.raises(
        UsageError, match=r"bound of 54 parameters: the smallest possible is 55 \(itself\)"
    ):
        made(supernet, at_most={"params": smallest - 1})
    made(supernet, at_most={"params": smallest})


def test_bounds_that_cannot_be_kept_together() -> None:
    class Wide(nn.Module):
        """Many parameters, few FLOPs."""

        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1000))

        def forward(self, x: Tensor) -> Tensor:
            return x * self.weight.mean()

    choice = Choice({"wide": Wide(), "conv": nn.Conv2d(1, 1, 3, padding=1)})
    supernet = Supernet(nn.Sequential(choice))
    made(supernet, at_most={"params": 100})
    made(supernet, at_most={"flops": 100})
    with pytest.raises(UsageError, match=r"all bounds \(parameters, FLOPs\) at once"):
        made(supernet, at_most={"params": 100, "flops": 100})


def test_a_run_that_goes_on_finds_what_was_measured(supernet: Supernet, tmp_path: Path) -> None:
    path = tmp_path / "costs.json"
    random_alphas(supernet, 0)
    first = made(supernet, path, complexity=0.1, cost="latency", at_most={"latency": "1s"})
    first.step(supernet.path(strongest(supernet)))
    reached = first.reached(strongest(supernet))
    again = made(supernet, path, complexity=0.1, cost="latency", at_most={"latency": "1s"})
    again.load_state_dict(first.state_dict())
    assert again.reached(strongest(supernet)) == reached
    assert reached[0].spread > 0
    one, two = first.penalty(supernet.alphas), again.penalty(supernet.alphas)
    assert torch.equal(one, two)
    path.write_text("{")
    with pytest.raises(NaspError, match="delete it to measure"):
        made(supernet, path)


@pytest.mark.parametrize(
    ("at_most", "expected"),
    [
        ("params=3.3M", {"parameters": 3.3e6}),
        (["params=1M", "latency=5ms"], {"parameters": 1e6, "latency": 5e-3}),
        ({"params": 100, "memory": "2MB"}, {"parameters": 100.0, "memory": 2e6}),
        ({}, {}),
    ],
)
def test_bounds_are_read(at_most: Any, expected: dict[str, float]) -> None:
    config = ComplexityConfig(at_most=at_most)
    assert config.at_most == pytest.approx(expected)
    assert ComplexityConfig(**config.model_dump(mode="json")) == config


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"at_most": "params"}, "A bound is NAME=AMOUNT"),
        ({"at_most": {"params": 0}}, "must be above 0"),
        ({"at_most": ["params=1M", "parameters=2M"]}, "two bounds on parameters"),
        ({"cost": "weight"}, "Unknown cost 'weight'"),
        ({"complexity": -1}, "greater than or equal"),
        ({"normalise": "cell"}, "Input should be 'edge' or 'network'"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ComplexityConfig(**settings)


def test_the_users_own_function_has_to_be_given(supernet: Supernet) -> None:
    with pytest.raises(UsageError, match="is a function"):
        made(supernet, cost="own", complexity=0.1)
