"""Options made from fields of settings: a field says its name, type, default, bounds and meaning.

A command's own options stand in its signature; whatever is a setting is named by a `Section`.
Settings wait for torch, so a command's options are made when the command is first asked for, and
``nasp --help`` makes none.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from rich.markup import escape
from typer.core import TyperCommand

Given = Mapping[str, dict[str, Any]]
"""Section -> field -> value, of the fields that the user gave."""

Classes = Mapping[str, type[BaseModel]]
"""Kind of data -> settings."""

BY_DATA = "by the data"
"""What is said of a default that depends on them."""


@dataclass(frozen=True)
class Section:
    """Fields of settings that are options of a command.

    Attributes:
        name: under which the command finds what the user gave.
        classes: returns the settings. A field that several of them have is one option; those
            that the first one lacks stand apart, as options for their kind of data.
        only: the fields that are options, in this order; default all.
        but: fields that are none.
        flags: field -> its option, where that is not its name.
        defaults: field -> what is said of its default, where that is not the settings' own.
    """

    name: str
    classes: Callable[[], Classes]
    only: Sequence[str] = ()
    but: Sequence[str] = ()
    flags: Mapping[str, str] = field(default_factory=dict)
    defaults: Mapping[str, str] = field(default_factory=dict)

    def options(self) -> Iterator[_Option]:
        """Yield an option a field."""
        classes = self.classes()
        names = self.only or {name: None for each in classes.values() for name in each.model_fields}
        for name in names:
            if name not in self.but:
                having = {k: each for k, each in classes.items() if name in each.model_fields}
                yield self._option(name, having, next(iter(classes)))

    def _option(self, name: str, having: Classes, first: str) -> _Option:
        fields = [each.model_fields[name] for each in having.values()]
        info = fields[0]
        flag = self.flags.get(name, name.replace("_", "-"))
        type_ = _type(info)
        said = self.defaults.get(name)
        defaults = [each.get_default(call_default_factory=True) for each in fields]
        if said is None and any(default != defaults[0] for default in defaults):
            said = BY_DATA
        is_plain = said is None and type_ != list[str] and not info.is_required()
        default = typer.Option(
            defaults[0] if is_plain else None,
            "/".join(f"--{part}" for part in flag.split("/")),
            help=_help(name, having),
            min=_bound(info, "ge"),
            max=_bound(info, "le"),
            metavar="NAME=VALUE" if type_ == list[str] != info.annotation else None,
            show_default=True if said is None else said,
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
        about = f"{inspect.getdoc(self.function)}\n\nExamples:\n{self.examples}"

        @cache
        def whole() -> Any:
            alone = typer.Typer(add_completion=False, rich_markup_mode="rich")
            alone.command(name, help=about)(_with_options(self.function, self.sections))
            return typer.main.get_command(alone)

        class Outline(TyperCommand):
            """What the list of commands shows; the command itself takes over when it is run."""

            def make_context(self, *args: Any, **extra: Any) -> Any:
                return whole().make_context(*args, **extra)

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


def _type(info: FieldInfo) -> Any:
    """Return the type that typer reads; what it cannot, such as a `Literal`, is checked later."""
    kinds = [info.annotation]
    if get_origin(info.annotation) in (Union, UnionType):
        kinds = [kind for kind in get_args(info.annotation) if kind is not NoneType]
    kind: Any = kinds[0]
    if get_origin(kind) is Literal:
        return str
    if get_origin(kind) is dict or (isinstance(kind, type) and issubclass(kind, BaseModel)):
        return list[str]
    return kind


def _bound(info: FieldInfo, name: str) -> float | None:
    return next((getattr(each, name) for each in info.metadata if hasattr(each, name)), None)


def _help(name: str, having: Classes) -> str:
    """Return the field's description, and what differs of another kind of data."""
    (_, first), *others = ((kind, _description(each, name)) for kind, each in having.items())
    parts = [f"For {kind}: {text}" for kind, text in others if text != first]
    return escape(" ".join([first, *parts]))


def _description(settings: type[BaseModel], name: str) -> str:
    """Return the field's docstring, which a class that changes a default need not repeat."""
    for each in settings.__mro__:
        info = each.model_fields.get(name) if issubclass(each, BaseModel) else None
        if info is not None and info.description:
            return " ".join(info.description.split())
    return ""
