"""Options made from fields of settings: a field says its name, type, default, bounds and meaning.

A command's own options stand in its signature; whatever is a setting is named by a `Section`.
Settings wait for torch, so a command's options are made when the command is first asked for, and
``nasp --help`` makes none.
"""

from __future__ import annotations

import inspect
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from pkgutil import resolve_name
from types import NoneType, UnionType
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

import typer
from pydantic import BaseModel, BeforeValidator
from pydantic.fields import FieldInfo
from rich.markup import escape
from typer.core import TyperCommand

Given = Mapping[str, dict[str, Any]]
"""Section -> field -> value, of the fields that the user gave."""

Classes = Mapping[str, type[BaseModel]]
"""Kind of data -> settings."""

FLAGS = {
    "name": "data",
    "root": "data-dir",
    "varied": "varied-bptt/fixed-bptt",
    "dropouts": "dropout",
    "deterministic": "deterministic/fast",
    "capture": "capture/no-capture",
    "minutes": "budget-minutes",
    "settings": "set",
    "selection": "set-select",
}
"""Field -> option, where they are called otherwise."""

BY_DATA = "by the data"
"""What is said of a default that depends on them."""

COMPLETING = "_NASP_COMPLETE"
"""The variable with which a shell asks how a line can go on."""

NARROW = 96
"""Columns of a terminal below which boxes around the help would cut its words."""


ASKED = {"help_option_names": ["-h", "--help"]}
"""How a command is asked for its help."""


def columns() -> int:
    """Return how wide the terminal is."""
    return shutil.get_terminal_size().columns


def help_style() -> Literal["rich"] | None:
    """Return how typer is to set the help: in boxes, or plainly where the terminal is narrow."""
    return "rich" if columns() >= NARROW else None


@dataclass(frozen=True)
class Section:
    """Fields of settings that are options of a command.

    Attributes:
        name: under which the command finds what the user gave.
        settings: where the class is, such as ``"nasp.bilevel.settings:SearchConfig"``, or a
            function that returns the kinds of data, each of which has one.
        part: what each kind of data calls its class; a field that several kinds have is one
            option, and those that the first kind lacks stand apart, as options for theirs.
        only: the fields that are options, in this order; default all.
        but: fields that are none.
        by_data: fields whose defaults depend on the data.
        flags: field -> its option, where that is not its name.
        defaults: field -> what is said of its default, where that is not the settings' own alone,
            for which ``{}`` stands.
        choices: field -> where the function is that returns the names that it can have.
    """

    name: str
    settings: str
    part: str = ""
    only: Sequence[str] = ()
    but: Sequence[str] = ()
    by_data: Sequence[str] = ()
    flags: Mapping[str, str] = field(default_factory=lambda: FLAGS)
    defaults: Mapping[str, str] = field(default_factory=dict)
    choices: Mapping[str, str] = field(default_factory=dict)

    def options(self) -> Iterator[_Option]:
        """Yield an option a field."""
        found = resolve_name(self.settings)
        classes: Classes = {"": found}
        if self.part:
            classes = {kind.name: getattr(kind, self.part) for kind in found()}
        names = self.only or {n: None for each in classes.values() for n in _own_first(each)}
        for name in names:
            if name not in self.but:
                having = {k: each for k, each in classes.items() if name in each.model_fields}
                yield self._option(name, having, next(iter(classes)))

    def _option(self, name: str, having: Classes, first: str) -> _Option:
        fields = [each.model_fields[name] for each in having.values()]
        info = fields[0]
        flag = self.flags.get(name, name.replace("_", "-"))
        type_ = _type(info)
        defaults = [each.get_default(call_default_factory=True) for each in fields]
        is_one = name not in self.by_data and all(each == defaults[0] for each in defaults)
        own = defaults[0] if is_one else BY_DATA
        said = self.defaults.get(name, "{}").format(own)
        is_own = type_ != list[str] and not info.is_required() and said == str(defaults[0])
        choices = resolve_name(self.choices[name])() if name in self.choices else ()
        default = typer.Option(
            defaults[0] if is_own else None,
            "/".join(f"--{part}" for part in flag.split("/")),
            help=_help(name, having, choices),
            autocompletion=_beginning(choices) if choices else None,
            min=_bound(info, "ge"),
            max=_bound(info, "le"),
            metavar="NAME=VALUE" if type_ == list[str] != info.annotation else None,
            show_default=is_own or (said if name in self.defaults or own == BY_DATA else False),
            rich_help_panel=None if first in having else f"Options for {next(iter(having))}",
        )
        parameter = inspect.Parameter(
            flag.partition("/")[0].replace("-", "_"),
            inspect.Parameter.KEYWORD_ONLY,
            annotation=type_,
            default=default,
        )
        return _Option(self.name, name, parameter)


