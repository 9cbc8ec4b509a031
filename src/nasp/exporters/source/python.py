"""Export as a source file of plain PyTorch, with its weights in a safetensors file beside it."""

from __future__ import annotations

import copy
import types
from collections.abc import Iterator
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn
from torchvision.ops import StochasticDepth

from nasp.errors import NaspError, UsageError
from nasp.exporters.examples import Example, same
from nasp.exporters.service import OWN_NAMES, Service, predict_all, service_bodies
from nasp.exporters.source.classes import classes_of
from nasp.exporters.source.copied import Copied
from nasp.exporters.source.imports import Imports
from nasp.exporters.source.layout import INDENT, call, docstring, laid_out, listed
from nasp.exporters.source.parts import Part, part_of
from nasp.exporters.source.render import class_lines
from nasp.exporters.source.shapes import Shapes

_RESTORED = '''def restored(kind: Any, /, **attributes: Any) -> Any:
    """Return an object of a class with these attributes, without its constructor."""
    value = kind.__new__(kind)
    vars(value).update(attributes)
    return value'''


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
    kept = [type(part.module) for _, part in root.walk() if part.kind == "copied"]
    copied = Copied(kept, imports)
    shapes = Shapes(network, example)
    *parts, whole = classes_of(root, imports)
    tensors = _own_tensors(root)
    known = shapes, imports, copied.methods
    bodies = [*copied.helpers, *(list(class_lines(part, *known)) for part in parts)]
    bodies.append(list(class_lines(whole, *known, _ties(root, tensors))))
    tails = [list(_load(network))]
    if service is not None:
        tails += service_bodies(service, imports)
    tails.append([*_main(network, example, imports), *(predict_all() if service else ())])
    if imports.restores:
        bodies.insert(0, _RESTORED.splitlines())
    if any("Tensor" in line for body in bodies for line in body if '"""' not in line):
        imports.bare("torch", "Tensor")
    lines = [
        *_head(tensors, shapes.sentence(whole) or "", about, service is not None),
        "",
        *(["from __future__ import annotations", ""] if kept else []),
        *imports.lines(),
        'WEIGHTS = Path(__file__).with_suffix(".safetensors")',
        *(line for body in [*bodies, *tails] for line in ("", "", *body)),
    ]
    text = "\n".join(lines) + "\n"
    weights = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
    _compare(text, weights, network, example)
    return [text.encode(), safetensors.torch.save(weights)], 0.0


def _head(tensors: dict[str, Tensor], sentence: str, about: str, in_service: bool) -> Iterator[str]:
    parameters = {id(t): t.numel() for t in tensors.values() if isinstance(t, nn.Parameter)}
    paragraphs = [
        "A network that nasp found, in plain PyTorch.",
        about.replace("\\", "\\\\").replace('"""', '\\"\\"\\"'),
        f"{sentence} {sum(parameters.values()):,} parameters.".strip(),
        f"{INDENT}network = load()  # its weights, from the file beside this one",
    ]
    if in_service:
        paragraphs[-1] += f"\n{INDENT}predict(path)  # class: probability, of a file"
    yield from docstring(list(filter(None, paragraphs)), 0)


def _load(network: nn.Module) -> Iterator[str]:
    dtype = _float_type(network)
    made = "Network()" if dtype is None else f"Network().to({dtype})"
    yield "def load(path: str | Path = WEIGHTS) -> Network:"
    yield f'{INDENT}"""Return the network with the weights of a file, ready to predict."""'
    yield f"{INDENT}network = {made}"
    yield f"{INDENT}network.load_state_dict(load_file(path))"
    yield f"{INDENT}return network.eval()"


def _main(network: nn.Module, example: Example, imports: Imports) -> Iterator[str]:
    yield 'if __name__ == "__main__":'
    yield f"{INDENT}network = load()"
    arguments = _inputs(example, imports)
    if arguments is not None:
        yield f"{INDENT}with torch.no_grad():"
        yield from laid_out("output = " + call("network", arguments), 2)
        output = example.run(network)
        if isinstance(output, Tensor):
            yield from laid_out(f"assert output.shape == {tuple(output.shape)}", 1)
    yield f"{INDENT}count = sum(weight.numel() for weight in network.parameters())"
    yield f'{INDENT}print(f"{{count:,}} parameters")'


