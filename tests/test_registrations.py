"""Whatever is registered by name has a line in its registry, a test, a page and a word of help."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple, get_args

import pytest
import typer

from nasp.cli import app
from nasp.domains import DOMAINS
from nasp.domains.images.datasets import IMAGE_SETS
from nasp.domains.text.corpora import TEXTS
from nasp.exporters import Format
from nasp.spaces import SPACES
from nasp.strategies import STRATEGIES

ROOT = Path(__file__).resolve().parents[1]
SHARED = {"test_all.py", "test_spaces.py", "test_domains.py"}
"""The tests that take up by themselves what is registered."""


class Kind(NamedTuple):
    """What can be registered.

    Attributes:
        names: those that are registered.
        tests: the folder of their own tests.
        page: their page of the documentation.
        entry: what the page has for each; NAME is its name.
        command: one that takes a name.
        option: by which it takes it.
    """

    names: tuple[str, ...]
    tests: str
    page: str
    entry: str
    command: str
    option: str


KINDS = {
    "strategy": Kind(
        tuple(STRATEGIES), "strategies", "strategies.md", "\n## NAME\n", "search", "strategy"
    ),
    "search space": Kind(tuple(SPACES), "spaces", "spaces.md", "\n## NAME\n", "search", "space"),
    "image set": Kind(IMAGE_SETS, "domains/images", "command-line.md", "`NAME`", "search", "data"),
    "text": Kind(TEXTS, "domains/text", "language.md", "`NAME`", "search", "data"),
    "export format": Kind(
        get_args(Format), "exporters", "export.md", "\n| `NAME` |", "export", "to"
    ),
}
EACH = [pytest.param(kind, name, id=name) for kind in KINDS.values() for name in kind.names]


def words(paths: Iterable[Path]) -> set[str]:
    """Return all words in the texts of Python files, and their names as words."""
    nodes = [node for path in paths for node in ast.walk(ast.parse(path.read_text("utf-8")))]
    texts = (n.value for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str))
    names = (n.id for n in nodes if isinstance(n, ast.Name))
    return {word for text in texts for word in re.findall(r"[\w.-]+", text)} | {
        name.lower().replace("_", "-") for name in names
    }


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text("utf-8")


def told(kind: Kind) -> str:
    """Return the help of the option that takes a name."""
    root: Any = typer.main.get_command(app)
    command = root.commands[kind.command].make_context("nasp", [], resilient_parsing=True).command
    return next(o.help for o in command.params if f"--{kind.option}" in o.opts)


def section(title: str) -> list[list[str]]:
    """Return the rows of the table in a section of CONTRIBUTING.md, without its head."""
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8").partition(f"\n## {title}\n")[2]
    lines = re.findall(r"^\|(.*)\|$", text.partition("\n## ")[0], re.M)
    return [[cell.strip() for cell in line.split("|")] for line in lines[2:]]


@pytest.mark.parametrize(("kind", "name"), EACH)
def test_it_has_a_test_a_page_and_a_word_of_help(kind: Kind, name: str) -> None:
    stem = name.removesuffix(":DIR").removesuffix(":FILE")
    paths = sorted((ROOT / "tests" / kind.tests).rglob("test_*.py"))
    assert stem in words(path for path in paths if path.name not in SHARED), "no test of its own"
    assert kind.entry.replace("NAME", name) in page(kind.page)
    assert stem in re.findall(r"[\w-]+", told(kind)), f"--{kind.option} does not name it"


def test_no_page_has_one_that_is_gone() -> None:
    for name, registry, entry in (
        ("strategies.md", STRATEGIES, r"^\| `([\w-]+)` \| "),
        ("export.md", get_args(Format), r"^\| `(\w+)` \|"),
    ):
        found = re.findall(entry, page(name).partition("\n## ")[0], re.M)
        assert sorted(found) == sorted(registry), name


def test_a_kind_of_data_is_a_folder() -> None:
    source = ROOT / "src" / "nasp" / "domains"
    folders = {path.parent.name for path in source.glob("*/__init__.py")}
    assert folders == set(DOMAINS)
    for name in DOMAINS:
        assert (ROOT / "tests" / "domains" / name).is_dir()
        assert f"{name}/" in page("index.md")


def test_what_one_touches_is_there() -> None:
    rows = section("What one touches")
    assert len(rows) == 5
    for row in rows:
        registry, *files = re.findall(r"`([^`]+)`", row[2])
        assert len(files) == 1, row
        tree = ast.parse((ROOT / files[0]).read_text("utf-8"))
        targets = [
            target
            for node in tree.body
            if isinstance(node, ast.Assign | ast.AnnAssign)
            for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        ]
        assert sum(isinstance(t, ast.Name) and t.id == registry for t in targets) == 1, row
        for path in re.findall(r"`([^`]+)`", row[1] + row[3] + row[4]):
            assert (ROOT / path).exists(), path


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_strategy_is_registered_once(name: str) -> None:
    tree = ast.parse((ROOT / "src" / "nasp" / "strategies" / "__init__.py").read_text("utf-8"))
    constants = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    assert constants.count(name) == 1


def test_missing_entries_are_seen() -> None:
    kind = KINDS["strategy"]
    with pytest.raises(AssertionError, match="no test of its own"):
        test_it_has_a_test_a_page_and_a_word_of_help(kind, "gone")
