"""What is averaged: known visits and gains, exact windows, and what is made of them."""

from __future__ import annotations

import io
import math
import random
from fractions import Fraction
from itertools import product

import pytest
import torch
from torch import nn

from nasp.strategies.average import MeanGain, MeanPoint
from nasp.supernet.choice import Choice, Node
from nasp.supernet.path import Path
from nasp.supernet.supernet import Alphas, Supernet


def supernet() -> Supernet:
    """Return one with a node that keeps one of the edges 0 and 1, and edge 2; a, b, c on each."""
    edges = [Choice({n: nn.Identity() for n in "abc"}) for _ in range(3)]
    return Supernet(nn.Sequential(Node(edges[:2], 1), edges[2]))


def counted(net: Supernet, paths: list[Path], share: float, steps: int) -> MeanPoint:
    average = MeanPoint(net, steps, share)
    for path in paths:
        average.add_step(net.one_hot(path))
    return average


def rows(average: MeanPoint) -> list[list[float]]:
    return [row.tolist() for table in average.shown().values() for row in table]


def some_paths(net: Supernet, count: int, seed: int = 0) -> list[Path]:
    generator = torch.Generator().manual_seed(seed)
    return [net.random_path(generator) for _ in range(count)]


def test_an_edge_with_known_visits() -> None:
    net = supernet()
    paths: list[Path] = [(0, None, 2)] * 4 + [
        (1, None, 2),
        (None, 0, 1),
        (1, None, 0),
        (1, None, 2),
    ]
    average = counted(net, paths, 0.5, 8)
    assert average.counted == 4
    assert rows(average) == [[0, 0.75, 0], [0.25, 0, 0], [0.25, 0.25, 0.5]]
    scores = [row.tolist() for table in average.scores().values() for row in table]
    for row, visits, off in zip(scores, [(0, 3, 0), (1, 0, 0), (1, 1, 2)], [1, 3, 0], strict=True):
        expected = [math.log((n + 0.5) / (off + 0.5)) for n in visits]
        assert row == pytest.approx(expected)
    assert net.discretise(average.scores()) == (1, None, 2)


def test_a_node_keeps_the_edge_that_was_kept_more_often_though_its_candidates_took_turns() -> None:
    net = supernet()
    paths: list[Path] = [(k % 3, None, 0) for k in range(7)] + [(None, 1, 0)] * 3
    path = net.discretise(counted(net, paths, 1.0, 10).scores())
    assert path[1] is None


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 50, 131])
@pytest.mark.parametrize("share", [0.01, 0.25, 0.5, 0.9, 1.0])
def test_the_window_is_exact_at_the_end_and_never_shorter_than_its_share(
    steps: int, share: float
) -> None:
    net = supernet()
    paths = some_paths(net, steps)
    average = MeanPoint(net, steps, share)
    for done, path in enumerate(paths, 1):
        average.add_step(net.one_hot(path))
        assert 1 <= average.counted <= done
        assert average.counted >= math.floor(share * done)
        expected = counted(net, paths[done - average.counted : done], 1.0, average.counted)
        assert rows(average) == rows(expected)
    assert average.counted == max(1, steps - int(steps * (1 - share)))


def test_before_the_first_step_nothing_was_visited() -> None:
    assert rows(MeanPoint(supernet(), 10, 0.5)) == [[0.0] * 3] * 3


@pytest.mark.parametrize("cut", [0, 1, 12, 13, 24, 25, 49])
def test_it_goes_on_to_the_same_bits(cut: int) -> None:
    net = supernet()
    paths = some_paths(net, 50, seed=3)
    whole, first = (counted(net, some, 0.5, 50) for some in (paths, paths[:cut]))
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    for path in paths[cut:]:
        first.add_step(net.one_hot(path))  # what was saved does not move with it
    file.seek(0)
    resumed = MeanPoint(net, 50, 0.5)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    for path in paths[cut:]:
        resumed.add_step(net.one_hot(path))
    for other in (first, resumed):
        assert all(torch.equal(a, other.scores()[n]) for n, a in whole.scores().items())


