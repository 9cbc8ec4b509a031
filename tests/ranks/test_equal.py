"""Two processes on halves of each batch are one on the whole: gradients, weights, architecture."""

from __future__ import annotations

import json
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

from tests.forks import Server
from tests.ranks.pair import two

SCRIPT = Path(__file__).parent / "one_of.py"
spec = spec_from_file_location("one_of", SCRIPT)
assert spec is not None
assert spec.loader is not None
one_of = module_from_spec(spec)
spec.loader.exec_module(one_of)

CASES = [f"{name}{', norms' * norms}" for name, norms in one_of.CASES]
OTHERS = {
    "text": one_of.searched_text,
    "shares": one_of.searched_in_shares,
    "trained": one_of.trained,
}
NEAR = 1e-10
"""In float64, over 20 steps."""


@pytest.fixture(scope="module")
def both(server: Server, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("ranks")
    work = (
        f"import json, pathlib, runpy, warnings\nwarnings.simplefilter('ignore')\n"
        f"found = runpy.run_path({str(SCRIPT)!r})['all_of_them'](2)\n"
        f"(pathlib.Path({str(folder)!r}) / f'{{rank}}.json').write_text(json.dumps(found))"
    )
    first, second = two(server, [], then=work)
    assert (first.wait(), second.wait()) == (0, 0), first.err + second.err
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", [*CASES, *OTHERS])
def test_two_processes_on_halves_are_one_on_the_whole(
    case: str, both: list[dict[str, Any]]
) -> None:
    first, second = (found[case] for found in both)
    assert first == second  # to the bit
    name, _, norms = case.partition(", ")
    alone = OTHERS[name](1) if name in OTHERS else one_of.searched(name, bool(norms), 1)
    assert first["architecture"] == alone["architecture"]
    for part in ("state", "alphas"):
        for key, values in alone[part].items():
            assert first[part][key] == pytest.approx(values, rel=NEAR, abs=NEAR), key
    for line, expected in zip(first["metrics"], alone["metrics"], strict=True):
        # Accuracies are float32, as the task gives them.
        assert line == pytest.approx(expected, rel=1e-6)
        assert line["train_loss"] == pytest.approx(expected["train_loss"], rel=NEAR)


@pytest.mark.slow
def test_each_process_draws_for_itself_within_its_share(both: list[dict[str, Any]]) -> None:
    drawn = [found["drawn"] for found in both]
    assert drawn[0]["inside"] != drawn[1]["inside"]
    assert drawn[0]["after"] == drawn[1]["after"]
