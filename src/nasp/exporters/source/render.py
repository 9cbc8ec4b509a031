"""The source of a file, from its classes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from torch import Tensor, nn

from nasp.exporters.source.copied import Copied
from nasp.exporters.source.expressions import (
    MISSING,
    Container,
    Expression,
    Hole,
    Item,
    Make,
    Row,
    Written,
)
from nasp.exporters.source.imports import Imports
from nasp.exporters.source.layout import (
    INDENT,
    Bracket,
    Code,
    call,
    docstring,
    fits,
    laid_out,
    prefixed,
)
from nasp.exporters.source.naming import summary
from nasp.exporters.source.shapes import Shapes
from nasp.exporters.source.statements import Assign, Each, Return

_REPEATED = 3
"""How often a module must stand in a row to be written once."""


class Renderer:
    """Writes classes as source.

    Args:
        imports: knows the names of what is not defined in the file.
        shapes: what was seen to go in and out.
        copied: has the methods of our own modules that are no graph.
    """

    def __init__(self, imports: Imports, shapes: Shapes, copied: Copied) -> None:
        self.imports = imports
        self.shapes = shapes
        self.copied = copied

    def written(self, written: Written, then: Sequence[str] = ()) -> Iterator[str]:
        """Yield the lines of a class; its constructor ends with the statements `then`."""
        block = written.first
        yield f"class {written.name}({self._base(written)}):"
        has_forward = block.kind in ("graph", "copied")
        shape = self.shapes.sentence(written)
        yield from docstring([summary(block)] + ([shape] if shape and not has_forward else []), 1)
        yield ""
        buffers = [n for n, t in block.tensors.items() if not isinstance(t, nn.Parameter)]
        if buffers:
            yield from (f"{INDENT}{name}: Tensor" for name in buffers)
            yield ""
        yield from self._constructor(written)
        yield from (INDENT * 2 + statement for statement in then)
        if block.kind == "copied":
            yield from self.copied.methods(type(block.module))
        if block.kind == "graph":
            yield ""
            yield from self._forward(written, shape or "Run the module.")

    def _base(self, written: Written) -> str:
        block = written.first
        if block.kind in ("call", "subclass"):
            return self.imports.reference(type(block.module), written.name)
        return {"sequence": "nn.Sequential", "list": "nn.ModuleList"}.get(block.kind, "nn.Module")

    def _constructor(self, written: Written) -> Iterator[str]:
        signature: list[Code] = ["self"]
        for parameter in written.parameters:
            text = f"{parameter.name}: {parameter.annotation}"
            if parameter.default is not MISSING:
                text += f" = {self.imports.literal(parameter.default, written.name)}"
            signature.append(text)
        yield from laid_out(Bracket("def __init__(", tuple(signature), ") -> None:"), 1)
        block = written.first
        if block.kind == "call":
            yield from laid_out(self._call("super().__init__", written.arguments), 2)
            return
        if block.kind in ("sequence", "list"):
            items = self._items(list(written.body.values()), "*")
            if block.kind == "list":
                items = [Bracket("[", tuple(items), "]")]
            yield from laid_out(call("super().__init__", items), 2)
            return
        if block.kind == "subclass":
            base = self._base(written)
            yield f"{INDENT * 2}nn.Module.__init__(self)  # not {base}'s own: the parts are given"
        else:
            yield f"{INDENT * 2}super().__init__()"
        for name, value in written.attributes.items():
            yield from laid_out(self._set(name, self.code(value), ""), 2)
        for name, expression in written.body.items():
            yield from laid_out(self._set(name, self.code(expression), "module"), 2)
        for name, sizes in written.sizes.items():
            yield from self._tensor(name, block.tensors[name], [self.code(s) for s in sizes])

    def _set(self, name: str, code: Code, kind: str) -> Code:
        if name.isidentifier():
            return prefixed(f"self.{name} = ", code)
        return call(f"self.add_{kind}", [f'"{name}"', code])

    def _tensor(self, name: str, tensor: Tensor, sizes: list[Code]) -> Iterator[str]:
        named: list[tuple[str, Code]] = []
        if not tensor.is_floating_point():
            named = [("dtype", str(tensor.dtype))]
        if not sizes:
            sizes = ["()"]
        empty = call("torch.empty", sizes, named)
        if isinstance(tensor, nn.Parameter):
            frozen: list[tuple[str, Code]] = [("requires_grad", "False")]
            made = call("nn.Parameter", [empty], [] if tensor.requires_grad else frozen)
            yield from laid_out(
                prefixed(f"self.{name} = ", made)
                if name.isidentifier()
                else call("self.register_parameter", [f'"{name}"', made]),
                2,
            )
        else:
            yield from laid_out(call("self.register_buffer", [f'"{name}"', empty]), 2)

    def _forward(self, written: Written, sentence: str) -> Iterator[str]:
        forward = written.first.forward
        assert forward is not None
        types, result = self.shapes.types(written)
        signature: list[Code] = ["self"]
        for index, (name, default) in enumerate(forward.parameters.items()):
            kind = types[index] if index < len(types) else "Tensor"
            text = f"{name}: {kind}" if default is None else f"{name}: {kind} = {default}"
            signature.append(text)
        yield from laid_out(Bracket("def forward(", tuple(signature), f") -> {result}:"), 1)
        yield from docstring([sentence], 2)
        unused = [name for name in forward.parameters if name not in forward.read]
        if unused:
            yield f"{INDENT * 2}del {', '.join(name.lstrip('*') for name in unused)}"
        for statement in forward.statements:
            if isinstance(statement, Assign):
                yield from laid_out(prefixed(f"{statement.target} = ", statement.code), 2)
            elif isinstance(statement, Each):
                yield f"{INDENT * 2}for {statement.item} in {statement.items}:"
                yield from laid_out(prefixed(f"{statement.target} = ", statement.code), 3)
            else:
                yield from self._return(statement, result, list(forward.parameters))

    def _return(self, statement: Return, result: str, parameters: list[str]) -> Iterator[str]:
        code = statement.code
        is_torch = str(code).startswith(("torch.", "nn.functional."))
        is_several = isinstance(code, Bracket) and code.opening in ("(", "[", "{")
        if is_torch or is_several or code in parameters:
            if isinstance(code, Bracket) and code.opening == "(":
                flat = ", ".join(map(str, code.items))
                code = flat if fits(f"return {flat}", 2) else code
            yield from laid_out(prefixed("return ", code), 2)
            return
        yield from laid_out(prefixed(f"out: {result} = ", code), 2)
        yield f"{INDENT * 2}return out"

    def code(self, expression: Expression) -> Code:
        """Return an expression as source."""
        match expression:
            case Hole():
                return expression.text
            case Row():
                return Bracket("(", tuple(map(self.code, expression.items)), ")")
            case Container():
                if expression.kind == "sequence":
                    return call("nn.Sequential", self._items(expression.items, "*"))
                items = self._items(expression.items, "*")
                if len(items) == 1 and str(items[0]).startswith("*["):
                    return call("nn.ModuleList", [str(items[0])[1:]])
                return call("nn.ModuleList", [Bracket("[", tuple(items), "]")])
            case Make():
                maker = expression.maker
                name = (
                    maker.name
                    if isinstance(maker, Written)
                    else self.imports.reference(maker, "a module")
                )
                return self._call(name, expression.items)

    def _call(self, function: str, items: list[Item]) -> Code:
        positional: list[Code] = []
        named: list[tuple[str, Code]] = []
        for item in items:
            if _is_default(item):
                continue
            code = self.code(item.value)
            if item.by_name or named or item.default is not MISSING:
                named.append((item.name, code))
            else:
                positional.append(code)
        return call(function, positional, named)

    def _items(self, expressions: list[Expression], star: str) -> list[Code]:
        """Return the items of a list of modules; equal ones in a row as one comprehension."""
        found: list[Code] = []
        codes = [self.code(expression) for expression in expressions]
        for text, run in groupby(codes, key=str):
            same = list(run)
            repeated = f"{star}[{text} for _ in range({len(same)})]"
            is_short = fits(f"{repeated},", 4)
            if len(same) >= _REPEATED and is_short:
                found.append(repeated)
            else:
                found += same
        return found


def _is_default(item: Item) -> bool:
    value: Any = item.value
    if not isinstance(value, Hole) or not value.is_constant:
        return False
    first = value.values[0]
    return type(first) is type(item.default) and bool(first == item.default)
