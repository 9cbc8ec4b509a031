"""Things by name: the package's own and those of plug-ins, whose faults end in one sentence."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import pytest

from nasp.domains import domain_of, find_domain
from nasp.errors import UsageError
from nasp.runs.registry import Registry, lacking
from nasp.spaces import find_space, space_names
from nasp.strategies import find_strategy, strategy_names
from tests.forks import Server

GROUP = "nasp.fruits"
Installer = Callable[..., Path]


def is_no_text(_: str, thing: object) -> str | None:
    return None if isinstance(thing, str) else "is no text"


FRUITS = Registry("fruit", GROUP, {"apple": "own apple"}, is_no_text)


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installer:
    """Return what puts a distribution with one module and its entry points where Python looks."""

    def installed(name: str, source: str, group: str = GROUP, **points: str) -> Path:
        folder = tmp_path / name
        info = folder / f"{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        lines = [f"{point} = {value}" for point, value in points.items()]
        (info / "entry_points.txt").write_text("\n".join([f"[{group}]", *lines, ""]))
        (folder / f"{name}.py").write_text(source)
        monkeypatch.syspath_prepend(folder)
        return folder

    return installed


def refusal(find: Callable[[str], object], name: str) -> str:
    with pytest.raises(UsageError) as caught:
        find(name)
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert sentence.endswith((".", "?"))
    return sentence


def test_without_plug_ins_there_are_the_packages_own() -> None:
    assert FRUITS.names() == ["apple"]
    assert FRUITS.find("apple") == "own apple"
    assert refusal(FRUITS.find, "plum") == "Unknown fruit 'plum': choose one of apple."


def test_a_plug_in_is_found_by_the_name_of_its_entry_point(install: Installer) -> None:
    install("orchard", "PEAR = 'a pear'", pear="orchard:PEAR")
    install("vineyard", "GRAPE = 'a grape'", grape="vineyard:GRAPE")
    assert FRUITS.names() == ["apple", "grape", "pear"]
    assert [FRUITS.find(name) for name in FRUITS.names()] == ["own apple", "a grape", "a pear"]
    expected = "Unknown fruit 'pera': choose one of apple, grape, pear. Did you mean 'pear'?"
    with pytest.raises(UsageError, match=re.escape(expected)):
        FRUITS.find("pera")


def test_a_plug_in_that_is_installed_meanwhile_is_found(install: Installer) -> None:
    folder = install("orchard", "PEAR = 'a pear'", pear="orchard:PEAR")
    assert FRUITS.names() == ["apple", "pear"]
    there = install("vineyard", "GRAPE = 'a grape'", grape="vineyard:GRAPE")
    sys.path.remove(str(there))
    assert FRUITS.names() == ["apple", "pear"]
    for file in (there / "vineyard.py", there / "vineyard-1.0.dist-info"):
        file.rename(folder / file.name)
    assert FRUITS.find("grape") == "a grape"


def test_nothing_is_imported_before_it_is_asked_for(install: Installer) -> None:
    install("lazy_orchard", "PEAR = 'a pear'", pear="lazy_orchard:PEAR")
    FRUITS.names()
    FRUITS.find("apple")
    assert "lazy_orchard" not in sys.modules
    FRUITS.find("pear")
    assert "lazy_orchard" in sys.modules


@pytest.mark.parametrize(
    ("name", "source", "value", "cause"),
    [
        ("gone", "", "gone_elsewhere:PEAR", "ModuleNotFoundError: No module named"),
        ("lacks", "", "lacks:PEAR", "AttributeError: module 'lacks' has no attribute 'PEAR'"),
        ("wrong", "def\n", "wrong:PEAR", "SyntaxError"),
        ("raises", "raise OSError('first\\nsecond')", "raises:PEAR", "OSError: first)"),
    ],
)
def test_a_plug_in_that_cannot_be_imported(
    install: Installer, name: str, source: str, value: str, cause: str
) -> None:
    install(name, source, pear=value)
    sentence = refusal(FRUITS.find, "pear")
    assert sentence.startswith(f"Fruit 'pear' of the distribution {name} 1.0 cannot be imported (")
    assert cause in sentence
    assert FRUITS.find("apple") == "own apple"


def test_a_plug_in_that_falls_short(install: Installer) -> None:
    install("numbers_only", "PEAR = 7", pear="numbers_only:PEAR")
    assert refusal(FRUITS.find, "pear") == (
        "Fruit 'pear' of the distribution numbers_only 1.0 is no text:"
        " mend that distribution, or uninstall it."
    )


def test_a_name_that_the_package_has_is_taken(install: Installer) -> None:
    install("rival", "APPLE = 'theirs'", apple="rival:APPLE")
    assert refusal(FRUITS.find, "apple") == (
        "The name of fruit 'apple' is taken twice, by nasp itself and by the distribution"
        " rival 1.0: uninstall one of them, or give its own another name."
    )


def test_a_name_that_another_plug_in_has_is_taken(install: Installer) -> None:
    install("first", "PEAR = ''", pear="first:PEAR")
    install("second", "PEAR = ''", pear="second:PEAR")
    sentence = refusal(FRUITS.find, "pear")
    assert "the distribution first 1.0" in sentence
    assert "the distribution second 1.0" in sentence


class Ripe(Protocol):
    @property
    def colour(self) -> str: ...

    def eat(self) -> None: ...


class Plum:
    colour = "blue"


def test_what_a_protocol_asks_is_named() -> None:
    assert lacking(Plum(), Ripe) == lacking(Plum, Ripe) == "lacks eat of the protocol Ripe"
    assert lacking(3, Ripe) == "lacks colour, eat of the protocol Ripe"
    Plum.eat = lambda self: None  # type: ignore[attr-defined]
    assert lacking(Plum(), Ripe) is None


STRATEGY = """
from pydantic import BaseModel
from nasp.strategies import Registration

