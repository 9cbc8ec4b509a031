"""Strategies without a search: what they draw, and how they score it."""

from __future__ import annotations

import copy
import itertools
import math
from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nasp.complexity import parameter_count
from nasp.strategies.random_search import draw
from nasp.strategies.scored_sampling import path_parameters
from nasp.strategies.synflow import synflow_score
from nasp.supernet.architecture import Architecture
from nasp.supernet.choice import Choice
from nasp.supernet.derive import derive
from nasp.supernet.supernet import Supernet
from nasp.supernet.zero import Zero


def every_architecture(supernet: Supernet) -> set[Architecture]:
    """Return all 32 architectures of the small supernet: one edge of two survives."""
    names = supernet.tables["alone"].candidates
    return {
        Architecture({"cell/0": first, "cell/1": second, "alone": alone})
        for alone in names
        for one in names
        for first, second in ((one, None), (None, one))
    }


def test_draws_are_distinct_and_end_with_the_space(small: Any) -> None:
    small.make("random")
    drawn = draw(small.supernet, 100, seed=0)
    assert len(drawn) == 32
    assert set(drawn) == every_architecture(small.supernet)
    assert draw(small.supernet, 5, seed=0) == drawn[:5]
    assert draw(small.supernet, 5, seed=1) != drawn[:5]


def test_draws_are_uniform(small: Any) -> None:
    small.make("random")
    first = Counter(draw(small.supernet, 1, seed)[0] for seed in range(640))
    assert len(first) == 32
    # Chi-square with 31 degrees of freedom: 61.1 is the 99.9 % quantile.
    assert sum((count - 20) ** 2 / 20 for count in first.values()) < 61.1


def test_random_looks_at_no_data(small: Any) -> None:
    it = small.make("random")
    before = small.supernet.state_dict()
    first = it.derive()
    assert it.arch_step(None) is None
    assert it.derive() == first == it.propose(3)[0]
    after = small.supernet.state_dict()
    assert all(torch.equal(before[name], tensor) for name, tensor in after.items())


def test_random_sharing_trains_uniformly_random_paths(small: Any) -> None:
    it = small.make("random-sharing")
    proposed = it.propose(6)
    seen: Counter[Architecture] = Counter()
    alphas = [a.detach().clone() for a in small.supernet.alphas.values()]
    for step in range(160):
        assert it.arch_step(small.batch(step)) is None
        it.learner.weight_step = lambda _: seen.update([running(small.supernet)]) or {}
        it.weight_step(small.batch(step))
    assert set(seen) == every_architecture(small.supernet)
    assert sum((count - 5) ** 2 / 5 for count in seen.values()) < 61.1
    assert it.propose(6) == proposed
    for a, before in zip(small.supernet.alphas.values(), alphas, strict=True):
        assert torch.equal(a, before)


def running(supernet: Supernet) -> Architecture:
    edges = {}
    rows = zip(supernet.edges, supernet.candidates, supernet.choices(), strict=True)
    for edge, names, choices in rows:
        (run,) = {choice.run for choice in choices}
        edges[edge] = None if run.candidate is None else names[run.candidate]
    return Architecture(edges)


def naive_synflow(supernet: Supernet, architecture: Architecture, shape: list[int]) -> float:
    """Return SynFlow of the derived plain network, by its definition."""
    plain = derive(supernet, architecture).double().eval()
    for module in list(plain.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.BatchNorm2d):
                setattr(module, name, nn.Identity())
    weights = list(plain.parameters())
    with torch.no_grad():
        for weight in weights:
            weight.abs_()
    plain(torch.ones(shape, dtype=torch.float64)).sum().backward()
    return sum(float((w.detach() * w.grad).sum()) for w in weights if w.grad is not None)


def test_synflow_is_that_of_the_derived_network(small: Any) -> None:
    it = small.make("synflow", samples=100)
    before = copy.deepcopy(small.supernet.state_dict())
    score = synflow_score(small.supernet, small.learner.task, small.batch(0))
    for architecture in every_architecture(small.supernet):
        expected = naive_synflow(small.supernet, architecture, [1, 1, 5, 5])
        assert expected > 0
        assert score(architecture) == pytest.approx(math.log(expected), rel=1e-12)
    metrics = it.arch_step(small.batch(1))
    scores = [naive_synflow(small.supernet, a, [1, 1, 5, 5]) for a in it.propose(32)]
    assert scores == sorted(scores, reverse=True)
    assert metrics == {"score": pytest.approx(math.log(scores[0]))}
    assert it.derive() == it.propose(1)[0]
    after = small.supernet.state_dict()
    assert all(torch.equal(before[name], tensor) for name, tensor in after.items())


def test_synflow_is_the_same_for_any_data_of_one_shape(small: Any) -> None:
    it, other = small.make("synflow"), small.make("synflow")
    it.arch_step(small.batch(0))
    other.arch_step(small.batch(1))
    assert it.propose(40) == other.propose(40)


def test_synflow_of_what_is_cut_off_is_the_lowest() -> None:
    class Task:
        def loss(self, network: nn.Module, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
            return network(batch["tokens"]).sum(), {}

    edge = Choice({"none": Zero(), "linear": nn.Linear(3, 3)})
    supernet = Supernet(nn.Sequential(nn.Embedding(5, 3), edge))
    score = synflow_score(supernet, Task(), {"tokens": torch.tensor([[1, 2], [3, 4]])})
    assert score(Architecture({"1": "none"})) == -math.inf
    table = supernet.network[0].weight.double().abs()[[1, 2]]
    linear = supernet.network[1].candidates["linear"]
    weight, bias = linear.weight.double().abs(), linear.bias.double().abs()
    # R = Σ (W e + b) over two tokens: its first term counts for W and for the embedding e.
    through = float((table @ weight.T).sum())
    expected = 2 * through + 2 * float(bias.sum())
    assert score(Architecture({"1": "linear"})) == pytest.approx(math.log(expected), rel=1e-12)


def test_params_finds_the_largest_of_all(small: Any) -> None:
    it = small.make("params", samples=40)
    metrics = it.arch_step(None)
    sizes = {
        architecture: parameter_count(derive(small.supernet, architecture))
        for architecture in every_architecture(small.supernet)
    }
    ranked = [sizes[architecture] for architecture in it.propose(40)]
    assert ranked == sorted(sizes.values(), reverse=True)
    assert metrics == {"score": max(sizes.values())}
    # Without any luck in the draw the largest is still there.
    for seed in range(5):
        one = small.make("params", samples=1, seed=seed)
        one.arch_step(None)
        assert sizes[one.derive()] == max(sizes.values())


def test_params_counts_an_inner_choice_only_where_it_is_on() -> None:
    inner = Choice({"big": nn.Linear(4, 4), "skip": nn.Identity()})
    net = nn.Sequential(Choice({"outer": nn.Sequential(inner), "small": nn.Linear(4, 4, False)}))
    supernet = Supernet(net)
    for outer, choice in itertools.product(("outer", "small"), ("big", "skip")):
        architecture = Architecture({"0": outer, "0.candidates.outer.0": choice})
        supernet.single(supernet.path(architecture))
        found = sum(p.numel() for p in path_parameters(supernet.network))
        assert found == parameter_count(derive(supernet, architecture))
