"""The source of a class."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import Tensor, nn

from nasp.exporters.source.classes import Written
from nasp.exporters.source.constructors import MISSING
from nasp.exporters.source.imports import Imports
from nasp.exporters.source.layout import INDENT, call, docstring, laid_out
from nasp.exporters.source.naming import summary
from nasp.exporters.source.shapes import Shapes

_BASES = {"sequence": "nn.Sequential", "list": "nn.ModuleList"}


def class_lines(
    written: Written, shapes: Shapes, imports: Imports, copied: Mapping[type[nn.Module], list[str]]
) -> Iterator[str]:
    """Yield the lines of a class.

    Args:
        written: the class.
        shapes: what was seen to go in and out.
        imports: knows the names of what is not defined in the file.
        copied: the methods of our own classes that are no graph.
    """
    part, shape = written.first, shapes.sentence(written)
    base = _BASES.get(part.kind, "nn.Module")
    if part.kind in ("call", "subclass"):
        base = imports.reference(type(part.module), written.name)
    yield f"class {written.name}({base}):"
    has_forward = part.kind in ("graph", "copied")
    yield from docstring([summary(part), *([shape] if shape and not has_forward else [])], 1)
    yield ""
    buffers = [n for n, t in part.items.items() if type(t) is Tensor]
    yield from [*(f"{INDENT}{name}: Tensor" for name in buffers), ""] if buffers else []
    signature = ["self"]
    for parameter in written.parameters:
        text = f"{parameter.text}: {parameter.annotation}"
        if parameter.default is not MISSING:
            text += f" = {imports.literal(parameter.default, written.name)}"
        signature.append(text)
    yield from laid_out(call("def __init__", signature) + " -> None:", 1)
    for statement in written.statements:
        yield from laid_out(statement, 2)
    yield from copied.get(type(part.module), ())
    if (forward := part.forward) is None:
        return
    types, result = shapes.types(written)
    types += ["Tensor"] * len(forward.parameters)
    signature = ["self"]
    for (name, default), kind in zip(forward.parameters.items(), types, strict=False):
        signature.append(f"{name}: {kind}" + (f" = {default}" if default else ""))
    yield ""
    yield from laid_out(call("def forward", signature) + f" -> {result}:", 1)
    yield from docstring([shape or "Run the module."], 2)
    for line in forward.lines[:-1]:
        yield from laid_out(line.strip(), 3 if line.startswith(INDENT) else 2)
    code = forward.lines[-1]
    yield from laid_out(code if forward.is_typed else f"out: {result} = {code[7:]}", 2)
    if not forward.is_typed:
        yield f"{INDENT * 2}return out"
