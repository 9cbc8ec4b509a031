"""Where an architecture stands in its space."""

from __future__ import annotations

import json
import sys

import pytest

from nasp.cli import main
from nasp.complexity import parameter_count
from nasp.complexity.among_random import among_random
from nasp.domains import find_domain
from nasp.spaces import LanguageConfig, NetworkConfig, find_space
from nasp.spaces.sampling import random_architecture

SPACE = find_space("nasbench201-3")
SIZE = NetworkConfig(channels=4, cells=1, image_size=8)
DEAREST = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|"
CHEAPEST = "|none~0|+|none~0|none~1|"


def test_the_dearest_and_the_cheapest_of_all() -> None:
    target = find_domain(SPACE.data).target(SPACE, SIZE, "cpu")
    names = ("parameters", "flops", "macs", "memory")
    top = among_random(target, SPACE.parse(DEAREST), names)
    bottom = among_random(target, SPACE.parse(CHEAPEST), names)
    assert [row.cost for row in top] == list(names)
    for high, low in zip(top, bottom, strict=True):
        assert low.value <= low.mean < high.value
        assert high.cheaper > 0.9
        assert low.cheaper == 0.0
        assert low.mean == high.mean
    assert top[0].value == top[0].estimate
    assert top[0].value == parameter_count(SPACE.network(SPACE.parse(DEAREST), SIZE))


def test_the_mean_is_that_of_the_space() -> None:
    # Each of three edges holds each operation with probability 1/5.
    (row,) = among_random(
        find_domain(SPACE.data).target(SPACE, SIZE, "cpu"), SPACE.parse(CHEAPEST), ["parameters"]
    )
    convolutions = sum(k * c * c + 2 * c for k in (1, 9) for c in (4, 8, 16))
    assert row.mean == pytest.approx(row.value + 3 * convolutions / 5, rel=0.1)


def test_the_command_prints_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small = ["--channels", "4", "--cells", "1", "--image-size", "8"]
    for options in ([], ["--json"]):
        monkeypatch.setattr(sys, "argv", ["nasp", "show", DEAREST, *small, *options])
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code
        printed = capsys.readouterr().out
        if options:
            costs = {row["cost"]: row for row in json.loads(printed)["costs"]}
            assert set(costs) == {"parameters", "flops", "macs", "latency"}
            assert costs["flops"]["value"] == 2 * costs["macs"]["value"] > 0
            assert costs["latency"]["spread"] >= 0
        else:
            assert "mean of 200 random" in printed
            assert "so timed, this network takes" in " ".join(printed.split())


def test_language_models_are_built_to_be_compared() -> None:
    space, size = find_space("recurrent"), LanguageConfig(vocabulary=50, channels=8, cells=1)
    target = find_domain(space.data).target(space, size, "cpu")
    architecture = target.supernet.architecture(target.supernet.random_path())
    rows = {row.cost: row for row in among_random(target, architecture, ("parameters", "flops"))}
    # 35 tokens; the decoder, the first product of (x, h), eight products of a state.
    products = 8 * 50 + 16 * 16 + 8 * 8 * 16
    assert rows["flops"].value == 2 * 35 * products
    for row in rows.values():  # any cell of eight nodes costs the same
        assert row.estimate == row.mean == row.value > 0
        assert (row.random, row.cheaper) == (20, 0.0)


@pytest.mark.parametrize("name", ["nasbench201-3", "recurrent"])
def test_macs_are_half_of_flops_and_not_counted_again(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nasp.complexity.among_random.RANDOM_BUILT", 2)
    space = find_space(name)
    size = LanguageConfig(vocabulary=20, channels=4) if name == "recurrent" else SIZE
    target = find_domain(space.data).target(space, size, "cpu")
    architecture = random_architecture(space, 1)
    (alone,) = among_random(target, architecture, ("macs",))
    assert among_random(target, architecture, ("flops", "macs"))[1] == alone
