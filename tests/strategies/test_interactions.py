"""The affine fit of gradients: exact where F is quadratic, and nothing where nothing is known."""

from __future__ import annotations

import io
from itertools import product

import pytest
import torch
from torch import Tensor, nn

from nasp.strategies import interactions
from nasp.strategies.average import MeanGain
from nasp.strategies.interactions import Fit, Interactions
from nasp.supernet.choice import Choice, Node
from nasp.supernet.supernet import Alphas, Supernet

EDGES, CANDIDATES = 4, 3
SHAPE = {"cell": torch.zeros(EDGES, CANDIDATES)}
EVERY = list(product(range(CANDIDATES), repeat=EDGES))


def one_hot(path: tuple[int, ...]) -> Alphas:
    return {"cell": torch.eye(CANDIDATES, dtype=torch.float64)[list(path)]}


def quadratic(seed: int) -> tuple[Tensor, Tensor]:
    """Return b and H of a loss b x + x H x / 2 in which an edge does not meet itself."""
    generator = torch.Generator().manual_seed(seed)
    n = EDGES * CANDIDATES
    b = torch.randn(n, generator=generator, dtype=torch.float64)
    h = torch.randn(n, n, generator=generator, dtype=torch.float64)
    edges = torch.arange(EDGES).repeat_interleave(CANDIDATES)
    return b, (h + h.T) * (edges[:, None] != edges)


def gradients(seed: int, path: tuple[int, ...]) -> Alphas:
    b, h = quadratic(seed)
    x = one_hot(path)["cell"].flatten()
    return {"cell": (b + h @ x).reshape(EDGES, CANDIDATES)}


def met(seed: int, paths: list[tuple[int, ...]]) -> Interactions:
    sums = Interactions.nothing(EDGES * CANDIDATES)
    for path in paths:
        sums = sums.add(one_hot(path), gradients(seed, path))
    return sums


def gains(seed: int, paths: list[tuple[int, ...]]) -> Alphas:
    """Return minus the mean gradient of each candidate where it is not chosen."""
    found = torch.zeros(EDGES, CANDIDATES, dtype=torch.float64)
    for edge, k in product(range(EDGES), range(CANDIDATES)):
        others = [gradients(seed, path)["cell"][edge, k] for path in paths if path[edge] != k]
        found[edge, k] = -torch.stack(others).mean()
    return {"cell": found}


@pytest.mark.parametrize("seed", range(5))
def test_of_a_quadratic_loss_the_gradient_is_known_at_every_point(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interactions, "RIDGE", 1e-9)
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(len(EVERY), (60,), generator=generator).tolist()
    paths = [EVERY[index] for index in drawn]  # not each as often as every other
    fit = met(seed, paths).fit(gains(seed, paths))
    for path in EVERY:
        found = fit.alone + fit.slopes @ one_hot(path)["cell"].flatten()
        torch.testing.assert_close(found, -gradients(seed, path)["cell"].flatten())


@pytest.mark.parametrize("path", EVERY[::10])
def test_a_path_gains_what_the_fitted_gradient_does_on_the_way_to_it(path: tuple[int, ...]) -> None:
    fit = met(1, EVERY[::2]).fit(gains(1, EVERY[::2]))
    x = one_hot(path)["cell"].flatten()
    ways = (torch.arange(100, dtype=torch.float64) + 0.5) / 100
    integral = sum(float((fit.alone + fit.slopes @ (way * x)) @ x) for way in ways) / 100
    assert fit.gain(one_hot(path)) == pytest.approx(integral)


def test_where_one_candidate_helps_another_they_are_found_together() -> None:
    """Alone each of the two is worse than nothing, so the gains in the mean leave them out."""
    together = torch.zeros(12, 12, dtype=torch.float64)
    together[1, 4] = together[4, 1] = -6.0
    alone = torch.zeros(12, dtype=torch.float64)
    alone[1] = alone[4] = 2.2
    sums, at = Interactions.nothing(12), []
    for path in EVERY * 20:
        x = one_hot(path)["cell"].flatten()
        at.append((path, {"cell": (alone + together @ x).reshape(EDGES, CANDIDATES)}))
        sums = sums.add(one_hot(path), at[-1][1])
    mean = torch.stack([
        -torch.stack([g["cell"][e, k] for path, g in at if path[e] != k]).mean()
        for e, k in product(range(EDGES), range(CANDIDATES))
    ]).reshape(EDGES, CANDIDATES)  # fmt: skip
    fit = sums.fit({"cell": mean})
    assert max(mean[0, 1], mean[1, 1]) < 0
    best = max(EVERY, key=lambda path: fit.gain(one_hot(path)))
    assert best[:2] == (1, 1)


