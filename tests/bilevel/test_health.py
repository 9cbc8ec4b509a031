"""The figures of a search's health, by hand-made cases."""

from __future__ import annotations

import io
from typing import Any

import pytest
import torch
from torch import nn

import nasp
from nasp.bilevel.health import COLLAPSED, Health, HealthMonitor
from nasp.supernet.architecture import Architecture
from nasp.supernet.supernet import Supernet


def four_edges() -> Supernet:
    """Return a supernet with the edges t/0 to t/3 over conv (with parameters), pool, skip."""

    def edge(row: int) -> nasp.Choice:
        candidates = {"conv": nn.Linear(2, 2), "pool": nn.Tanh(), "skip": nn.Identity()}
        return nasp.Choice(candidates, share=f"t/{row}")

    return Supernet(nn.Sequential(*(edge(row) for row in range(4))))


def made(*names: str | None) -> Architecture:
    return Architecture({f"t/{row}": name for row, name in enumerate(names)})


def health(**values: Any) -> Health:
    figures: dict[str, Any] = {
        "changed_edges": 0,
        "edges": 4,
        "flips_per_step": 0.0,
        "margin_mean": 0.1,
        "margin_min": 0.1,
        "agreement": None,
        "size_tau": None,
        "knows": None,
        "shares": {"conv": 1.0},
        "parameterless": 0.0,
        "free": (),
    }
    return Health(**{**figures, **values})


def test_changes_within_an_epoch_and_over_it() -> None:
    monitor = HealthMonitor(four_edges(), made("conv", "conv", "conv", "conv"))
    assert monitor.step(made("skip", "conv", "conv", "pool")) == 2
    assert monitor.step(made("skip", "conv", "conv", "conv")) == 1
    assert monitor.step(made("skip", "conv", "conv", "conv")) == 0
    assert monitor.step(made("conv", "skip", "skip", "conv")) == 3
    first = monitor.end_epoch()
    assert (first.changed_edges, first.flips_per_step, first.edges) == (2, 1.5, 4)
    # The next epoch counts from where the last one ended.
    assert monitor.step(made("conv", "skip", "skip", "pool")) == 1
    assert monitor.step(made("conv", "skip", "skip", "conv")) == 1
    second = monitor.end_epoch()
    assert (second.changed_edges, second.flips_per_step) == (0, 1.0)


def test_margins() -> None:
    supernet = four_edges()
    with torch.no_grad():
        supernet.alphas["t"].copy_(
            torch.tensor([[0.9, 0.5, 0.1], [0.2, 0.2, 0.1], [0.0, 0.3, 1.0], [0.1, 0.6, 0.5]])
        )
    figures = HealthMonitor(supernet, made("conv", "pool", "skip", "pool")).end_epoch()
    assert figures.margin_min == 0.0
    assert figures.margin_mean == pytest.approx((0.4 + 0.0 + 0.7 + 0.1) / 4)


def test_edges_that_are_off_have_no_margin() -> None:
    supernet = four_edges()
    with torch.no_grad():
        supernet.alphas["t"].copy_(torch.tensor([[0.9, 0.5, 0.1]] + 3 * [[0.5, 0.5, 0.5]]))
    figures = HealthMonitor(supernet, made("conv", None, None, None)).end_epoch()
    assert figures.margin_mean == figures.margin_min == pytest.approx(0.4)
    assert figures.tie_warning() is None


def test_an_edge_with_one_candidate_is_decided() -> None:
    supernet = Supernet(nasp.Choice({"only": nn.Identity()}))
    figures = HealthMonitor(supernet, Architecture({"network": "only"})).end_epoch()
    assert (figures.margin_mean, figures.margin_min) == (1.0, 1.0)


def test_shares_are_of_the_surviving_edges() -> None:
    monitor = HealthMonitor(four_edges(), made("conv", "skip", None, "skip"))
    figures = monitor.end_epoch()
    assert figures.shares == {"conv": pytest.approx(1 / 3), "skip": pytest.approx(2 / 3)}
    assert figures.parameterless == pytest.approx(2 / 3)
    assert figures.free == ("skip",)
    assert figures.edges == 4


@pytest.mark.parametrize(
    ("names", "parameterless", "warns"),
    [
        (("conv", "conv", "conv", "conv"), 0.0, False),
        (("conv", "conv", "skip", "pool"), 0.5, False),
        (("conv", "skip", "skip", "pool"), 0.75, True),
        (("skip", "skip", "skip", "pool"), 1.0, True),
    ],
)
def test_collapse(names: tuple[str, ...], parameterless: float, warns: bool) -> None:
    figures = HealthMonitor(four_edges(), made(*names)).end_epoch()
    assert figures.parameterless == parameterless
    warning = figures.collapse_warning()
    assert (warning is not None) == warns
    if warning is not None:
        assert f"{parameterless:.0%} of its edges" in warning
        assert "(mostly skip, pool)" in warning


