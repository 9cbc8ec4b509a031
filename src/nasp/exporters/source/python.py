"""Export as a source file of plain PyTorch, with its weights in a safetensors file beside it."""

from __future__ import annotations

import copy
import re
import types
from collections.abc import Iterator, Mapping
from dataclasses import is_dataclass
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn
from torchvision.ops import StochasticDepth

from nasp.errors import NaspError, UsageError
from nasp.exporters.examples import Example, same
from nasp.exporters.service import OWN_NAMES, Service, predict_all, service_bodies
from nasp.exporters.source.classes import Written, classes_of
from nasp.exporters.source.constructors import MISSING
from nasp.exporters.source.copied import Copied
from nasp.exporters.source.imports import Code, Imports
from nasp.exporters.source.layout import INDENT, call, docstring, laid_out
from nasp.exporters.source.naming import summary
from nasp.exporters.source.parts import Part, joined, part_of
from nasp.exporters.source.shapes import Shapes
from nasp.training.batches import mapped

_RESTORED = '''def restored(kind: Any, /, **attributes: Any) -> Any:
    """Return an object of a class with these attributes, without its constructor."""
    value = kind.__new__(kind)
    vars(value).update(attributes)
    return value'''

_LOAD = '''def load(path: str | Path = WEIGHTS) -> Network:
    """Return the network with the weights of a file, ready to predict."""
    network = {}
    network.load_state_dict(load_file(path))
    return network.eval()'''

_COUNT = """    count = sum(weight.numel() for weight in network.parameters())
    print(f"{count:,} parameters")"""


def python_source(
    network: nn.Module, example: Example, about: str = "", service: Service | None = None
) -> tuple[list[bytes], float]:
    """Return a network as source that computes the same, bit by bit, and its weights.

    Modules of nasp's spaces and of `Found.build` are written out; torch's own are called; a
    user's own class is imported, so it must stand at the top level of a module.

    Args:
        network: a plain module.
        example: arguments of its forward, to see shapes and to compare the results.
        about: said in the module's docstring, such as the genotype.
        service: how it is used on files: the file then has a function ``predict``.

    Raises:
        UsageError: a module cannot be written to a file.
        NaspError: the source does not compute the same.
    """
    imports = Imports()
    imports.taken |= OWN_NAMES if service else set()
    root = part_of(network, imports)
    parts = list(root.walk())
    copied = Copied([type(p.module) for _, p in parts if p.kind == "copied"], imports)
    shapes = Shapes(network, example)
    classes = classes_of(root, imports)
    classes[-1].statements += _ties(root)
    tensors = {joined(place, n): t for place, part in parts for n, t in part.tensors.items()}
    dtype = _float_type(network)
    bodies = copied.helpers + [[*_class_lines(c, shapes, imports, copied.methods)] for c in classes]
    if imports.restores:
        bodies.insert(0, _RESTORED.splitlines())
    bodies.append([_LOAD.format("Network()" if dtype is None else f"Network().to({dtype})")])
    bodies += service_bodies(service, imports) if service else []
    bodies.append([*_main(network, example, imports), *(predict_all() if service else ())])
    text = "\n\n\n".join(map("\n".join, bodies))
    if re.search(r'^(?!.*""").*\bTensor\b', text, re.MULTILINE):
        imports.bare("torch", "Tensor")
    count = sum(t.numel() for t in set(tensors.values()) if isinstance(t, nn.Parameter))
    paragraphs = [
        "A network that nasp found, in plain PyTorch.",
        about.replace("\\", "\\\\").replace('"""', '\\"\\"\\"'),
        f"{shapes.sentence(classes[-1]) or ''} {count:,} parameters.".strip(),
        f"{INDENT}network = load()  # its weights, from the file beside this one"
        + f"\n{INDENT}predict(path)  # class: probability, of a file" * (service is not None),
    ]
    future = ["from __future__ import annotations", ""] * bool(copied.methods)
    head = [*docstring(list(filter(None, paragraphs)), 0), "", *future, *imports.lines()]
    path = 'WEIGHTS = Path(__file__).with_suffix(".safetensors")'
    source = "\n".join([*head, path, "", "", text, ""])
    weights = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
    _compare(source, weights, network, example)
    return [source.encode(), safetensors.torch.save(weights)], 0.0


