"""The source of our own modules that are no graph, and of what they need beside themselves.

A recurrent layer loops over time steps, which a graph cannot say. Its class is written with the
methods as they stand in nasp, and the functions, classes and constants that they use with it.
"""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from collections.abc import Iterable, Iterator
from functools import lru_cache
from types import ModuleType

from torch import Tensor, nn

from nasp.exporters.source.imports import Imports

_KNOWN: dict[int, str] = {id(nn): "nn", id(Tensor): "Tensor"}
"""What every file imports by these names."""

Definition = ast.ClassDef | ast.FunctionDef | ast.Assign | ast.AnnAssign


class Copied:
    """Copies methods and what they use.

    Args:
        classes: the classes of the modules that are written with a constructor of their own.
        imports: told what the copies need, and which names they take.

    Attributes:
        helpers: the source of what the methods use, each part after those that it uses.
    """

    def __init__(self, classes: Iterable[type[nn.Module]], imports: Imports) -> None:
        self.helpers: list[list[str]] = []
        self._imports = imports
        self._seen: set[tuple[str, str]] = set()
        self._classes = tuple(dict.fromkeys(classes))
        self._methods = {kind: list(self._body(kind)) for kind in self._classes}

    def methods(self, kind: type[nn.Module]) -> list[str]:
        """Return the lines of a class's methods, without its constructor."""
        return self._methods[kind]

    def _body(self, kind: type[nn.Module]) -> Iterator[str]:
        module = sys.modules[kind.__module__]
        for node in _definitions(module)[kind.__name__].body:  # type: ignore[union-attr]
            if isinstance(node, ast.FunctionDef) and node.name not in ("__init__", "extra_repr"):
                self._follow(node, module)
                yield ""
                yield from _lines(module, node)

    def _follow(self, node: ast.AST, module: ModuleType) -> None:
        """See to it that all names of a definition mean in the file what they mean in nasp."""
        for name in dict.fromkeys(n.id for n in ast.walk(node) if isinstance(n, ast.Name)):
            if name not in vars(module):
                continue  # a local one, or a builtin
            value = vars(module)[name]
            if id(value) in _KNOWN or value in self._classes:
                continue
            home = getattr(value, "__module__", None)
            is_constant = home is None or name not in vars(sys.modules.get(home, module))
            if isinstance(value, ModuleType):
                self._imports.module(value, name)
            elif is_constant or str(home).startswith("nasp."):
                self._help(name, module if is_constant else sys.modules[str(home)])
            else:
                self._imports.bare(_origin(module, name).__name__, name)

    def _help(self, name: str, module: ModuleType) -> None:
        definitions = _definitions(module)
        if name not in definitions:  # a constant that the module has from another one
            module = _origin(module, name)
            definitions = _definitions(module)
        if (module.__name__, name) in self._seen:
            return
        self._seen.add((module.__name__, name))
        node = definitions[name]
        self._follow(node, module)
        self._imports.taken.add(name)
        self.helpers.append(_lines(module, node))


def _origin(module: ModuleType, name: str) -> ModuleType:
    """Return the module from which another one imports a name."""
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.ImportFrom) and name in {alias.name for alias in node.names}:
            return sys.modules[str(node.module)]
    raise LookupError(f"{name} of {module.__name__}")


@lru_cache(maxsize=8)
def _definitions(module: ModuleType) -> dict[str, Definition]:
    """Return what a module defines at its top level, by name."""
    found: dict[str, Definition] = {}
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            found[node.name] = node
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found[node.targets[0].id] = node
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found[node.target.id] = node
    return found


def _lines(module: ModuleType, node: Definition) -> list[str]:
    """Return the source lines of a definition, with its decorators."""
    decorators = getattr(node, "decorator_list", [])
    first = min([node.lineno, *(decorator.lineno for decorator in decorators)])
    lines = inspect.getsource(module).splitlines()[first - 1 : node.end_lineno]
    return lines if node.col_offset else textwrap.dedent("\n".join(lines)).splitlines()
