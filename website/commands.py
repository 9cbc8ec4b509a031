"""The reference of the commands, written from the commands themselves."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterator
from typing import Any
from unittest import mock

import typer

PLAIN = {"COLUMNS": "80"}
"""A terminal in which help has no markup."""


def commands_page() -> str:
    """Return a section in Markdown for each command: what it does, its options, examples."""
    with mock.patch.dict(os.environ, PLAIN):
        from nasp.cli import app

        return "\n".join(_section(*each) for each in _commands(typer.main.get_command(app), "nasp"))


def _commands(group: Any, name: str) -> Iterator[tuple[str, Any]]:
    for each, command in group.commands.items():
        called = f"{name} {each}"
        if hasattr(command, "commands"):
            yield from _commands(command, called)
        else:
            # Its options are made when it is first asked for.
            yield called, command.make_context(called, [], resilient_parsing=True)


def _section(name: str, context: Any) -> str:
    command = context.command
    about, _, examples = command.help.partition("\n\nExamples:")
    records = [(p.param_type_name, p.get_help_record(context)) for p in command.get_params(context)]
    usage = " ".join([name, *command.collect_usage_pieces(context)])
    parts = [f"## {name}", about, _fence(usage)]
    for kind in ("argument", "option"):
        rows = [
            f"| `{left}` | {_cell(right)} |"
            for k, r in records
            if r and k == kind
            for left, right in [r]
        ]
        if rows:
            parts.append("\n".join([f"| {kind} | meaning |", "|---|---|", *rows]))
    lines = [line for line in textwrap.dedent(examples).splitlines() if line.strip()]
    parts.append(_fence("\n".join(lines)))
    return "\n\n".join(parts) + "\n"


def _fence(text: str) -> str:
    return f"```text\n{text}\n```"


def _cell(text: str) -> str:
    for mark in "\\|<*_`":
        text = text.replace(mark, f"&#{ord(mark)};")
    return text