def _class_lines(
    written: Written, shapes: Shapes, imports: Imports, copied: Mapping[type[nn.Module], list[str]]
) -> Iterator[str]:
    """Yield the lines of a class.

    Args:
        written: the class.
        shapes: what was seen to go in and out.
        imports: knows the names of what is not defined in the file.
        copied: the methods of our own classes that are no graph.
    """
    part, shape = written.parts[0], shapes.sentence(written)
    has_forward = part.kind in ("graph", "copied")
    base = "nn.Module" if has_forward else imports.reference(type(part.module), written.name)
    yield f"class {written.name}({base}):"
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


def _main(network: nn.Module, example: Example, imports: Imports) -> Iterator[str]:
    """Yield what the file does where it is run: one call, where a file can say its arguments."""
    yield 'if __name__ == "__main__":'
    yield f"{INDENT}network = load()"

    def zeros(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor):
            return leaf
        dtype = [] if leaf.dtype is torch.float32 else [f"dtype={leaf.dtype}"]
        return Code(call("torch.zeros", [*(list(map(str, leaf.shape)) or ["()"]), *dtype]))

    everything = [list(example.arguments), dict(example.named)]
    try:
        given, named = mapped(everything, zeros, is_dataclass)
        items = [imports.literal(value, "The example") for value in given]
        items += [f"{name}={imports.literal(v, 'The example')}" for name, v in named.items()]
    except UsageError:
        pass
    else:
        yield f"{INDENT}with torch.no_grad():"
        yield from laid_out("output = " + call("network", items), 2)
        output = example.run(network)
        if isinstance(output, Tensor):
            yield from laid_out(f"assert output.shape == {tuple(output.shape)}", 1)
    yield _COUNT


def _float_type(network: nn.Module) -> torch.dtype | None:
    """Return the type of a network's floating point numbers, or None for torch's default."""
    kinds = {t.dtype for t in network.state_dict().values() if t.is_floating_point()}
    if len(kinds) > 1:
        raise UsageError(
            "The network has weights of several types"
            f" ({', '.join(sorted(map(str, kinds)))}): give all of them one."
        )
    return None if kinds <= {torch.float32} else kinds.pop()


def _ties(root: Part) -> Iterator[str]:
    """Yield the statements that make one of what was one: modules and parameters used twice."""
    seen: dict[int, str] = {}
    tied: tuple[str, ...] = ()
    for place, part in root.walk():
        things: dict[str, Any] = {joined(place, name): t for name, t in part.tensors.items()}
        for name, thing in {place: part.module, **things}.items():
            first = seen.setdefault(id(thing), name)
            has_state = isinstance(thing, Tensor) or thing.state_dict()
            if first != name and has_state and not name.startswith(tied):
                tied += (f"{name}.",)
                yield f"{_reach(name)} = {_reach(first)}"


def _reach(place: str) -> str:
    """Return how the network's own code calls what is at a place in it."""
    parts = (f"[{part}]" if part.isdigit() else f".{part}" for part in place.split("."))
    return "self" + "".join(parts)


def _compare(
    source: str, weights: Mapping[str, Tensor], network: nn.Module, example: Example
) -> None:
    """Run the source beside the network, as it is used and as it is trained."""
    original = copy.deepcopy(network)
    try:
        file = types.ModuleType("exported")
        file.__file__ = "exported.py"
        exec(compile(source, "the exported file", "exec"), file.__dict__)
        device = next((tensor.device for tensor in network.parameters()), None)
        written = file.Network().to(dtype=_float_type(network), device=device)
        written.load_state_dict(weights)
        for module in (*original.modules(), *written.modules()):  # some classes have their own
            if isinstance(module, StochasticDepth):
                module.p = 0.0
        # The last time with what the batch norms have seen in training.
        for training in (False, True, False):
            theirs = _result(original.train(training), example)
            if not same(_result(written.train(training), example), theirs):
                raise ValueError("the outputs differ")
    except Exception as error:
        raise NaspError(
            "The source would not compute what the network does: nothing was written. Export with"
            " --to onnx or --to torch, and please report it."
        ) from error


def _result(network: nn.Module, example: Example) -> Any:
    torch.manual_seed(0)
    try:
        with torch.no_grad():
            return copy.deepcopy(example).call(network)
    except Exception as error:  # such as BatchNorm's, of a batch that is too small to train
        return type(error)
