"""The source of our own modules that are no graph, and of what they need beside themselves.

A recurrent layer loops over time steps, which a graph cannot say. Its class is written with the
methods as they stand in nasp, and the functions, classes and constants that they use with it.
"""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from collections.abc import Iterable
from types import ModuleType
from typing import Any

from torch import Tensor, nn

from nasp.exporters.source.imports import Imports


class Copied:
    """Copies the methods of classes, all but the constructors, and what they use.

    Attributes:
        methods: of each class, their lines.
        helpers: the source of what the methods use, each part after those that it uses.
    """

    def __init__(self, classes: Iterable[type[nn.Module]], imports: Imports) -> None:
        self.helpers: list[list[str]] = []
        self.methods: dict[type[nn.Module], list[str]] = {kind: [] for kind in classes}
        self._imports = imports
        self._known: list[Any] = [nn, Tensor, *self.methods]
        for kind, lines in self.methods.items():
            for name, method in vars(kind).items():
                if inspect.isfunction(method) and name not in ("__init__", "extra_repr"):
                    lines += ["", *self._source(method)]

    def _source(self, value: Any) -> list[str]:
        """Return a definition's lines, and let its names mean in the file what they do in nasp."""
        source = inspect.getsource(value)
        nodes = ast.walk(ast.parse(textwrap.dedent(source)))
        values = vars(sys.modules[value.__module__])
        for name in dict.fromkeys(node.id for node in nodes if isinstance(node, ast.Name)):
            meant = values.get(name)  # None for a local one, or a builtin
            if meant is None or any(meant is known for known in self._known):
                continue
            self._known.append(meant)
            home = getattr(meant, "__module__", None)
            if isinstance(meant, ModuleType):
                self._imports.module(meant, name)
            elif home is not None and not home.startswith("nasp."):
                self._imports.bare(home, name)
            else:
                self._imports.taken.add(name)
                is_code = callable(meant)
                lines = (
                    self._source(meant)
                    if is_code
                    else [f"{name} = {self._imports.literal(meant, name)}"]
                )
                self.helpers.append(lines)
        return source.splitlines()