class Config(BaseModel): pass

class Half:
    def __init__(self, problem, config): pass
    def arch_step(self, batch): pass
    def weight_step(self, batch): pass
    def state_dict(self): pass

LACKS = Registration(Config, Half)
SETTINGS = Registration(dict, Half)
"""


def test_faulty_strategies(install: Installer) -> None:
    values = {"half": "LACKS", "plain": "Half", "settings": "SETTINGS"}
    points = {name: f"faulty_strategies:{value}" for name, value in values.items()}
    install("faulty_strategies", STRATEGY, "nasp.strategies", **points)
    assert strategy_names()[0] == "nasp"
    assert strategy_names()[-3:] == sorted(values)
    assert "lacks derive, load_state_dict of the protocol" in refusal(find_strategy, "half")
    assert "is no nasp.strategies.Registration" in refusal(find_strategy, "plain")
    assert "has settings that are no pydantic model" in refusal(find_strategy, "settings")
    assert "half" in refusal(find_strategy, "hlaf")


SPACE = """
from nasp.spaces.nasbench201 import NASBench201

OTHER = NASBench201("other")
EMPTY = object()
"""


def test_faulty_spaces(install: Installer) -> None:
    points = {"mine": "faulty_spaces:OTHER", "empty": "faulty_spaces:EMPTY"}
    install("faulty_spaces", SPACE, "nasp.spaces", **points)
    assert space_names()[-2:] == ["empty", "mine"]
    assert "'mine' of the distribution faulty_spaces 1.0 calls itself 'other'" in refusal(
        find_space, "mine"
    )
    sentence = refusal(find_space, "empty")
    assert re.search("lacks name, data, .*supernet, network, .* of the protocol Space", sentence)
    assert "mine" in refusal(find_space, "mien")


DOMAIN = """
from dataclasses import replace
from nasp.domains import DOMAINS

OTHER = replace(DOMAINS["text"], name="other", data_names=("novel",))
EMPTY = object()
"""


def test_faulty_kinds_of_data(install: Installer) -> None:
    install("faulty_domains", DOMAIN, "nasp.domains", mine="faulty_domains:OTHER")
    assert "'mine' of the distribution faulty_domains 1.0 calls itself 'other'" in refusal(
        find_domain, "mine"
    )
    assert domain_of("digits").name == "images"
    # Whose data these are can only be said by asking all.
    assert "calls itself 'other'" in refusal(domain_of, "moon")
    install("good_domain", DOMAIN, "nasp.domains", other="good_domain:OTHER")
    install("no_domain", DOMAIN, "nasp.domains", empty="no_domain:EMPTY")
    assert find_domain("other").data_names == ("novel",)
    assert "is no nasp.domains.Domain" in refusal(find_domain, "empty")


def test_the_list_of_commands_imports_no_plug_in(install: Installer) -> None:
    folder = install("loud", "1 / 0", "nasp.strategies", loud="loud:LOUD")
    code = f"import sys; sys.path.insert(0, {str(folder)!r}); sys.argv = ['nasp', '--help']\n"
    code += "from nasp.cli import main\ntry: main()\n"
    code += "finally: assert not {'torch', 'loud'} & set(sys.modules)"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_the_help_of_a_command_imports_no_plug_in(
    install: Installer, server: Server, tmp_path: Path
) -> None:
    marker = tmp_path / "imported"
    folder = install("loud", f"open({str(marker)!r}, 'w')", "nasp.strategies", loud="loud:LOUD")
    there = f"import sys; sys.path.insert(0, {str(folder)!r})"
    done = server.run(["search", "--help"], there)
    assert done.code == 0, done.err
    assert not marker.exists()
    assert "loud" in server.run(["search", "--strategy", "moon"], there).err
    assert not marker.exists()
    assert server.run(["search", "--strategy", "loud"], there).code == 2
    assert marker.exists()
