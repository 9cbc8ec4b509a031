"""What README.md and docs/ say holds: their Python runs, their commands and links exist.

In tutorials and notebooks the commands of bash blocks run, too; those of sh blocks just exist.
Scripts run in a shell, the processes of a command with --devices 2 are forked, and Python whose
first line names a file is that file.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import pytest
import typer
from typer.testing import CliRunner

from nasp.cli import app
from nasp.strategies import STRATEGIES
from tests.forks import Server
from tests.ranks.pair import two

ROOT = Path(__file__).resolve().parents[1]
PAGES = {
    str(path.relative_to(ROOT)): path.read_text("utf-8")
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
}
LINKED = PAGES | {n: (ROOT / n).read_text("utf-8") for n in ("CHANGELOG.md", "CONTRIBUTING.md")}

SKIP = "<!-- skip -->"
SHELLS = ("bash", "sh", "shell", "console")
# Words that may stand before a command.
BEFORE = re.compile(r"\$|do|then|time|nice|env|nohup|srun|-n|\d+|\w+=.*")
IN_A_SHELL = re.compile(r"^python ", re.M)
FILE = re.compile(r"# (\w+\.py)\n")
FENCE = re.compile(r"( *)(```+|~~~+) *(\w*)([^\n]*)\n(.*?)^ *\2 *$", re.M | re.S)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)|<img [^>]*src=\"([^\"]+)\"")
HEADING = re.compile(r"^#+ (.+)$", re.M)


class Block(NamedTuple):
    """A fenced block; `line` is that of its first line in the page, from 1."""

    language: str
    text: str
    line: int
    is_skipped: bool


def blocks(page: str) -> Iterator[Block]:
    """Yield the fenced blocks of a page."""
    for match in FENCE.finditer(page):
        indent, _, language, info, body = match.groups()
        text = "".join(line.removeprefix(indent) for line in body.splitlines(keepends=True))
        is_skipped = "no-run" in info or page[: match.start()].rstrip().endswith(SKIP)
        yield Block(language, text, page.count("\n", 0, match.start(5)) + 1, is_skipped)


def cells(notebook: Path) -> Iterator[Block]:
    """Yield the code of a notebook; cells that begin with ! hold commands."""
    for cell in json.loads(notebook.read_text("utf-8"))["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "code":
            language = "bash" if source.startswith("!") else "python"
            yield Block(language, source.replace("!nasp", "nasp"), 1, False)


def commands(text: str) -> Iterator[list[str]]:
    """Yield the arguments of every nasp in a shell block; beside prompts, the rest is output."""
    lines = [line for line in text.replace("\\\n", " ").splitlines() if "nasp" in line]
    for line in [line for line in lines if line.startswith("$ ")] or lines:
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        simple: list[list[str]] = [[]]
        for word in lexer:
            if set(word) <= set(";&|()"):
                simple.append([])
            else:
                simple[-1].append(word)
        for words in simple:
            places = [i for i, word in enumerate(words) if PurePosixPath(word).name == "nasp"]
            if places and all(map(BEFORE.fullmatch, words[: places[0]])):
                yield list(unredirected(words[places[0] + 1 :]))


def unredirected(words: list[str]) -> Iterator[str]:
    """Yield the words of a command up to where its output goes."""
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if set(word) <= set("<>") or (word.isdigit() and following and set(following) <= set("<>")):
            return
        yield word


def parse(arguments: list[str]) -> None:
    """Parse a command as `nasp` would, and run nothing; raise where it would refuse."""
    command: Any = typer.main.get_command(app)
    rest = list(arguments)
    while rest and rest[0] in (known := getattr(command, "commands", {})):
        command = known[rest.pop(0)]
    if getattr(command, "commands", {}) and rest and not rest[0].startswith("-"):
        raise LookupError(f"No such command: nasp {' '.join(arguments)}")
    try:
        command.make_context("nasp", rest)
    except typer.Exit:  # --help, --version
        return


def anchors(page: str) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    titles = (title.lower() for title in HEADING.findall(FENCE.sub("", page)))
    return {re.sub(r"[^\w\- ]", "", title).strip().replace(" ", "-") for title in titles}


def broken(page: str, name: str) -> list[str]:
    """Return the relative links of a page that lead nowhere."""
    found = []
    for match in LINK.finditer(FENCE.sub("", page)):
        link = match[1] or match[2]
        if re.match(r"[a-z]+:", link):
            continue
        file, _, anchor = link.partition("#")
        target = (ROOT / name).parent / file if file else ROOT / name
        is_page = target.suffix == ".md" and target.is_file()
        if not target.exists() or (
            anchor and is_page and anchor not in anchors(target.read_text("utf-8"))
        ):
            found.append(link)
    return found


def options(command: Any, name: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each command's name, such as ``bench cost``, and its options by name."""
    for each, inner in command.commands.items():
        if hasattr(inner, "commands"):
            yield from options(inner, f"{each} ")
        else:
            # The command itself stands behind its outline.
            whole = inner.make_context(each, [], resilient_parsing=True).command
            yield name + each, {p.name: p for p in whole.params if p.param_type_name == "option"}


