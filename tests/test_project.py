"""The house holds together: arrows run down only, files stay small, one version."""

from __future__ import annotations

import ast
import importlib.metadata
import re
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import nasp

ROOT = Path(__file__).resolve().parents[1]
SRC = ROOT / "src"
MAX_LINES = 300

# The rooms, lowest first. A room imports from those below it and from itself.
FLOORS = (
    *("errors", "runs", "supernet", "training", "exporters", "complexity", "spaces", "strategies"),
    *("bilevel", "domains", "jobs", "bench", "report", "testing", "nasp", "cli", "__main__"),
)
LEVEL = {room: level for level, room in enumerate(FLOORS)}
MOST_NAMES = 16
"""How many names the top level may show: whoever opens the folder reads them all."""

# What a room may not know although it stands above it: a strategy never asks which space it has.
STRANGERS = {"strategies": "spaces"}


def module_name(path: Path) -> str:
    """Return the dotted name of a file below src."""
    parts = path.relative_to(SRC).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room(module: str) -> str:
    """Return the room of a module: what follows `nasp.`, or `nasp` for the package itself."""
    return module.split(".")[1] if "." in module else module


FILES = {module_name(path): path for path in sorted((SRC / "nasp").rglob("*.py"))}
TREES = {module: ast.parse(path.read_text("utf-8")) for module, path in FILES.items()}


def imports(module: str, tree: ast.Module, known: frozenset[str], *, package: bool) -> set[str]:
    """Return the modules of `known` that a tree imports, wherever in the file it does so."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = module.split(".")
            start = parts[: len(parts) - node.level + package] if node.level else []
            base = ".".join([*start, *([node.module] if node.module else [])])
            for alias in node.names:
                submodule = f"{base}.{alias.name}"
                found.add(submodule if submodule in known else base)
    return {name for name in found if name in known}


GRAPH = {
    module: imports(module, tree, frozenset(FILES), package=FILES[module].name == "__init__.py")
    for module, tree in TREES.items()
}


def upward(graph: dict[str, set[str]]) -> list[str]:
    """Return the arrows of a graph that do not run down."""
    return [
        f"{module} imports {target}"
        for module, targets in sorted(graph.items())
        for target in sorted(targets)
        if climbs(room(module), room(target)) or is_stranger(room(module), target)
    ]


def climbs(here: str, there: str) -> bool:
    """Return whether one room stands above another; rooms without a place have their own test."""
    return here in LEVEL and there in LEVEL and LEVEL[there] > LEVEL[here]


def is_stranger(here: str, target: str) -> bool:
    """Return whether a room may not know a module of another."""
    return STRANGERS.get(here) == room(target)


def printers(tree: ast.Module) -> list[int]:
    """Return the lines that call `print` or hand it on."""
    names = (node for node in ast.walk(tree) if isinstance(node, ast.Name))
    return sorted(node.lineno for node in names if node.id == "print")


def test_every_room_has_a_place() -> None:
    homeless = {room(module) for module in FILES} - set(LEVEL)
    assert not homeless, f"give {sorted(homeless)} a place in FLOORS, as low as it can stand"


def test_the_top_level_is_read_at_a_glance() -> None:
    names = {path.name for path in (SRC / "nasp").iterdir() if not path.name.startswith("__")}
    assert len(names) <= MOST_NAMES


def test_arrows_run_down() -> None:
    assert not upward(GRAPH)


def test_a_kind_of_data_is_known_by_its_record() -> None:
    kinds = {module for module in GRAPH if module.count(".") == 2 and f"{module}.data" in GRAPH}
    assert kinds == {"nasp.domains.images", "nasp.domains.text"}
    found = [
        f"{module} imports {target}"
        for module, targets in GRAPH.items()
        for target in targets
        for kind in kinds
        if f"{target}.".startswith(f"{kind}.") and not f"{module}.".startswith(f"{kind}.")
        if module != "nasp.domains" and not module.startswith(("nasp.bench.", "nasp.cli.bench"))
    ]
    assert not found


def test_no_import_cycles() -> None:
    try:
        TopologicalSorter(GRAPH).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_nothing_below_the_command_line_prints() -> None:
    found = [
        f"{FILES[module].relative_to(ROOT)}:{line}"
        for module, tree in TREES.items()
        if room(module) not in {"cli", "__main__"}
        for line in printers(tree)
    ]
    assert not found


@pytest.mark.parametrize("module", FILES)
def test_files_stay_small(module: str) -> None:
    assert len(FILES[module].read_text("utf-8").splitlines()) < MAX_LINES


def test_one_version() -> None:
    declared = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text("utf-8"), re.M)
    assert declared is not None
    assert nasp.__version__ == declared[1]
    assert importlib.metadata.version("nasp-torch") == declared[1], "run make install"


KNOWN = frozenset(
    {"nasp", "nasp.bilevel", "nasp.spaces", "nasp.spaces.cell", "nasp.strategies.strategy"}
)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import nasp.bilevel, os", {"nasp.bilevel"}),
        ("from nasp import bilevel", {"nasp.bilevel"}),
        ("from nasp import __version__", {"nasp"}),
        ("from nasp.spaces import cell, SPACES", {"nasp.spaces", "nasp.spaces.cell"}),
        ("from . import cell", {"nasp.spaces.cell"}),
        ("from .cell import Cell", {"nasp.spaces.cell"}),
        ("from ..bilevel import search", {"nasp.bilevel"}),
        ("def f():\n    import nasp.bilevel", {"nasp.bilevel"}),
    ],
)
def test_imports_are_seen(source: str, expected: set[str]) -> None:
    for module, package in (("nasp.spaces.darts", False), ("nasp.spaces", True)):
        assert imports(module, ast.parse(source), KNOWN, package=package) == expected


@pytest.mark.parametrize(
    ("module", "target", "bad"),
    [
        ("nasp.spaces.cell", "nasp.bilevel.search", True),
        ("nasp.bilevel.search", "nasp", True),
        ("nasp.strategies.strategy", "nasp.spaces", True),
        ("nasp.strategies.strategy", "nasp.domains.images.task", True),
        ("nasp.strategies.strategy", "nasp.training.task", False),
        ("nasp.spaces.cell", "nasp.strategies.strategy", True),
        ("nasp.bilevel.search", "nasp.spaces.cell", False),
        ("nasp", "nasp.bilevel.search", False),
    ],
)
def test_wrong_arrows_are_seen(module: str, target: str, bad: bool) -> None:
    assert bool(upward({module: {target}})) is bad


def test_prints_are_seen() -> None:
    assert printers(ast.parse("print(1)\nlog = print\n'print'\nx.print()")) == [1, 2]


def test_what_needs_a_gpu_stands_in_one_folder() -> None:
    tests = ROOT / "tests"
    marked = {
        path.relative_to(tests).parts[0]
        for path in tests.rglob("test_*.py")
        if re.search(
            r"^pytestmark = pytest\.mark\.cuda|^ *@pytest\.mark\.cuda", path.read_text(), re.M
        )
    }
    assert marked == {"cuda"}, "make test-cuda runs tests/cuda alone"