def _inputs(example: Example, imports: Imports) -> list[str] | None:
    """Return source of the arguments of a call; None where a file cannot say them."""
    try:
        given = [_zeros(value, imports) for value in example.arguments]
        return given + [f"{name}={_zeros(each, imports)}" for name, each in example.named.items()]
    except UsageError:
        return None


def _zeros(value: Any, imports: Imports) -> str:
    """Return source that makes an input like an example's."""
    if isinstance(value, Tensor):
        dtype = [] if value.dtype is torch.float32 else [f"dtype={value.dtype}"]
        return call("torch.zeros", [*(list(map(str, value.shape)) or ["()"]), *dtype])
    if type(value) in (tuple, list):
        return listed([_zeros(item, imports) for item in value], is_list=type(value) is list)
    if type(value) is dict:
        pairs = (f"{imports.literal(k, 'A key')}: {_zeros(v, imports)}" for k, v in value.items())
        return f"{{{', '.join(pairs)}}}"
    return imports.literal(value, "The example")


def _float_type(network: nn.Module) -> torch.dtype | None:
    """Return the type of a network's floating point numbers, or None for torch's default."""
    kinds = {t.dtype for t in network.state_dict().values() if t.is_floating_point()}
    if len(kinds) > 1:
        raise UsageError(
            "The network has weights of several types"
            f" ({', '.join(sorted(map(str, kinds)))}): give all of them one."
        )
    return None if kinds <= {torch.float32} else next(iter(kinds))


def _own_tensors(root: Part) -> dict[str, Tensor]:
    """Return parameters and buffers by their names in the written network, in its order."""
    tensors: dict[str, Tensor] = {}
    for place, part in root.walk():
        own = part.tensors
        if part.kind == "call":
            given = tuple(f"{name}." for name in part.children)
            state = part.module.state_dict(keep_vars=True)
            own = {name: t for name, t in state.items() if not name.startswith(given)}
        tensors |= {f"{place}.{name}".strip("."): tensor for name, tensor in own.items()}
    return tensors


def _ties(root: Part, tensors: dict[str, Tensor]) -> Iterator[str]:
    """Yield the statements that make one of what was one: modules and parameters used twice."""
    seen: dict[int, str] = {}
    tied: tuple[str, ...] = ()
    for place, part in root.walk():
        first = seen.setdefault(id(part.module), place)
        if first != place and part.module.state_dict() and not place.startswith(tied):
            tied += (f"{place}.",)
            yield f"{_reach(place)} = {_reach(first)}"
    for name, tensor in tensors.items():
        first = seen.setdefault(id(tensor), name)
        if first != name and not name.startswith(tied):
            yield f"{_reach(name)} = {_reach(first)}"


def _reach(place: str) -> str:
    """Return how the network's own code calls what is at a place in it."""
    parts = (f"[{part}]" if part.isdigit() else f".{part}" for part in place.split("."))
    return "self" + "".join(parts)


def _compare(text: str, weights: dict[str, Tensor], network: nn.Module, example: Example) -> None:
    """Run the source beside the network, as it is used and as it is trained."""
    original = copy.deepcopy(network)
    _without_drop_path(original)
    try:
        file = types.ModuleType("exported")
        file.__file__ = "exported.py"
        exec(compile(text, "the exported file", "exec"), file.__dict__)
        device = next((tensor.device for tensor in network.parameters()), None)
        written = file.Network().to(dtype=_float_type(network), device=device)
        written.load_state_dict(weights)
        _without_drop_path(written)  # of classes that have their own
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


def _without_drop_path(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, StochasticDepth):
            module.p = 0.0


def _result(network: nn.Module, example: Example) -> Any:
    torch.manual_seed(0)
    try:
        with torch.no_grad():
            return copy.deepcopy(example).call(network)
    except Exception as error:  # such as BatchNorm's, of a batch that is too small to train
        return type(error)
