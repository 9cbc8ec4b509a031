"""The site's reference has every public name and every command, and the site's own code works."""

from __future__ import annotations

import importlib
import pkgutil
import re
import runpy
from pathlib import Path
from typing import Any

import pytest
import typer

import nasp.testing
from nasp.cli import app

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = "\n".join(path.read_text("utf-8") for path in ROOT.glob("docs/reference/*.md"))
NAMED = re.findall(r"^::: (\S+)$", REFERENCE, re.M)
WITH_LISTS = ("nasp", "nasp.complexity", "nasp.domains", "nasp.spaces", "nasp.strategies")


def public() -> set[str]:
    """Return what `__all__` lists, the classes of tests, and what the documentation imports."""
    names = {f"{m}.{name}" for m in WITH_LISTS for name in importlib.import_module(m).__all__}
    for info in pkgutil.iter_modules(nasp.testing.__path__, "nasp.testing."):
        classes = vars(importlib.import_module(info.name)).items()
        own = (n for n, value in classes if getattr(value, "__module__", "") == info.name)
        names.update(f"{info.name}.{name}" for name in own if name.endswith("Tests"))
    for page in [ROOT / "README.md", *ROOT.glob("docs/**/*.md")]:
        for module, imported in re.findall(
            r"^from (nasp[\w.]*) import ([\w, ]+)$", page.read_text("utf-8"), re.M
        ):
            names.update(f"{module}.{name}" for name in imported.split(", "))
    return names


def commands(group: Any, name: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for each, command in group.commands.items():
        inner = f"{name} {each}"
        if hasattr(command, "commands"):
            found |= commands(command, inner)
        else:
            found[inner] = command.make_context(each, [], resilient_parsing=True).command
    return found


COMMANDS = commands(typer.main.get_command(app), "nasp")


@pytest.fixture(scope="module")
def page() -> str:
    """Return the reference of the commands."""
    return runpy.run_path(str(ROOT / "website/commands.py"))["commands_page"]()


def test_every_public_name_is_on_a_page_of_the_reference() -> None:
    names = public()
    assert {"nasp.search", "nasp.testing.domains.DomainTests", "nasp.complexity.costs.macs"} < names
    assert not names - set(NAMED)


def test_the_reference_names_nothing_twice_and_nothing_that_is_gone() -> None:
    assert len(NAMED) == len(set(NAMED))
    for name in NAMED:
        pkgutil.resolve_name(name)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_on_the_page_with_every_option(name: str, page: str) -> None:
    section = page.partition(f"## {name}\n")[2].partition("\n## ")[0]
    assert COMMANDS[name].help.partition("\n")[0] in section
    rows = re.findall(r"^\| `(.*?)` \| .", section, re.M)
    for parameter in COMMANDS[name].params:
        spelled = [*parameter.opts, *parameter.secondary_opts]
        if parameter.param_type_name == "argument":
            spelled = [parameter.metavar or parameter.name.upper()]
        assert any(all(each in row for each in spelled) for row in rows), spelled


def test_the_page_of_the_commands_has_a_place_for_them() -> None:
    hooks = (ROOT / "website/hooks.py").read_text("utf-8")
    marker = re.search(r'^COMMANDS = "(.+)"$', hooks, re.M)
    assert marker is not None
    assert (ROOT / "docs/reference/commands.md").read_text("utf-8").count(marker[1]) == 1


def test_a_notebook_is_a_page_with_its_outputs() -> None:
    cells = [
        {"cell_type": "markdown", "source": ["# Title\n", "text"]},
        {
            "cell_type": "code",
            "source": "print(1)",
            "outputs": [
                {"output_type": "stream", "text": ["\x1b[1m1\x1b[0m\n"]},
                {"output_type": "execute_result", "data": {"text/plain": "2"}},
                {"output_type": "display_data", "data": {"image/png": "aa==\n", "text/plain": "f"}},
            ],
        },
    ]
    notebook_page = runpy.run_path(str(ROOT / "website/notebooks.py"))["notebook_page"]
    assert notebook_page({"cells": cells}) == (
        "# Title\ntext\n\n````python\nprint(1)\n````\n\n````text\n1\n````\n\n````text\n2\n````\n\n"
        "![What the cell draws](data:image/png;base64,aa==)\n"
    )
