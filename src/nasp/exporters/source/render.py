"""The source of a class."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from torch import nn

from nasp.exporters.source.constructors import MISSING
from nasp.exporters.source.imports import Imports
from nasp.exporters.source.layout import INDENT, call, docstring, laid_out
from nasp.exporters.source.naming import summary
from nasp.exporters.source.patterns import Written
from nasp.exporters.source.shapes import Shapes

_BASES = {"sequence": "nn.Sequential", "list": "nn.ModuleList"}


def class_lines(
    written: Written,
    shapes: Shapes,
    imports: Imports,
    copied: Mapping[type[nn.Module], list[str]],
    then: Iterable[str] = (),
) -> Iterator[str]:
    """Yield the lines of a class.

    Args:
        written: the class.
        shapes: what was seen to go in and out.
        imports: knows the names of what is not defined in the file.
        copied: the methods of our own classes that are no graph.
        then: statements at the end of its constructor.
    """
    part = written.first
    base = _BASES.get(part.kind, "nn.Module")
    if part.kind in ("call", "subclass"):
        base = imports.reference(type(part.module), written.name)
    yield f"class {written.name}({base}):"
    shape = shapes.sentence(written)
    in_forward = part.kind in ("graph", "copied") or not shape
    yield from docstring([summary(part)] + ([] if in_forward else [str(shape)]), 1)
    yield ""
    buffers = [n for n, t in part.tensors.items() if not isinstance(t, nn.Parameter)]
    yield from [*(f"{INDENT}{name}: Tensor" for name in buffers), ""] if buffers else []
    signature = ["self"]
    for parameter in written.parameters:
        text = f"{parameter.text}: {parameter.annotation}"
        if parameter.default is not MISSING:
            text += f" = {imports.literal(parameter.default, written.name)}"
        signature.append(text)
    yield from laid_out(call("def __init__", signature) + " -> None:", 1)
    for statement in [*written.statements, *then]:
        yield from laid_out(statement, 2)
    if part.kind == "copied":
        yield from copied[type(part.module)]
    if part.kind == "graph":
        yield ""
        yield from _forward_lines(written, shapes, shape or "Run the module.")


def _forward_lines(written: Written, shapes: Shapes, sentence: str) -> Iterator[str]:
    forward = written.first.forward
    assert forward is not None
    types, result = shapes.types(written)
    signature = ["self"]
    for index, (name, default) in enumerate(forward.parameters.items()):
        kind = types[index] if index < len(types) else "Tensor"
        signature.append(f"{name}: {kind}" if default is None else f"{name}: {kind} = {default}")
    yield from laid_out(call("def forward", signature) + f" -> {result}:", 1)
    yield from docstring([sentence], 2)
    *lines, last = forward.lines
    for line in lines:
        yield from laid_out(line.strip(), 3 if line.startswith(INDENT) else 2)
    if forward.is_typed:
        yield from laid_out(last, 2)
    else:
        yield from laid_out(last.replace("return", f"out: {result} =", 1), 2)
        yield f"{INDENT * 2}return out"