def test_collapse_names_operations_without_parameters_alone() -> None:
    figures = HealthMonitor(four_edges(), made("conv", "skip", "skip", "skip")).end_epoch()
    warning = figures.collapse_warning()
    assert warning is not None
    assert "(mostly skip)" in warning
    assert "conv" not in warning


def test_collapse_begins_at_its_threshold() -> None:
    assert health(parameterless=COLLAPSED - 1e-9).collapse_warning() is None
    advised = health(parameterless=COLLAPSED).collapse_warning()
    assert advised is not None
    assert "--target" in advised
    # Whoever has a target already is not told to set one.
    bounded = health(parameterless=COLLAPSED).collapse_warning(is_bounded=True)
    assert bounded is not None
    assert bounded.endswith("search longer.")


@pytest.mark.parametrize(
    ("changed", "flips", "warns"), [(0, 0.0, False), (1, 0.0, True), (0, 0.5, True), (2, 1.5, True)]
)
def test_unsettled(changed: int, flips: float, warns: bool) -> None:
    warning = health(changed_edges=changed, flips_per_step=flips).unsettled_warning()
    assert (warning is not None) == warns
    if warning is not None:
        assert f"{changed} of 4 edges changed" in warning
        assert f"{flips:.1f} a step" in warning


def test_a_monitor_goes_on_in_the_midst_of_an_epoch() -> None:
    supernet = four_edges()
    monitor = HealthMonitor(supernet, made("conv", "conv", "conv", "conv"))
    monitor.step(made("skip", "conv", "conv", "conv"))
    stream = io.BytesIO()
    torch.save(monitor.state_dict(), stream)
    stream.seek(0)
    again = HealthMonitor(supernet, made("pool", "pool", "pool", None))
    again.load_state_dict(torch.load(stream, weights_only=True))
    for one in (monitor, again):
        one.step(made("skip", "skip", "conv", "pool"))
    assert monitor.end_epoch() == again.end_epoch()


def test_shared_rows_with_and_without_parameters() -> None:
    # A candidate has parameters if it has some in any of the places that share its row.
    places = [
        nasp.Choice({"skip": skip, "conv": nn.Linear(2, 2)}, share="t/0")
        for skip in (nn.Identity(), nn.Linear(2, 2))
    ]
    figures = HealthMonitor(Supernet(nn.Sequential(*places)), made("skip")).end_epoch()
    assert figures.parameterless == 0.0


@pytest.mark.parametrize(("margin", "warns"), [(0.0, True), (1e-6, False)])
def test_a_tie_is_said(margin: float, warns: bool) -> None:
    warning = health(margin_min=margin).tie_warning()
    assert (warning is not None) == warns
    assert warning is None or "chance" in warning


def test_a_margin_is_between_candidates_that_can_survive() -> None:
    candidates = {name: nn.Linear(1, 1) for name in "abc"}
    supernet = Supernet(nasp.Choice(candidates, search_only=["b"]))
    with torch.no_grad():
        supernet.alphas["network"].copy_(torch.tensor([[0.75, 0.75, 0.25]]))
    architecture = supernet.architecture(supernet.discretise(supernet.alphas))
    assert HealthMonitor(supernet, architecture).end_epoch().margin_min == 0.5


def test_a_search_that_changed_nothing_says_so() -> None:
    monitor = HealthMonitor(four_edges(), made("conv", "skip", "skip", "skip"))
    monitor.step(made("conv", "skip", "skip", "skip"))
    monitor.end_epoch()
    assert "has changed nothing" in str(monitor.stillness_warning())
    monitor.step(made("conv", "conv", "skip", "skip"))
    monitor.step(made("conv", "skip", "skip", "skip"))  # back again: it did move
    monitor.end_epoch()
    assert monitor.stillness_warning() is None
    resumed = HealthMonitor(four_edges(), made("conv", "skip", "skip", "skip"))
    resumed.load_state_dict(monitor.state_dict())
    assert resumed.stillness_warning() is None


def test_a_search_that_does_not_know_says_why_and_what_decides() -> None:
    assert health(knows=None).ignorance_warning() is None
    assert health(knows=True).ignorance_warning() is None
    unlike = health(agreement=0.49, size_tau=0.9, knows=False).ignorance_warning()
    assert unlike is not None
    assert "correlation 0.49" in unlike
    assert "--select train" in unlike
    assert "--fallback largest" in unlike
    early = health(agreement=0.9, size_tau=0.1, knows=False).ignorance_warning("largest")
    assert early is not None
    assert "tau 0.10 with the number of parameters" in early
    assert "the largest network it may find decides" in early
    trained = health(agreement=0.9, size_tau=0.1, knows=False).ignorance_warning("train")
    assert "short trainings decide between what it found and larger networks" in str(trained)