def examples(command: Any) -> Iterator[str]:
    """Yield the commands that the help of each command gives as examples."""
    for inner in command.commands.values():
        if hasattr(inner, "commands"):
            yield from examples(inner)
        else:
            _, _, lines = inner.help.partition("Examples:")
            yield from re.findall(r"^ *(nasp .*?)(?:  .*)?$", lines, re.M)


OPTIONS = dict(options(typer.main.get_command(app)))
PYTHON = {
    name: [b for b in blocks(page) if b.language == "python" and not b.is_skipped]
    for name, page in PAGES.items()
}
TUTORIALS = {
    name: [b for b in blocks(page) if b.language in ("python", "bash")]
    for name, page in PAGES.items()
    if name.startswith("docs/tutorials/")
}
NOTEBOOKS = {
    str(path.relative_to(ROOT)): list(cells(path))
    for path in sorted((ROOT / "docs/notebooks").glob("*.ipynb"))
}
COMMANDS = [
    pytest.param(arguments, id=f"{name}:{block.line}: nasp {' '.join(arguments)}")
    for name, page in PAGES.items()
    for block in blocks(page)
    if block.language in SHELLS and not block.is_skipped
    for arguments in commands(block.text)
] + [
    pytest.param(arguments, id=text)
    for text in [
        *re.findall("`(nasp [^`]+)`", PAGES["README.md"]),
        *examples(typer.main.get_command(app)),
    ]
    for arguments in commands(text)
]


def run(found: list[Block], name: str, server: Server) -> None:
    """Run blocks of Python and of commands, one after the other, in one process if they can."""
    namespace = {"__name__": "__main__"}
    for block in found:
        if block.language == "python" and (file := FILE.match(block.text)):
            Path(file[1]).write_text(block.text)
        elif block.language == "python":
            # Empty lines in front, so that a traceback tells the line of the page.
            source = "\n" * (block.line - 1) + block.text
            exec(compile(source, ROOT / name, "exec"), namespace)
        elif IN_A_SHELL.search(block.text):
            path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
            environment = {**os.environ, "PATH": path, "PYTHONWARNINGS": "ignore"}
            subprocess.run(["bash", "-ec", block.text], check=True, env=environment)
        else:
            for arguments in commands(block.text):
                if "--devices 2" in " ".join(arguments):
                    done = two(server, arguments, cwd=Path.cwd())
                    assert [child.wait() for child in done] == [0, 0], done[0].err
                    continue
                result = CliRunner().invoke(app, arguments, catch_exceptions=False)
                assert result.exit_code == 0, result.output


@pytest.fixture
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)  # as the folder of a script is
    monkeypatch.setenv("MPLBACKEND", "agg")


@pytest.mark.usefixtures("_in_a_folder")
@pytest.mark.parametrize("name", [n for n in PYTHON if PYTHON[n] and n not in TUTORIALS])
def test_python_runs(name: str, server: Server) -> None:
    run(PYTHON[name], name, server)