def test_scores_are_slopes_at_the_mean_point() -> None:
    """The gain is quadratic, so its slope along a line is a difference of gains."""
    paths = EVERY[::7]
    fit = met(3, paths).fit(gains(3, paths))
    scores = fit.scores()["cell"]
    mean = fit.mean.reshape(EDGES, CANDIDATES)
    step = 0.5
    slopes = torch.zeros(EDGES, CANDIDATES, dtype=torch.float64)
    for edge, k in product(range(EDGES), range(CANDIDATES)):
        there = [mean.clone(), mean.clone()]
        there[0][edge, k] -= step
        there[1][edge, k] += step
        less, more = (fit.gain({"cell": point}) for point in there)
        slopes[edge, k] = (more - less) / (2 * step)
    torch.testing.assert_close(scores, slopes / slopes.abs().max())


def test_a_few_steps_say_little_of_interactions() -> None:
    few, many = (met(1, paths).fit(SHAPE).slopes.norm() for paths in (EVERY[:5], EVERY * 20))
    assert 0 < few < 0.1 * many


def test_without_a_step_paths_gain_what_their_candidates_do() -> None:
    given = {"cell": torch.arange(12.0).reshape(EDGES, CANDIDATES)}
    fit = Interactions.nothing(12).fit(given)
    assert fit.gain(one_hot((0, 1, 2, 0))) == 0 + 4 + 8 + 9
    torch.testing.assert_close(fit.scores()["cell"], given["cell"].double() / 11)


def test_sums_of_two_stretches_are_those_of_both() -> None:
    apart = met(2, EVERY[:20]) + met(2, EVERY[20:50])
    whole = met(2, EVERY[:50])
    assert apart.steps == whole.steps == 50
    for name in ("pairs", "gradients", "beside"):
        torch.testing.assert_close(getattr(apart, name), getattr(whole, name))


def supernet(candidates: str = "abc") -> Supernet:
    """Return one with a node that keeps one of the edges 0 and 1, and edge 2."""
    edges = [Choice({n: nn.Identity() for n in candidates}) for _ in range(3)]
    return Supernet(nn.Sequential(Node(edges[:2], 1), edges[2]))


def averaged(net: Supernet, steps: range, average: MeanGain) -> MeanGain:
    for step in steps:
        generator = torch.Generator().manual_seed(step)
        path = net.random_path(generator)
        drawn = {n: torch.randn(a.shape, generator=generator) for n, a in net.alphas.items()}
        average.add_step(net.one_hot(path), drawn)
    return average


def same(first: Fit | None, second: Fit | None) -> bool:
    assert first is not None
    assert second is not None
    names = ("alone", "slopes", "mean")
    return all(torch.equal(getattr(first, n), getattr(second, n)) for n in names)


def test_an_average_fits_its_last_part_alone() -> None:
    net = supernet()
    half = averaged(net, range(20), MeanGain(net, 20, 0.5))
    alone = averaged(net, range(10, 20), MeanGain(net, 10, 1.0))
    one, other = half.fit(), alone.fit()
    assert one is not None
    assert other is not None
    torch.testing.assert_close(one.slopes, other.slopes)
    torch.testing.assert_close(one.alone, other.alone)


@pytest.mark.parametrize("cut", [0, 1, 9, 10, 11, 19])
def test_a_fit_goes_on_to_the_same_bits(cut: int) -> None:
    net = supernet()
    whole = averaged(net, range(20), MeanGain(net, 20, 0.5))
    file = io.BytesIO()
    torch.save(averaged(net, range(cut), MeanGain(net, 20, 0.5)).state_dict(), file)
    file.seek(0)
    resumed = MeanGain(net, 20, 0.5)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    assert same(averaged(net, range(cut, 20), resumed).fit(), whole.fit())


def test_a_step_that_overflowed_is_not_met() -> None:
    net = supernet()
    average = averaged(net, range(5), MeanGain(net, 6, 1.0))
    before = average.fit()
    average.add_step(net.one_hot((0, None, 1)), None)
    after = average.fit()
    assert before is not None
    assert after is not None
    assert torch.equal(before.slopes, after.slopes)


def test_without_a_step_or_with_too_many_candidates_there_is_no_fit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    net = supernet()
    assert MeanGain(net, 4, 0.5).fit() is None
    monkeypatch.setattr("nasp.strategies.average.MOST", 8)  # there are nine
    average = averaged(net, range(4), MeanGain(net, 4, 0.5))
    assert average.fit() is None
    assert average.state_dict()["together"][0]["pairs"].numel() == 0


def test_a_state_of_before_is_not_taken_up() -> None:
    net = supernet()
    state = MeanGain(net, 4, 0.5).state_dict()
    del state["together"]
    with pytest.raises(ValueError, match="of an earlier version"):
        MeanGain(net, 4, 0.5).load_state_dict(state)
