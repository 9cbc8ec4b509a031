"""Options that several commands have, said once: in the signature of one function."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_type_hints

Command = Callable[..., None]


def sharing(
    source: Callable[..., Mapping[str, Any]],
    types: Sequence[str],
    leave_out: Sequence[str] = (),
) -> Callable[[Command], Command]:
    """Give a command the options of a function; it takes what the function returns instead.

    Args:
        source: its parameters are options, and it returns by name those parameters of the
            command that have no default.
        types: names in the annotations of either that are no option's type, and need not be
            imported for a mere ``--help``.
        leave_out: parameters of `source` that keep their defaults.
    """

    def decorate(command: Command) -> Command:
        shared = [p for p in _parameters(source, types) if p.name not in leave_out]
        own = [p for p in _parameters(command, types) if p.default is not p.empty]
        options = [*shared, *own]

        def run(**values: Any) -> None:
            asked = source(**{option.name: values.pop(option.name) for option in shared})
            command(**asked, **values)

        run.__name__, run.__doc__ = command.__name__, command.__doc__
        # Typer reads the options off these two.
        run.__signature__ = inspect.Signature(options)  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in options}
        return run

    return decorate


def _parameters(function: Callable[..., Any], types: Sequence[str]) -> list[inspect.Parameter]:
    unloaded = dict.fromkeys(types, Any)
    hints = get_type_hints(function, localns=unloaded, include_extras=True)
    return [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints[parameter.name])
        for parameter in inspect.signature(function).parameters.values()
    ]
