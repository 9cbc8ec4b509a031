"""NASP against a naive implementation of the paper: full graph, plain loops, hand-written steps."""

from __future__ import annotations

import copy
import io
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn import functional as F

from nasp.complexity import Regulariser, parameter_counts
from nasp.strategies import NASP, Horizon, NASPConfig, Problem
from nasp.strategies.average import MeanGain
from nasp.strategies.nasp import PAPER
from nasp.supernet.choice import Choice, Node, Single
from nasp.supernet.leaves import Leaves
from nasp.supernet.path import Path
from nasp.supernet.supernet import Supernet
from nasp.supernet.zero import Zero
from nasp.training.learner import Learner
from nasp.training.task import Batch

Grid = list[list[float]]


@pytest.fixture(autouse=True)
def _double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


class Classification:
    def loss(self, network: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        x, y = batch
        output = network(x)
        accuracy = (output.argmax(dim=1) == y).double().mean()
        return F.cross_entropy(output, y), {"accuracy": accuracy}


def conv(kernel: int, affine: bool) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 3, kernel, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(3, affine=affine),
        nn.Tanh(),
    )


def operations() -> dict[str, nn.Module]:
    return {"three": conv(3, True), "one": conv(1, False), "skip": nn.Identity(), "none": Zero()}


class NaiveChoice(nn.Module):
    """y = sum_k a_k O_k(x) with all candidates in the graph, or one alone."""

    def __init__(self, candidates: Mapping[str, nn.Module], share: str | None = None) -> None:
        super().__init__()
        self.candidates = nn.ModuleDict(dict(candidates))
        self.share = share
        self.a: Tensor | None = None
        self.chosen: int | None = None

    def forward(self, x: Tensor) -> Tensor | float:
        everyone = list(self.candidates.values())
        if self.a is None:
            return 0.0 if self.chosen is None else everyone[self.chosen](x)
        return sum(self.a[k] * operation(x) for k, operation in enumerate(everyone))


class NaiveNode(nn.Module):
    def __init__(self, edges: list[Any], keep: int) -> None:
        super().__init__()
        self.edges = nn.ModuleList(edges)

    def forward(self, *inputs: Tensor) -> Tensor | float:
        return sum(edge(x) for edge, x in zip(self.edges, inputs, strict=True))


class Cell(nn.Module):
    def __init__(self, choice: Any, node: Any) -> None:
        super().__init__()
        self.node = node([choice(operations(), f"cell/{row}") for row in range(3)], 2)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.node(x, y, x + y) + x


class Net(nn.Module):
    """Two cells that share three rows, two of which survive, and a choice of its own."""

    def __init__(self, choice: Any, node: Any) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 3, 3, padding=1)
        self.first = Cell(choice, node)
        self.second = Cell(choice, node)
        self.last = choice({"wide": conv(5, True), "narrow": conv(1, True), "skip": nn.Identity()})
        self.head = nn.Linear(3, 4)

    def forward(self, x: Tensor) -> Tensor:
        s = self.stem(x)
        t = self.first(s, s.sin())
        u = self.second(t, s)
        return self.head((u + self.last(u)).mean(dim=(2, 3)))


