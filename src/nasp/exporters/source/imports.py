"""How a file calls what it does not define: names, literals, and the imports that they need."""

from __future__ import annotations

import builtins
import importlib.util
import math
import pkgutil
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx.immutable_collections import immutable_dict
from torch.overrides import resolve_name

from nasp.errors import UsageError
from nasp.exporters.source.layout import WIDTH, call, laid_out

_CONSTANTS = bool | int | float | torch.dtype | torch.memory_format | torch.layout
_MORE_THAN_ATTRIBUTES = (Tensor, ModuleType, tuple, list, dict, set, frozenset)


class Code(str):
    """Source that stands for a value."""

    __slots__ = ()


class Imports:
    """Collects what a file must import."""

    def __init__(self) -> None:
        # That nothing else in the file may be called: at first what every file uses itself.
        self.taken = {"Network", "load", "load_file", "network", "torch", "nn", "Tensor", "Path"}
        self.taken |= {"WEIGHTS", "self", "restored"}
        self.restores = False  # whether the file needs the function `restored`
        self._modules: dict[str, str] = {"torch": "torch"}  # by the names that they have
        self._names: dict[str, dict[str, str]] = {  # of each module, as they are called
            "pathlib": {"Path": "Path"},
            "safetensors.torch": {"load_file": "load_file"},
            "torch": {"nn": "nn"},
        }

    def reference(self, value: Any, where: str) -> str:
        """Return how the file calls a class or a function, needed somewhere in the network.

        Raises:
            UsageError: no import can reach it.
        """
        module = getattr(value, "__module__", None)
        name = str(getattr(value, "__qualname__", None) or getattr(value, "__name__", value))
        if known := _torch_name(value):
            return known
        if getattr(builtins, name, None) is value:
            return name
        if not module or not _is_reachable(module, name, value):
            raise UsageError(
                f"{where} needs {name} of {module or 'nowhere'}, which a file cannot import:"
                " put it at the top level of a module of its own, such as layers.py, and import"
                " it from there."
            )
        outer, dot, inner = name.partition(".")
        names = self._names.setdefault(module, {})
        if outer not in names:
            names[outer] = unused(outer, self.taken)
        return names[outer] + dot + inner

    def module(self, module: ModuleType, name: str) -> None:
        """Let the file call a module by a name."""
        if module is not nn:
            self._modules[name] = module.__name__
            self.taken.add(name)

    def bare(self, module: str, name: str) -> None:
        """Let the file call what a module has by its bare name."""
        self._names.setdefault(module, {})[name] = name
        self.taken.add(name)

    def lines(self) -> Iterator[str]:
        """Yield the file's import lines as isort does: of Python, of packages, of the user."""
        found = [(False, m, [""], f"import {_as(m, n)}") for n, m in self._modules.items()]
        for module, names in self._names.items():
            plain = sorted(name for name, here in names.items() if name == here)
            renamed = [[_as(*pair)] for pair in names.items() if pair[0] != pair[1]]
            for inside in filter(None, [plain, *renamed]):
                line = f"from {module} import {', '.join(inside)}"
                if len(line) > WIDTH:
                    line = "\n".join(laid_out(call(f"from {module} import ", inside), 0))
                found.append((True, module, inside, line))
        for section in range(3):
            here = [line for _, m, _, line in sorted(found) if _section(m) == section]
            yield from [*here, ""] if here else []

    def literal(self, value: Any, where: str) -> str:
        """Return a value as source.

        Raises:
            UsageError: it is of a kind that a source file cannot say.
        """
        kind = type(value)
        if isinstance(value, Code):
            return value
        if isinstance(value, float) and not math.isfinite(value):
            return f'float("{value}")'
        if isinstance(value, str):
            text = repr(value)
            return text if '"' in text else f'"{text[1:-1]}"'
        if value is None or isinstance(value, _CONSTANTS):
            return str(value)
        if value is Ellipsis:
            return "..."
        if isinstance(value, list) or kind in (tuple, torch.Size, set):
            inside = ", ".join(items := [self.literal(item, where) for item in value])
            if kind is set:
                return f"{{{', '.join(sorted(items))}}}" if items else "set()"
            is_list = isinstance(value, list)
            return f"[{inside}]" if is_list else f"({inside}{',' * (len(items) == 1)})"
        if kind in (dict, immutable_dict):
            pairs = [[self.literal(part, where) for part in pair] for pair in value.items()]
            return f"{{{', '.join(map(': '.join, pairs))}}}"
        if kind is slice:
            ends = (value.start, value.stop, value.step)
            return call("slice", [self.literal(end, where) for end in ends])
        if callable(value) and hasattr(value, "__name__"):
            return self.reference(value, where)
        if hasattr(value, "__dict__") and not isinstance(value, _MORE_THAN_ATTRIBUTES):
            given = [f"{name}={self.literal(each, where)}" for name, each in vars(value).items()]
            self.restores = True
            self.bare("typing", "Any")
            return call("restored", [self.reference(kind, where), *given])
        raise UsageError(
            f"{where} holds a {kind.__name__}, which a source file cannot say: export it"
            " with --to onnx or --to torch."
        )


def _as(name: str, here: str) -> str:
    return name if name == here else f"{name} as {here}"


def _section(module: str) -> int:
    """Return where isort puts a module: 0 for Python's own, 1 for installed ones, 2 for others."""
    top = module.partition(".")[0]
    if top in sys.stdlib_module_names:
        return 0
    spec = importlib.util.find_spec(top)
    place = f"{spec.origin} {spec.submodule_search_locations}" if spec else ""
    # Debian's are in dist-packages.
    return 1 if "site-packages" in place or "dist-packages" in place else 2


def _torch_name(value: Any) -> str | None:
    """Return how a file that imports torch and nn calls a part of torch."""
    name = getattr(value, "__name__", "")
    if not str(getattr(value, "__module__", None) or "torch").startswith("torch"):
        return None  # torch holds some of other modules' names, too
    for home in (nn, nn.functional, torch):
        if getattr(home, name, None) is value:
            return f"{home.__name__.removeprefix('torch.')}.{name}"
    is_function = callable(value) and not isinstance(value, type)
    resolved = str(resolve_name(value)) if is_function else ""
    return resolved if resolved.startswith("torch.") and "_C" not in resolved else None


def _is_reachable(module: str, name: str, value: Any) -> bool:
    try:
        found = pkgutil.resolve_name(f"{module}:{name}")
    except (ImportError, AttributeError, ValueError):  # the last where a function has it
        return False
    return found is value and module.partition(".")[0] not in ("__main__", "__mp_main__", "nasp")


def unused(name: str, taken: set[str], joint: str = "") -> str:
    """Return `name`, or the first of it with 2, 3, ... behind `joint`, and take it."""
    free, count = name, 1
    while free in taken:
        count += 1
        free = f"{name}{joint}{count}"
    taken.add(free)
    return free
