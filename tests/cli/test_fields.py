"""Options that are made from fields of settings: what is shown, what is given, what is refused."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import pytest
import typer
from pydantic import BaseModel, ConfigDict, Field
from typer.testing import CliRunner

from nasp.cli.fields import Given, Section, command


class Pictures(BaseModel):
    """Settings of one kind of data."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    name: str
    """Which [pictures]."""
    size: int = Field(4, ge=1, le=9)
    """Pictures a
    step."""
    rate: float | None = Field(None, ge=0.5)
    """How fast; default as it comes."""
    how: Literal["well", "badly"] = "well"
    """In which way."""
    exact: bool = True
    """Whether bits repeat."""
    root: Path | None = None
    """Where they lie; default here."""
    inner: dict[str, Any] = Field(default_factory=dict)
    """Anything else; repeatable."""


class Larger(Pictures):
    """The same with another default."""

    size: int = Field(6, ge=1, le=9)


class Sounds(BaseModel):
    """Settings of another kind."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    size: int = Field(5, ge=1)
    """Seconds a step."""
    pitch: float = 440.0
    """Of the fork."""


class Kind(NamedTuple):
    """A kind of data."""

    name: str
    data: type[BaseModel]


def kinds() -> list[Kind]:
    return [Kind("pictures", Larger), Kind("sounds", Sounds)]


def names() -> list[str]:
    return ["well", "oddly"]


FED = Section(
    "fed",
    f"{__name__}:kinds",
    "data",
    choices={"how": f"{__name__}:names"},
    flags={"name": "data", "exact": "exact/fast"},
    defaults={"name": "those at hand"},
)


def invoked(*arguments: str) -> tuple[int, str, list[Any]]:
    seen: list[Any] = []
    app = typer.Typer(pretty_exceptions_enable=False, rich_markup_mode="rich")

    @command(FED, examples="\n  demo one --size 3   this\n")
    def one(
        given: Given,
        target: Annotated[str, typer.Argument(help="What.")],
        out: Annotated[Path | None, typer.Option(help="A file; default none.")] = None,
    ) -> None:
        """Do one thing."""
        seen.append((given, target, out))

    @command(examples="")
    def another(loud: Annotated[bool, typer.Option(help="Loudly.")] = False) -> None:
        """Do another."""
        seen.append(loud)

    one.add_to(app)
    another.add_to(app)
    # So wide that nothing is folded.
    result = CliRunner().invoke(app, arguments, env={"COLUMNS": "200", "TERM": "dumb"})
    return result.exit_code, re.sub(r"[│╭╮╰╯─]", "", result.output), seen


def row(text: str, option: str) -> str:
    (line,) = [line for line in text.splitlines() if re.match(rf" *{option} ", line)]
    return re.sub(" +", " ", line).strip()


def test_the_help_says_what_the_fields_say() -> None:
    code, out, _ = invoked("one", "--help")
    assert code == 0
    assert "Do one thing." in out
    assert "demo one --size 3" in out
    assert row(out, "--data").endswith("Which [pictures]. [default: (those at hand)]")
    assert "For sounds: Seconds a step. [default: (by the data)]" in row(out, "--size")
    assert "[1<=x<=9] Pictures a step." in row(out, "--size")
    assert row(out, "--rate").endswith("[x>=0.5] How fast; default as it comes.")
    assert row(out, "--how").endswith("In which way: well, oddly. [default: well]")
    assert row(out, "--exact").endswith("Whether bits repeat. [default: exact]")
    assert "--fast" in row(out, "--exact")
    assert row(out, "--inner").endswith("NAME=VALUE Anything else; repeatable.")
    assert row(out, "--out").endswith("A file; default none.")
    own, _, apart = out.partition("Options for sounds")
    assert "--pitch" not in own
    assert row(apart, "--pitch").endswith("Of the fork. [default: 440.0]")


def test_a_command_gets_what_was_given_and_no_defaults() -> None:
    assert invoked("one", "x")[2] == [({"fed": {}}, "x", None)]
    arguments = ["--size", "6", "--fast", "--data", "cats", "--how", "oddly", "--root", "a"]
    _, _, ((given, target, out),) = invoked("one", "x", "--out", "o", *arguments)
    fed = {"size": 6, "exact": False, "name": "cats", "how": "oddly", "root": Path("a")}
    assert (given, target, out) == ({"fed": fed}, "x", Path("o"))
    _, _, ((given, _, _),) = invoked("one", "x", "--inner", "a=1", "--inner", "b=c")
    assert given == {"fed": {"inner": ["a=1", "b=c"]}}
    assert invoked("another", "--loud")[2] == [True]


@pytest.mark.parametrize("arguments", [["--size", "10"], ["--size", "x"], ["--rate", "0.1"]])
def test_bounds_and_types_are_refused_at_once(arguments: list[str]) -> None:
    code, out, seen = invoked("one", "x", *arguments)
    assert (code, seen) == (2, [])
    assert f"Invalid value for '{arguments[0]}'" in out


def test_the_list_of_commands_makes_no_options(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Section, "options", lambda self: pytest.fail("options were made"))
    code, out, _ = invoked("--help")
    assert code == 0
    assert "Do one thing." in out
    assert "Do another." in out
    quiet = "import sys, nasp.cli; sys.argv = ['nasp', '--help']\ntry: nasp.cli.main()\n"
    quiet += "finally: assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", quiet], check=True, capture_output=True)
