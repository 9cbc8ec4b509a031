"""How a file calls what it does not define: names, literals, and the imports that they need."""

from __future__ import annotations

import builtins
import importlib
import importlib.util
import math
import sys
from types import ModuleType
from typing import Any

import torch
from torch import nn
from torch.overrides import resolve_name

from nasp.errors import UsageError
from nasp.exporters.source.layout import WIDTH, Bracket, Code

RESERVED = frozenset(
    {"Network", "load", "load_file", "network", "torch", "nn", "Tensor", "Path", "self"}
)
"""Names that every exported file uses itself."""


class Imports:
    """Collects what a file must import.

    Attributes:
        lines: module -> the names that are imported from it.
        modules: name in the file -> the module that it is.
        taken: names that nothing else in the file may have.
    """

    def __init__(self) -> None:
        self.lines: dict[str, set[str]] = {}
        self.modules: dict[str, str] = {"torch": "torch"}
        self.taken: set[str] = set(RESERVED)
        self._references: dict[int, tuple[Any, str]] = {}

    def reference(self, value: Any, where: str) -> str:
        """Return how the file calls a class or a function.

        Args:
            value: the class or function.
            where: where in the network it is needed, for the error's sentence.

        Raises:
            UsageError: no import can reach it.
        """
        known = _torch_name(value)
        if known is not None:
            return known
        if id(value) not in self._references:
            self._references[id(value)] = (value, self._imported(value, where))
        return self._references[id(value)][1]

    def module(self, module: ModuleType, name: str) -> None:
        """Let the file call a module by a name."""
        if module not in (torch, nn):
            self.modules[name] = module.__name__
            self.taken.add(name)

    def bare(self, module: str, name: str) -> None:
        """Let the file call what a module has by its bare name."""
        self.lines.setdefault(module, set()).add(name)
        self.taken.add(name)

    def sections(self, names: dict[str, set[str]]) -> list[list[str]]:
        """Return the file's import lines, with others: of Python, of packages, of the user.

        Args:
            names: module -> names that the file imports itself; a module without names is
                imported whole.
        """
        wanted = {module: set(found) for module, found in names.items()}
        for module, found in self.lines.items():
            wanted.setdefault(module, set()).update(found)
        whole = [(m, f"import {m}") for m, found in wanted.items() if not found]
        for name, module in self.modules.items():
            whole.append((module, f"import {module}" + ("" if name == module else f" as {name}")))
        parts = [(m, _from(m, sorted(found))) for m, found in wanted.items() if found]
        sections: list[list[str]] = [[], [], []]
        for module, line in [*sorted(whole), *sorted(parts)]:
            sections[_section(module)].append(line)
        return [section for section in sections if section]

    def literal(self, value: Any, where: str) -> Code:
        """Return a value as source.

        Raises:
            UsageError: it is of a kind that a source file cannot say.
        """
        if isinstance(value, float) and not math.isfinite(value):
            return f'float("{value}")'
        if isinstance(value, str):
            return _string(value)
        if value is None or isinstance(value, bool | int | float):
            return repr(value)
        if isinstance(value, torch.dtype | torch.memory_format | torch.layout):
            return str(value)
        if value is Ellipsis:
            return "..."
        if isinstance(value, tuple) and type(value) in (tuple, torch.Size):
            return sequence("(", [self.literal(item, where) for item in value], ")")
        if isinstance(value, list) and hasattr(value, "append"):
            return sequence("[", [self.literal(item, where) for item in value], "]")
        if type(value) is dict:
            pairs = [
                f"{self.literal(key, where)}: {self.literal(item, where)}"
                for key, item in value.items()
            ]
            return Bracket("{", tuple(pairs), "}")
        if callable(value):
            return self.reference(value, where)
        raise UsageError(
            f"{where} holds a {type(value).__name__}, which a source file cannot say: export it"
            " with --to onnx or --to torch."
        )

    def _imported(self, value: Any, where: str) -> str:
        module = getattr(value, "__module__", None)
        name = getattr(value, "__qualname__", None) or getattr(value, "__name__", None)
        if module == "builtins" and getattr(builtins, str(name), None) is value:
            return str(name)
        if not module or not name or not _is_reachable(module, name, value):
            raise UsageError(
                f"{where} needs {name or repr(value)} of {module or 'nowhere'}, which a file"
                " cannot import: put it at the top level of a module of its own, such as"
                " layers.py, and import it from there."
            )
        outer, _, rest = name.partition(".")
        if outer in self.taken and outer not in self.lines.get(module, ()):
            raise UsageError(
                f"{where} needs {name} of {module}, and the file already uses the name {outer}:"
                " give it another."
            )
        self.lines.setdefault(module, set()).add(outer)
        self.taken.add(outer)
        return f"{outer}.{rest}" if rest else outer


def _from(module: str, names: list[str]) -> str:
    line = f"from {module} import {', '.join(names)}"
    if len(line) <= WIDTH:
        return line
    return "\n".join([f"from {module} import (", *(f"    {name}," for name in names), ")"])


def _section(module: str) -> int:
    """Return where isort puts a module: 0 for Python's own, 1 for installed ones, 2 for others."""
    top = module.partition(".")[0]
    if top in sys.stdlib_module_names:
        return 0
    spec = importlib.util.find_spec(top)
    places = [spec.origin or "", *(spec.submodule_search_locations or ())] if spec else []
    return 1 if any("site-packages" in place for place in places) else 2


def sequence(opening: str, items: list[Code], closing: str) -> Code:
    """Return a tuple or a list of expressions."""
    if opening == "(" and len(items) == 1:
        return f"({items[0]},)"
    return Bracket(opening, tuple(items), closing)


def _string(value: str) -> str:
    quoted = repr(value)
    if '"' in value or quoted[0] == '"':
        return quoted
    return f'"{quoted[1:-1]}"'


def _torch_name(value: Any) -> str | None:
    """Return how a file that imports torch and nn calls a part of torch."""
    name = getattr(value, "__name__", "")
    home = getattr(value, "__module__", None)
    if isinstance(home, str) and not home.startswith("torch"):
        return None  # torch holds some of other modules' names, too
    if isinstance(value, type) and getattr(nn, name, None) is value:
        return f"nn.{name}"
    if getattr(nn.functional, name, None) is value:
        return f"nn.functional.{name}"
    if getattr(torch, name, None) is value:
        return f"torch.{name}"
    resolved = resolve_name(value) if callable(value) and not isinstance(value, type) else None
    if isinstance(resolved, str) and resolved.startswith("torch.") and "_C" not in resolved:
        return resolved
    return None


def _is_reachable(module: str, name: str, value: Any) -> bool:
    if module in ("__main__", "__mp_main__") or module.partition(".")[0] == "nasp":
        return False
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError):
        return False
    return found is value


def unused(name: str, taken: set[str], joint: str = "") -> str:
    """Return `name`, or the first of it with 2, 3, ... behind `joint`, and take it."""
    free, count = name, 1
    while free in taken:
        count += 1
        free = f"{name}{joint}{count}"
    taken.add(free)
    return free
