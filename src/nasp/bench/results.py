"""A results file that grows by one measurement at a time, and from which a second call goes on.

Shared by every `nasp bench` command. A measurement is a JSON value under a key that says what was
measured, such as ``"nasp, round 2"`` or ``"nasp, seed 3"``. `nasp.bench.harness` asks `missing`
for the keys it wants and has not, has them measured, and hands each to `add` or `fail`; after each
the file is written whole, so whatever ends the process loses the measurements under way alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from nasp.errors import NaspError, UsageError
from nasp.runs.files import write_text_atomic

FORMAT = 2
"""Of measurements; rises when a command reads other entries of them than before."""

OWN = ("format", "begun", "measurements")
"""What the file has beside the report."""

Measurements = Mapping[str, Any]
Summarise = Callable[[Measurements], Mapping[str, Any]]


class Results:
    """Measurements by key, kept in a JSON file.

    The file is an object: what `summarise` makes of the measurements, then ``bench``,
    ``settings``, ``failed`` (a list of what could not be measured and why; empty where all could),
    and what `OWN` names.

    Args:
        path: the file; taken up where it exists. None: nothing is written.
        bench: which command's results these are.
        settings: what all measurements have in common; JSON values. What may differ from call to
            call (which rows, how many seeds) belongs into the keys instead: then a file can grow.
        summarise: from the measurements so far, in the order in which they were made, to the
            report's own entries, such as ``rows``.
        go_on: how a command that was stopped goes on; default the same command, where there is a
            file.
        one_machine: refuse measurements of another machine than that of those before.

    Attributes:
        measurements: key -> value.
        failed: key -> why it could not be measured; empty at the start, so that what failed in an
            earlier call is tried again.

    Raises:
        UsageError: the file holds something else, or results of other settings.
        NaspError: the file is damaged.
    """

    def __init__(
        self,
        path: Path | None,
        bench: str,
        settings: Mapping[str, Any],
        summarise: Summarise,
        go_on: str | None = None,
        one_machine: bool = False,
    ) -> None:
        self.path = path
        self.bench = bench
        self.settings: dict[str, Any] = json.loads(json.dumps(settings))
        self.measurements: dict[str, Any] = {}
        self.failed: dict[str, str] = {}
        self._summarise = summarise
        self._go_on = go_on
        self._one_machine = one_machine
        self._begun: dict[str, int] = {}
        if path is not None and path.exists():
            self.measurements = self._kept(path)

    def missing(self, keys: Iterable[str]) -> list[str]:
        """Return those of the keys that are neither measured nor failed, each once, in order."""
        known = self.measurements.keys() | self.failed.keys()
        return [key for key in dict.fromkeys(keys) if key not in known]

    def begin(self, key: str) -> None:
        """Keep a place for a measurement: whichever ends first, they stand as they begun.

        So they do where one was stopped, and begins again in a later call.
        """
        self._begun.setdefault(key, len(self._begun))

    def add(self, key: str, value: Any) -> None:
        """Keep a measurement, and write the file.

        Raises:
            NaspError: the file cannot be written, or the measurement is another machine's.
        """
        kept = json.loads(json.dumps(value))
        if self._one_machine and machines(self.measurements) not in ([], machines({key: kept})):
            raise NaspError(
                f"{self.path} was measured on another machine, or with other versions or threads:"
                " its figures cannot be compared with this one's; give another file."
            )
        self.failed.pop(key, None)
        self.measurements[key] = kept
        # Those of earlier calls come first.
        in_order = sorted(self.measurements.items(), key=lambda item: self._begun.get(item[0], -1))
        self.measurements = dict(in_order)
        self._write()

    def fail(self, key: str, reason: str) -> None:
        """Note that something cannot be measured, in one sentence, and write the file.

        Raises:
            NaspError: the file cannot be written.
        """
        self.failed[key] = reason
        self._write()

    def report(self) -> dict[str, Any]:
        """Return the report, as the file has it but for the measurements."""
        return {
            **self._summarise(self.measurements),
            "bench": self.bench,
            "settings": self.settings,
            "failed": [{"name": key, "reason": reason} for key, reason in self.failed.items()],
        }

    def raise_failures(self) -> None:
        """Raise one sentence about all that failed, where anything did: the end of a command.

        Raises:
            NaspError: exit code 1.
        """
        if self.failed:
            by_reason: dict[str, list[str]] = {}
            for key, why in self.failed.items():
                by_reason.setdefault(why.rstrip("."), []).append(key)
            reasons = "; ".join(f"{', '.join(keys)}: {why}" for why, keys in by_reason.items())
            raise NaspError(f"{len(self.failed)} could not be measured ({reasons}).")

    def stopped(self, left: int) -> str:
        """Return the sentence with which a command ends that was stopped with so many to go."""
        to_go = f"Stopped with {left} measurement{'s' * (left != 1)} to go"
        if self.path is None:
            return f"{to_go}; with --json FILE it could have gone on."
        return f"{to_go}: {self._go_on or 'the same command'} goes on ({self.path})."

    def _write(self) -> None:
        if self.path is not None:
            own = (FORMAT, list(self._begun), self.measurements)
            whole = {**self.report(), **dict(zip(OWN, own, strict=True))}
            write_text_atomic(self.path, json.dumps(whole, indent=2) + "\n")

    def _kept(self, path: Path) -> dict[str, Any]:
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise NaspError(
                f"{path} cannot be read as results ({error}): remove it, or give another file."
            ) from error
        kept = content.get("measurements") if isinstance(content, dict) else None
        if not isinstance(kept, dict) or content.get("bench") != self.bench:
            raise UsageError(f"{path} holds no results of this command: give another file.")
        if content.get("format") != FORMAT:
            raise UsageError(f"{path} was written by another version of nasp: give another file.")
        settings = content.get("settings")
        if settings != self.settings:
            raise UsageError(
                f"{path} holds results of other settings ({_difference(settings, self.settings)}):"
                " give those, or another file."
            )
        self._begun = {key: place for place, key in enumerate(content.get("begun", kept))}
        return kept


def machines(measurements: Measurements) -> list[dict[str, Any]]:
    """Return what measurements that have a ``sample`` with a ``machine`` ran on, each once."""
    found: list[dict[str, Any]] = []
    for value in measurements.values():
        if "sample" in value and value["sample"]["machine"] not in found:
            found.append(value["sample"]["machine"])
    return found


def _difference(theirs: Any, ours: Mapping[str, Any]) -> str:
    """Name the first setting in which a file and a call differ."""
    if not isinstance(theirs, dict):
        return "none are said"
    absent = object()
    name = next(n for n in {**ours, **theirs} if theirs.get(n, absent) != ours.get(n, absent))
    return f"{name} {json.dumps(theirs.get(name))}, not {json.dumps(ours.get(name))}"