@pytest.mark.parametrize("seed", range(20))
def test_the_average_as_a_point_is_the_likeliest_path(seed: int) -> None:
    """Brute force, with exact fractions: every path's likelihood, node by node, edge by edge."""
    net = supernet()
    steps = random.Random(seed).randint(1, 30)
    average = counted(net, some_paths(net, steps, seed), 1.0, steps)
    visits = [[round(share * steps) for share in row] for row in rows(average)]
    half = Fraction(1, 2)

    def likelihood(path: Path) -> Fraction:
        likely = Fraction(1)
        for row, k in zip(visits, path, strict=True):
            likely *= (steps - sum(row) if k is None else row[k]) + half
        return likely

    ks: list[int | None] = [0, 1, 2]
    everything = [(k, None, j) for k, j in product(ks, ks)] + [
        (None, k, j) for k, j in product(ks, ks)
    ]
    found = net.discretise(average.scores(), torch.Generator().manual_seed(seed))
    assert likelihood(found) == max(map(likelihood, everything))


@pytest.mark.parametrize("state", ["points", "earlier"])
def test_the_sums_of_another_average_are_not_taken_up(state: str) -> None:
    net = supernet()
    of_points = counted(net, some_paths(net, 4), 0.5, 8).state_dict()
    if state == "earlier":  # before there were two
        del of_points["of"]
    with pytest.raises(ValueError, match="is not of gains"):
        MeanGain(net, 8, 0.5).load_state_dict(of_points)


@pytest.mark.parametrize(
    ("steps", "parts"),
    [
        (16, (slice(8, 12), slice(12, 16))),
        (11, (slice(4, 6), slice(6, 8))),  # the stretch from 8 on is shorter than that before it
        (12, (slice(4, 8), slice(8, 12))),
        (14, (slice(4, 8), slice(8, 14))),
    ],
)
def test_agreement_is_the_correlation_of_the_halves_scores_over_all_paths(
    steps: int, parts: tuple[slice, slice]
) -> None:
    net = Supernet(nn.Sequential(*(Choice({n: nn.Identity() for n in "abc"}) for _ in range(2))))
    paths = some_paths(net, 16, seed=3)
    average = counted(net, paths[:steps], 0.5, 16)
    halves = [counted(net, part, 1.0, len(part)).scores() for part in (paths[p] for p in parts)]
    sums = [
        [
            math.fsum(row[k] for row, k in zip(torch.cat([*scores.values()]), path, strict=True))
            for path in product(range(3), repeat=2)
        ]
        for scores in halves
    ]
    expected = torch.corrcoef(torch.tensor(sums, dtype=torch.float64))[0, 1]
    assert average.agreement() == pytest.approx(float(expected))


def test_agreement_of_a_search_that_knows_of_one_that_turns_and_of_one_that_just_began() -> None:
    net = supernet()
    one: Path = (0, None, 2)
    other: Path = (None, 1, 0)
    assert counted(net, [one] * 8, 0.5, 8).agreement() == pytest.approx(1.0)
    turned = counted(net, [one] * 6 + [other] * 2, 0.5, 8).agreement()
    assert turned is not None
    assert turned < 0
    assert counted(net, [one], 0.5, 8).agreement() is None


def drawn(net: Supernet, seed: int) -> Alphas:
    generator = torch.Generator().manual_seed(seed)
    return {n: torch.randn(a.shape, generator=generator) for n, a in net.alphas.items()}


def mean_gain(net: Supernet, paths: list[Path], prices: Alphas | None = None) -> MeanGain:
    average = MeanGain(net, len(paths), 0.5, prices)
    for step, path in enumerate(paths):
        average.add_step(net.one_hot(path), drawn(net, step))
    return average