class _Option(NamedTuple):
    section: str
    field: str
    parameter: inspect.Parameter


@dataclass(frozen=True)
class Command:
    """A function that is a command; made by `command`."""

    function: Callable[..., None]
    sections: Sequence[Section]
    examples: str

    def add_to(self, app: typer.Typer) -> None:
        """Give the command to an app, under the function's name."""
        name = self.function.__name__
        # Lines that follow each other would be filled to one.
        examples = re.sub(r"\n  (?=\S)", "\n\n  ", self.examples)
        about = f"{inspect.getdoc(self.function)}\n\nExamples:{examples}"

        @cache
        def whole() -> Any:
            alone = typer.Typer(add_completion=False, rich_markup_mode=help_style())
            alone.command(name, help=about, context_settings=ASKED)(
                _with_options(self.function, self.sections)
            )
            return typer.main.get_command(alone)

        class Outline(TyperCommand):
            """What the list of commands shows; the command itself takes over when it is run.

            Also where a shell asks for options, or for what can follow one.
            """

            def make_context(
                self, info_name: str | None, args: list[str], *more: Any, **extra: Any
            ) -> Any:
                if COMPLETING in os.environ and not (args and args[-1].startswith("-")):
                    return super().make_context(info_name, [], *more, **extra)
                return whole().make_context(info_name, args, *more, **extra)

            def shell_complete(self, context: Any, incomplete: str) -> Any:
                is_option = incomplete.startswith("-")
                return whole().shell_complete(context, incomplete) if is_option else []

        def nothing() -> None: ...

        app.command(name, help=about, cls=Outline)(nothing)


def command(*sections: Section, examples: str) -> Callable[[Callable[..., None]], Command]:
    """Make a function a command; where there are sections, it takes a `Given` first.

    Args:
        sections: whose fields are options before the function's own.
        examples: what ``--help`` shows below the function's docstring.
    """
    return lambda function: Command(function, sections, examples)


def _with_options(function: Callable[..., None], sections: Sequence[Section]) -> Any:
    # What stands first when there are sections is no option.
    hints = get_type_hints(function, include_extras=True)
    own = [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints[parameter.name])
        for parameter in list(inspect.signature(function).parameters.values())[bool(sections) :]
    ]
    options = [option for section in sections for option in section.options()]

    def run(context: typer.Context, **values: Any) -> None:
        given: dict[str, dict[str, Any]] = {section.name: {} for section in sections}
        for section, name, parameter in options:
            value = values.pop(parameter.name)
            source = context.get_parameter_source(parameter.name)
            if source is not None and source.name != "DEFAULT":
                given[section][name] = value
        function(*([given] if sections else []), **values)

    context = inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
    parameters = [context, *(option.parameter for option in options), *own]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return run


def _own_first(settings: type[BaseModel]) -> list[str]:
    """Return the fields, those that a class adds before those that it inherits."""
    added = {name: None for each in settings.__mro__ for name in inspect.get_annotations(each)}
    return [name for name in added if name in settings.model_fields]


def _type(info: FieldInfo) -> Any:
    """Return the type that typer reads; what it does not know is a text that the settings check."""
    if any(isinstance(each, BeforeValidator) for each in info.metadata):
        return str
    kinds = [info.annotation]
    if get_origin(info.annotation) in (Union, UnionType):
        kinds = [kind for kind in get_args(info.annotation) if kind is not NoneType]
    kind: Any = kinds[0]
    if get_origin(kind) is dict or (isinstance(kind, type) and issubclass(kind, BaseModel)):
        return list[str]
    return kind if kind in (bool, int, float, Path, list[str]) else str


def _beginning(choices: Iterable[str]) -> Callable[[str], list[str]]:
    def complete(incomplete: str) -> list[str]:
        return [choice for choice in choices if choice.startswith(incomplete)]

    return complete


def _bound(info: FieldInfo, name: str) -> float | None:
    return next((getattr(each, name) for each in info.metadata if hasattr(each, name)), None)


def _help(name: str, having: Classes, choices: Iterable[str]) -> str:
    """Return the field's description, what it can be, and what differs of another kind of data."""
    (_, first), *others = ((kind, _description(each, name)) for kind, each in having.items())
    if names := ", ".join(choices):
        first = f"{first.removesuffix('.')}: {names}."
    parts = [f"For {kind}: {text}" for kind, text in others if text != first]
    text = " ".join([first, *parts])
    return text if help_style() is None else escape(text)


def _description(settings: type[BaseModel], name: str) -> str:
    """Return the field's docstring, which a class that changes a default need not repeat."""
    for each in settings.__mro__:
        info = each.model_fields.get(name) if issubclass(each, BaseModel) else None
        if info is not None and info.description:
            return " ".join(info.description.split())
    return ""