def batch(seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(6, 1, 5, 5, generator=generator)
    return x, torch.randint(4, (6,), generator=generator)


LR, MOMENTUM, DECAY, CLIP = 0.05, 0.9, 3e-3, 0.6
EDGES = {"cell": 3, "last": 1}


def authors(**settings: Any) -> NASPConfig:
    """Return settings under which NASP is as published."""
    return NASPConfig(**{**PAPER, **settings})


def setting(
    config: NASPConfig, seed: int = 0, complexity: float = 0.0, **horizon: int
) -> tuple[Supernet, NASP]:
    torch.manual_seed(1)
    supernet = Supernet(Net(Choice, Node))
    return supernet, strategy(supernet, config, seed, complexity, **horizon)


def strategy(
    supernet: Supernet, config: NASPConfig, seed: int, complexity: float, **horizon: int
) -> NASP:
    learner = Learner(
        Fabric(accelerator="cpu", devices=1, precision="64-true"),
        supernet,
        Classification(),
        supernet.weights(),
        lambda weights: torch.optim.SGD(weights, LR, MOMENTUM, weight_decay=DECAY),
        clip=CLIP,
    )
    laid_out = Horizon(**({"epochs": 10, "steps_per_epoch": 2} | horizon))
    penalty = Regulariser(parameter_counts(supernet), complexity)
    return NASP(Problem(supernet, learner, laid_out, seed, penalty, penalty.prices()), config)


class Naive:
    """Algorithm 2, every line by hand; alphas are lists of floats."""

    def __init__(
        self, net: Net, alphas: dict[str, Grid], config: NASPConfig, complexity: float
    ) -> None:
        self.complexity = complexity
        self.net = net
        self.alphas = alphas
        self.config = config
        self.first = {n: [[0.0] * len(row) for row in a] for n, a in alphas.items()}
        self.second = copy.deepcopy(self.first)
        self.steps = 0
        self.velocity: dict[str, Tensor] = {}
        self.clipped_gradients: list[bool] = []
        self.clipped_alphas = 0
        edges: list[NaiveChoice] = [m for m in net.modules() if isinstance(m, NaiveChoice)]
        self.rows: dict[tuple[str, int], list[NaiveChoice]] = {("last", 0): [net.last]}
        for row in range(3):
            self.rows["cell", row] = [e for e in edges if e.share == f"cell/{row}"]
        self.path = self.prox_c1()

    def prox_c1(self) -> dict[tuple[str, int], int | None]:
        path: dict[tuple[str, int], int | None] = {}
        for name, grid in self.alphas.items():
            for row, entries in enumerate(grid):
                best = max(entries)
                assert entries.count(best) == 1, "a tie: choose other start values"
                path[name, row] = entries.index(best)
        strengths = [max(entries) for entries in self.alphas["cell"]]
        assert len(set(strengths)) == 3, "a tie: choose other start values"
        path["cell", strengths.index(min(strengths))] = None
        return path

    def alpha_gradients(self, data: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        leaves = {}
        for name, grid in self.alphas.items():
            one_hot = torch.zeros(len(grid), len(grid[0]))
            for row in range(len(grid)):
                chosen = self.path[name, row]
                if chosen is not None:
                    one_hot[row, chosen] = 1.0
            leaves[name] = one_hot.requires_grad_()
        for (name, row), edges in self.rows.items():
            for edge in edges:
                edge.a = leaves[name][row]
        objective = F.cross_entropy(self.net(data[0]), data[1])
        for (name, row), edges in self.rows.items():
            costs = [0] * len(self.alphas[name][row])
            for edge in edges:
                for k, operation in enumerate(edge.candidates.values()):
                    costs[k] += sum(p.numel() for p in operation.parameters())
            for k, cost in enumerate(costs):
                share = self.complexity * cost / sum(costs)
                objective = objective + share * leaves[name][row, k] ** 2
        gradients = torch.autograd.grad(objective, list(leaves.values()))
        return dict(zip(leaves, gradients, strict=True))

    def arch_step(self, data: tuple[Tensor, Tensor]) -> None:
        gradients = self.alpha_gradients(data)
        self.steps += 1
        c, (beta1, beta2) = self.config, self.config.betas
        for name, grid in self.alphas.items():
            for row, entries in enumerate(grid):
                for k, a in enumerate(entries):
                    g = float(gradients[name][row, k]) + c.weight_decay * a
                    if c.optimizer == "adam":
                        m = beta1 * self.first[name][row][k] + (1 - beta1) * g
                        v = beta2 * self.second[name][row][k] + (1 - beta2) * g * g
                        self.first[name][row][k], self.second[name][row][k] = m, v
                        v_hat = v / (1 - beta2**self.steps)
                        g = m / (1 - beta1**self.steps) / (math.sqrt(v_hat) + 1e-8)
                    moved = a - c.lr * g
                    self.clipped_alphas += not 0 <= moved <= 1
                    entries[k] = min(max(moved, 0.0), 1.0)
        self.path = self.prox_c1()

    def weight_step(self, data: tuple[Tensor, Tensor]) -> None:
        for place, edges in self.rows.items():
            for edge in edges:
                edge.a, edge.chosen = None, self.path[place]
        loss = F.cross_entropy(self.net(data[0]), data[1])
        weights = dict(self.net.named_parameters())
        found = torch.autograd.grad(loss, list(weights.values()), allow_unused=True)
        on_path = {n: g for n, g in zip(weights, found, strict=True) if g is not None}
        norm = math.sqrt(sum(float((g * g).sum()) for g in on_path.values()))
        self.clipped_gradients.append(norm > CLIP)
        factor = min(1.0, CLIP / (norm + 1e-6))
        with torch.no_grad():
            for name, gradient in on_path.items():
                step = factor * gradient + DECAY * weights[name]
                if name in self.velocity:
                    step = MOMENTUM * self.velocity[name] + step
                self.velocity[name] = step.clone()
                weights[name] -= LR * step


@pytest.mark.parametrize(
    ("config", "complexity"),
    [
        (authors(lr=0.08, betas=(0.6, 0.95), weight_decay=0.02), 0.3),
        (authors(lr=0.08), 0.0),
        (authors(optimizer="sgd", lr=1.0, weight_decay=0.02), 0.05),
    ],
    ids=["adam", "adam without complexity", "sgd"],
)
def test_twenty_iterations_of_the_naive_algorithm(config: NASPConfig, complexity: float) -> None:
    torch.manual_seed(1)
    supernet = Supernet(Net(Choice, Node))
    start = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for a in supernet.alphas.values():
            a.copy_(torch.rand(a.shape, generator=start))
    it = strategy(supernet, config, 0, complexity)
    net = Net(NaiveChoice, NaiveNode)
    net.load_state_dict(supernet.network.state_dict())
    naive = Naive(net, {n: a.tolist() for n, a in supernet.alphas.items()}, config, complexity)
    paths = set()
    for step in range(20):
        for act, data in (("arch_step", batch(2 * step)), ("weight_step", batch(2 * step + 1))):
            getattr(it, act)(data)
            getattr(naive, act)(data)
            places = [
                (t.name, row) for t in supernet.tables.values() for row in range(len(t.edges))
            ]
            chosen = dict(zip(places, it.path, strict=True))
            assert chosen == naive.path
            for name, a in supernet.alphas.items():
                expected = torch.tensor(naive.alphas[name])
                torch.testing.assert_close(a.detach(), expected, rtol=0, atol=1e-10)
            state = net.state_dict()
            for name, tensor in supernet.network.state_dict().items():
                torch.testing.assert_close(tensor, state[name], rtol=0, atol=1e-10, msg=name)
        paths.add(tuple(chosen.items()))
    # The run was no trivial one.
    assert len(paths) > 2
    assert naive.clipped_alphas
    assert set(naive.clipped_gradients) == {True, False}
    assert [len(edges) for edges in naive.rows.values()] == [1, 2, 2, 2]


def test_the_first_path_is_a_uniform_draw_of_the_seed() -> None:
    supernet, _ = setting(authors())
    firsts = [strategy(supernet, authors(), seed, 0.0).derive() for seed in range(300)]
    assert firsts[7] == strategy(supernet, authors(), 7, 0.0).derive()
    counts = Counter(first["last"] for first in firsts)
    assert set(counts) == {"wide", "narrow", "skip"}
    assert sum((n - 100) ** 2 / 100 for n in counts.values()) < 13.8  # p = 0.001 at 2 degrees
    assert all(sum(first[f"cell/{k}"] is not None for k in range(3)) == 2 for first in firsts)


def test_metrics_are_the_loss_and_the_tasks_own_without_the_penalty() -> None:
    supernet, it = setting(authors(), complexity=100.0)
    again = copy.deepcopy(supernet)
    again.single(it.path)
    x, y = batch(0)
    loss = F.cross_entropy(again(x), y)
    metrics = it.arch_step((x, y))
    assert metrics is not None
    assert set(metrics) == {"loss", "accuracy"}
    assert metrics["loss"] == pytest.approx(float(loss.detach()), abs=1e-12)
    assert set(it.weight_step((x, y))) == {"loss", "accuracy"}


def test_alphas_stay_in_c2_and_the_weights_rest_in_the_architecture_step() -> None:
    supernet, it = setting(authors(lr=3.0))
    before = [w.detach().clone() for w in supernet.weights()]
    for step in range(5):
        it.arch_step(batch(step))
        for a in supernet.alphas.values():
            assert ((a >= 0) & (a <= 1)).all()
    assert any(((a == 0) | (a == 1)).any() for a in supernet.alphas.values())
    assert all(torch.equal(w, old) for w, old in zip(supernet.weights(), before, strict=True))
    assert all(w.grad is None for w in supernet.weights())


def test_alphas_rest_in_the_weight_step() -> None:
    supernet, it = setting(authors())
    it.arch_step(batch(0))
    before = {n: a.detach().clone() for n, a in supernet.alphas.items()}
    it.weight_step(batch(1))
    assert all(torch.equal(a, before[n]) for n, a in supernet.alphas.items())


def test_neither_optimiser_holds_what_the_other_moves() -> None:
    supernet, it = setting(authors())

    def held(optimizer: torch.optim.Optimizer) -> set[int]:
        return {id(p) for group in optimizer.param_groups for p in group["params"]}

    assert held(it.optimizer) == {id(a) for a in supernet.alphas.values()}
    assert held(it.learner.optimizer) == {id(w) for w in supernet.network.parameters()}
    assert not held(it.optimizer) & held(it.learner.optimizer)


def test_a_weight_step_leaves_the_unchosen_operations_as_they_are() -> None:
    supernet, it = setting(authors(uniform=1.0))
    moved: Counter[bool] = Counter()
    for step in range(12):  # by and by every operation has a momentum that could move it
        before = {n: t.clone() for n, t in supernet.network.state_dict().items()}
        it.weight_step(batch(step))
        after = supernet.network.state_dict()
        for place, edge in supernet.network.named_modules():
            if not isinstance(edge, Choice):
                continue
            assert isinstance(edge.run, Single)
            for k, name in enumerate(edge.names):
                own = [n for n in after if n.startswith(f"{place}.candidates.{name}.")]
                same = all(torch.equal(after[n], before[n]) for n in own)
                if k != edge.run.candidate:
                    assert same
                elif own:
                    moved[not same] += 1
    assert moved[True] > 20
    assert not moved[False]


class StillLearner:
    """Takes no step; notes which path it would have been."""

    def __init__(self, supernet: Supernet) -> None:
        self.supernet = supernet
        self.paths: list[Path] = []

    def weight_step(self, _: Batch) -> dict[str, float]:
        runs = [choices[0].run for choices in self.supernet.choices()]
        self.paths.append(tuple(run.candidate for run in runs if isinstance(run, Single)))
        return {}


def weight_paths(steps: int, **settings: Any) -> tuple[NASP, list[Path]]:
    edges = [Choice({str(k): nn.Identity() for k in range(3)}) for _ in range(3)]
    supernet = Supernet(nn.Sequential(Node(edges[:2], 1), edges[2]))
    learner: Any = StillLearner(supernet)
    problem = Problem(supernet, learner, Horizon(2, steps), 5, Regulariser({}))
    it = NASP(problem, authors(**settings))
    for _ in range(steps):
        it.weight_step(None)
    return it, learner.paths


def assert_uniform(paths: list[Path]) -> None:
    counts = Counter(paths)
    expected = len(paths) / 18
    assert len(counts) == 18
    assert sum((n - expected) ** 2 / expected for n in counts.values()) < 40.8  # p = 0.001 at 17


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_a_share_of_weight_steps_trains_uniformly_drawn_paths(share: float) -> None:
    steps = 1800
    it, paths = weight_paths(steps, uniform=share)
    others = [path for path in paths if path != it.path]
    expected = share * 17 / 18  # a random path can be one's own
    spread = math.sqrt(expected * (1 - expected) / steps)
    assert len(others) / steps == pytest.approx(expected, abs=4 * spread)
    if share == 1.0:
        assert_uniform(paths)


def test_with_uniform_paths_every_candidate_is_trained_equally_often() -> None:
    steps = 1800
    _, paths = weight_paths(steps, uniform=1.0)
    for k in range(3):
        assert sum(path[2] == k for path in paths) == pytest.approx(600, abs=80)  # 4 sigma
        for edge in (0, 1):  # of a node that keeps one of the two
            assert sum(path[edge] == k for path in paths) == pytest.approx(300, abs=64)


def test_the_alphas_gradient_is_at_the_discrete_point_whatever_trains() -> None:
    """The first architecture step of a fair and of the authors' search are the same."""
    seen = []
    for uniform in (0.0, 1.0):
        supernet, it = setting(authors(uniform=uniform, lr=0.05))
        it.arch_step(batch(0))
        seen.append([a.detach().clone() for a in supernet.alphas.values()])
    assert all(torch.equal(one, other) for one, other in zip(*seen, strict=True))


def test_derive_is_the_discrete_point_of_the_last_iteration() -> None:
    supernet, it = setting(authors(uniform=1.0, lr=0.05))
    for step in range(4):
        it.arch_step(batch(step))
        it.weight_step(batch(step))
        found = it.derive()
        assert found == supernet.architecture(it.path)
        strengths = torch.cat([a.detach().amax(dim=1) for a in supernet.alphas.values()])
        for name, table in supernet.tables.items():
            for row, edge in enumerate(table.edges):
                entries = supernet.alphas[name][row]
                if found[edge] is not None:
                    assert entries[table.candidates.index(str(found[edge]))] == entries.max()
                else:
                    assert name == "cell"
                    assert entries.max() == strengths[:3].min()


@pytest.mark.parametrize("average", [0.0, 0.3, 1.0])
def test_resumed_it_goes_on_to_the_same_bits(average: float) -> None:
    config = authors(uniform=0.5, average=average, lr=0.05)
    supernet, it = setting(config, complexity=0.1, epochs=4, steps_per_epoch=2)

    def iterate(searcher: NASP, steps: range) -> list[Any]:
        seen: list[Any] = []
        for step in steps:
            seen.append(searcher.arch_step(batch(step)))
            seen.append(searcher.weight_step(batch(-step - 1)))
            seen.append(searcher.derive())
        return seen

    iterate(it, range(4))
    file = io.BytesIO()
    torch.save([supernet.state_dict(), it.state_dict(), it.learner.state_dict()], file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    # Plain numbers: they cannot stay behind on the device that a checkpoint was loaded to.
    assert saved[1]["path"] == list(it.path)
    other, resumed = setting(config, seed=99, complexity=0.1, epochs=4, steps_per_epoch=2)
    other.load_state_dict(saved[0])
    resumed.load_state_dict(saved[1])
    resumed.learner.load_state_dict(saved[2])
    assert iterate(it, range(4, 9)) == iterate(resumed, range(4, 9))
    for one, two in zip(supernet.state_dict().values(), other.state_dict().values(), strict=True):
        assert torch.equal(one, two)


@pytest.mark.parametrize(
    ("steps", "every", "expected"),
    [(25 * 390, 1, 3e-4), (4875, 1, 6e-4), (10, 1, 0.02), (25 * 390, 5, 1.5e-3)],
    ids=str,
)
def test_the_step_size_follows_from_how_many_there_are(
    steps: int, every: int, expected: float
) -> None:
    _, it = setting(NASPConfig(weight_steps=every), epochs=2, steps_per_epoch=steps)
    assert it.optimizer.param_groups[0]["lr"] == pytest.approx(expected)


def test_the_result_is_what_the_last_half_chose_most_often() -> None:
    supernet, it = setting(NASPConfig(lr=0.1, mean_of="points"), epochs=4, steps_per_epoch=10)
    assert it.derive() == supernet.architecture(it.path)  # before the first step
    paths = []
    for step in range(40):
        it.arch_step(batch(2 * step))
        it.weight_step(batch(2 * step + 1))
        paths.append(it.path)
    average = it.average
    assert average is not None
    counts = {n: torch.zeros_like(a.detach()) for n, a in supernet.alphas.items()}
    for path in paths[20:]:
        for name, point in supernet.one_hot(path).items():
            counts[name] += point
    for name, shares in average.shown().items():
        torch.testing.assert_close(shares, counts[name] / 20)
    # The lone edge holds what was there most often, and it did not stand still.
    last = [path[3] for path in paths[20:]]
    names = supernet.candidates[3]
    most = Counter(last).most_common()
    assert len(most) > 1
    assert it.derive()["last"] in {names[k] for k, n in most if n == most[0][1] and k is not None}


def test_the_result_takes_most_off_the_loss_by_the_exact_gradients_at_its_points() -> None:
    """Against gains from the gradients of the plain graph at each discrete point, and R there."""
    config = NASPConfig(lr=0.1)
    supernet, it = setting(config, complexity=0.3, epochs=4, steps_per_epoch=5)
    _, other = setting(NASPConfig(gradient="plain"), complexity=0.3)
    by_hand = MeanGain(supernet, 10, 1.0, it.problem.prices)
    for step in range(20):
        if step >= 10:
            other.supernet.load_state_dict(supernet.state_dict())
            leaves = Leaves(other.supernet.one_hot(it.path), other.supernet.device)
            other.supernet.mixture(leaves.tables, at=it.path)
            other.learner.gradients(batch(2 * step), leaves)
            by_hand.add_step(supernet.one_hot(it.path), leaves.gradients())
        it.arch_step(batch(2 * step))
        it.weight_step(batch(2 * step + 1))
    average = it.average
    assert isinstance(average, MeanGain)
    for name, gains in average.shown().items():
        torch.testing.assert_close(gains, by_hand.shown()[name], rtol=1e-9, atol=1e-10)
    assert it.derive() == supernet.architecture(supernet.discretise(average.shown()))


def test_without_an_average_the_result_is_the_last_argmax() -> None:
    supernet, it = setting(authors(uniform=1.0, lr=0.1))
    for step in range(5):
        it.arch_step(batch(step))
    assert it.average is None
    assert it.derive() == supernet.architecture(it.path)