@pytest.mark.slow
@pytest.mark.usefixtures("_in_a_folder")
@pytest.mark.parametrize("name", [*TUTORIALS, *NOTEBOOKS])
def test_a_tutorial_runs_from_its_first_line_to_its_last(name: str, server: Server) -> None:
    found = TUTORIALS[name] if name in TUTORIALS else NOTEBOOKS[name]
    assert found
    run(found, name, server)


@pytest.mark.parametrize("arguments", COMMANDS)
def test_commands_exist(arguments: list[str]) -> None:
    parse([re.sub(r"\$\{?\w+\}?", "1", word) for word in arguments])


@pytest.mark.parametrize("name", LINKED)
def test_links_lead_somewhere(name: str) -> None:
    assert not broken(LINKED[name], name)


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_setting_of_a_strategy_is_listed_with_its_default(name: str) -> None:
    page = PAGES["docs/strategies.md"]
    section = page.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| `([^|]*)` \|", section, re.M)
    fields = STRATEGIES[name].config.model_fields
    assert dict(rows) == {field: repr(fields[field].default) for field in fields}


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy_is_named_in_the_help_and_in_the_table(name: str) -> None:
    assert name in re.findall(r"[\w-]+", OPTIONS["search"]["strategy"].help)
    assert f"\n| `{name}` | " in PAGES["docs/strategies.md"]


@pytest.mark.parametrize("command", OPTIONS)
def test_every_option_says_what_it_is_and_what_it_is_by_default(command: str) -> None:
    for option in OPTIONS[command].values():
        assert option.help, option.opts
        is_shown = isinstance(option.show_default, str) or option.default is not None
        assert is_shown or re.search("default|repeatable", option.help), option.opts


def test_every_option_is_in_the_documentation() -> None:
    words = set(re.findall(r"--[a-z][a-z-]*", " ".join(PAGES.values())))
    missing = {
        f"nasp {command} {option.opts[0]}"
        for command, named in OPTIONS.items()
        for option in named.values()
        if words.isdisjoint([*option.opts, *option.secondary_opts])
    }
    assert not missing


def test_blocks_are_seen() -> None:
    page = (
        "text\n\n```python\na = 1\n\nb = 2\n```\n- item\n\n  ```bash\n  nasp show x\n  ```\n"
        f"{SKIP}\n```python\n1 / 0\n```\n```python no-run\n1 / 0\n```\n"
    )
    assert list(blocks(page)) == [
        Block("python", "a = 1\n\nb = 2\n", 4, False),
        Block("bash", "nasp show x\n", 11, False),
        Block("python", "1 / 0\n", 15, True),
        Block("python", "1 / 0\n", 18, True),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$ nasp show x --json > x.json  # why", [["show", "x", "--json"]]),
        ("A=1 .venv/bin/nasp search \\\n  --seed 1", [["search", "--seed", "1"]]),
        ("cd nasp && nasp --version; pip install nasp", [["--version"]]),
        ("for s in 1 2; do nasp search --seed $s; done", [["search", "--seed", "$s"]]),
        ("$ nasp resume x\nIt's nasp\nnasp bake", [["resume", "x"]]),
        ("nasp show '|a~0|+|b~0|' 2>/dev/null | head", [["show", "|a~0|+|b~0|"]]),
    ],
)
def test_commands_are_seen(text: str, expected: list[list[str]]) -> None:
    assert list(commands(text)) == expected


@pytest.mark.parametrize("text", ["--version", "bench cost --help", "train x --beside resnet"])
def test_right_commands_pass(text: str) -> None:
    parse(text.split())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("bake", "No such command: nasp bake"),
        ("bench bake", "No such command: nasp bench bake"),
        ("search --bake", "--bake"),
        ("search --epochs 0", "greater|range"),
        ("resume", "run|RUN"),
    ],
)
def test_wrong_commands_are_seen(text: str, message: str) -> None:
    with pytest.raises(Exception, match=message):
        parse(text.split())


def test_broken_links_are_seen() -> None:
    page = "[a](Makefile) [b](nowhere.md) [c](CONTRIBUTING.md#set-up) [d](CONTRIBUTING.md#x)"
    assert broken(page + " [e](https://example.org/x)", "README.md") == [
        "nowhere.md",
        "CONTRIBUTING.md#x",
    ]