def by_hand(net: Supernet, paths: list[Path], steps: range) -> list[list[float]]:
    """Return the gains, each edge and candidate by itself, from what steps had there."""
    gradients = {step: torch.cat([*drawn(net, step).values()]).tolist() for step in steps}
    rows = []
    for edge in range(len(paths[0])):
        of_on = {
            step: 0.0 if (on := paths[step][edge]) is None else gradients[step][edge][on]
            for step in steps
        }
        over_nothing = -sum(of_on.values()) / len(steps)
        row = []
        for k in range(3):
            others = [step for step in steps if paths[step][edge] != k]
            changes = [gradients[step][edge][k] - of_on[step] for step in others]
            row.append(over_nothing - sum(changes) / max(len(others), 1))
        rows.append(row)
    return rows


@pytest.mark.parametrize("seed", range(10))
def test_a_gain_is_the_mean_of_what_replacing_the_chosen_one_takes_off_the_loss(seed: int) -> None:
    net = supernet()
    paths = some_paths(net, 12, seed)
    expected = torch.tensor(by_hand(net, paths, range(6, 12)), dtype=torch.float64)
    gains = mean_gain(net, paths).shown()
    torch.testing.assert_close(torch.cat([*gains.values()]), expected, rtol=1e-6, atol=1e-6)
    prices = {name: value.abs() for name, value in drawn(net, 99).items()}
    for name, priced in mean_gain(net, paths, prices).shown().items():
        torch.testing.assert_close(priced, gains[name] - prices[name])


def test_scores_are_gains_in_units_of_the_largest() -> None:
    net = supernet()
    average = mean_gain(net, some_paths(net, 12))
    ratios = [average.scores()[n] / gains for n, gains in average.shown().items()]
    assert all(torch.allclose(ratio, ratios[0].flatten()[0]) for ratio in ratios)
    assert max(float(each.abs().max()) for each in average.scores().values()) == pytest.approx(1)


def test_a_candidate_that_is_always_on_and_never_better_replaced_is_kept() -> None:
    net = supernet()
    average = MeanGain(net, 4, 1.0)
    point = net.one_hot((0, None, 2))
    for _ in range(4):
        # What is on has the least gradient of its edge, though it is above 0.
        average.add_step(point, {n: 2.0 - on for n, on in point.items()})
    assert net.discretise(average.scores())[2] == 2
    last = torch.cat([*average.shown().values()])[2]
    assert last.tolist() == [-2.0, -2.0, -1.0]


def test_a_step_that_overflowed_says_nothing() -> None:
    net = supernet()
    paths = some_paths(net, 2)
    average = MeanGain(net, 3, 1.0)
    average.add_step(net.one_hot(paths[0]), drawn(net, 0))
    average.add_step(net.one_hot(paths[1]), None)
    assert average.counted == 2
    instead = torch.cat([*average.shown().values()])
    single = MeanGain(net, 1, 1.0)
    single.add_step(net.one_hot(paths[0]), drawn(net, 0))
    of_one = torch.cat([*single.shown().values()])
    lone = instead[2] - instead[2].max(), of_one[2] - of_one[2].max()
    torch.testing.assert_close(*lone)


def test_halves_of_gains_agree_as_their_gains_do() -> None:
    net = Supernet(nn.Sequential(*(Choice({n: nn.Identity() for n in "abc"}) for _ in range(2))))
    paths = some_paths(net, 8, seed=3)
    halves = []
    for steps in (range(4, 6), range(6, 8)):
        gains = torch.tensor(by_hand(net, paths, steps), dtype=torch.float64)
        halves.append((gains - gains.mean(1, keepdim=True)).flatten())
    expected = torch.nn.functional.cosine_similarity(*halves, dim=0)
    assert mean_gain(net, paths).agreement() == pytest.approx(float(expected), abs=1e-6)


def test_before_the_first_step_nothing_is_gained() -> None:
    average = MeanGain(supernet(), 4, 0.5)
    assert all((gains == 0).all() for gains in average.shown().values())
    assert all((scores == 0).all() for scores in average.scores().values())
    assert average.agreement() is None
