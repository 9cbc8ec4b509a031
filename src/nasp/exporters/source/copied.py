"""The source of our own modules that are no graph, and of what they need beside themselves.

A recurrent layer loops over time steps, which a graph cannot say. Its class is written with the
methods as they stand in nasp, and the functions, classes and constants that they use with it.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterable
from types import ModuleType
from typing import Any

from torch import Tensor, nn

from nasp.exporters.source.imports import Imports


class Copied:
    """Copies methods and what they use.

    Args:
        classes: the classes of the modules that are written with a constructor of their own.
        imports: told what the copies need, and which names they take.

    Attributes:
        methods: of each class, the lines of all but its constructor.
        helpers: the source of what the methods use, each part after those that it uses.
    """

    def __init__(self, classes: Iterable[type[nn.Module]], imports: Imports) -> None:
        self.helpers: list[list[str]] = []
        self._imports = imports
        self._known: list[Any] = [nn, Tensor, *dict.fromkeys(classes)]
        self.methods = {kind: self._methods(kind) for kind in self._known[2:]}

    def _methods(self, kind: type[nn.Module]) -> list[str]:
        source = inspect.getsource(kind)
        lines, found = source.splitlines(), []
        for node in ast.parse(source).body[0].body:  # type: ignore[attr-defined]
            if isinstance(node, ast.FunctionDef) and node.name not in ("__init__", "extra_repr"):
                self._follow(node, kind)
                start = min([node.lineno, *(above.lineno for above in node.decorator_list)])
                found += ["", *lines[start - 1 : node.end_lineno]]
        return found

    def _follow(self, node: ast.AST, owner: Any) -> None:
        """See to it that all names of a definition mean in the file what they mean in nasp."""
        values = vars(sys.modules[owner.__module__])
        for name in dict.fromkeys(n.id for n in ast.walk(node) if isinstance(n, ast.Name)):
            value = values.get(name)  # None for a local one, or a builtin
            if value is None or any(value is known for known in self._known):
                continue
            self._known.append(value)
            home = getattr(value, "__module__", None)
            if isinstance(value, ModuleType):
                self._imports.module(value, name)
            elif home is not None and not home.startswith("nasp."):
                self._imports.bare(home, name)
            else:
                self._imports.taken.add(name)
                if callable(value):
                    code = inspect.getsource(value)
                    self._follow(ast.parse(code), value)
                else:
                    code = f"{name} = {self._imports.literal(value, name)}"
                self.helpers.append(code.splitlines())
