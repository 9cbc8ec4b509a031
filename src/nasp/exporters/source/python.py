"""Export as a source file of plain PyTorch, with its weights in a safetensors file beside it."""

from __future__ import annotations

import copy
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.ops import StochasticDepth

from nasp.errors import NaspError, UsageError
from nasp.exporters.examples import Example, same
from nasp.exporters.source.blueprint import Block, blueprint
from nasp.exporters.source.classes import classes_of
from nasp.exporters.source.copied import Copied
from nasp.exporters.source.imports import Imports, sequence
from nasp.exporters.source.layout import INDENT, Code, call, docstring, laid_out, prefixed
from nasp.exporters.source.render import Renderer
from nasp.exporters.source.shapes import Shapes


@dataclass(frozen=True)
class Source:
    """A network as source.

    Attributes:
        text: the file's content.
        weights: of the network that it defines, by the names of its ``state_dict``.
    """

    text: str
    weights: dict[str, Tensor]


def python_source(network: nn.Module, example: Example, about: str = "") -> Source:
    """Return a network as source that computes the same, bit by bit.

    Modules of nasp's spaces and of `Found.build` are written out; torch's own are called; a
    user's own class is imported, so it must stand at the top level of a module.

    Args:
        network: a plain module.
        example: arguments of its forward, to see shapes and to compare the results.
        about: said in the module's docstring, such as the genotype.

    Raises:
        UsageError: a module cannot be written to a file.
        NaspError: the source does not compute the same.
    """
    imports = Imports()
    root = blueprint(network, imports)
    kept = [type(block.module) for _, block in root.walk() if block.kind == "copied"]
    copied = Copied(kept, imports)
    shapes = Shapes(network, example)
    renderer = Renderer(imports, shapes, copied)
    classes = classes_of(root, imports)
    *parts, whole = classes
    bodies = [*copied.helpers, *(list(renderer.written(part)) for part in parts)]
    bodies.append(list(renderer.written(whole, list(_ties(root)))))
    weights = {name: tensor.detach() for name, tensor in _own_tensors(root).items()}
    tail = list(_tail(network, example, imports))
    lines = [
        *_head(root, shapes.sentence(whole) or "", about),
        "",
        *(["from __future__ import annotations", ""] if kept else []),
        *_import_lines(imports, bodies),
        'WEIGHTS = Path(__file__).with_suffix(".safetensors")',
        *(line for body in bodies for line in ("", "", *body)),
        "",
        "",
        *tail,
    ]
    source = Source("\n".join(lines) + "\n", weights)
    _compare(source, network, example)
    return source


def _head(root: Block, sentence: str, about: str) -> Iterator[str]:
    written = {id(t): t for t in _own_tensors(root).values() if isinstance(t, nn.Parameter)}
    count = sum(parameter.numel() for parameter in written.values())
    paragraphs = ["A network that nasp found, in plain PyTorch."]
    if about:
        paragraphs.append(about.replace("\\", "\\\\").replace('"""', '\\"\\"\\"'))
    paragraphs.append(f"{sentence} {count:,} parameters.".strip())
    paragraphs.append(f"{INDENT}network = load()  # its weights, from the file beside this one")
    yield from docstring(paragraphs, 0)


def _import_lines(imports: Imports, bodies: list[list[str]]) -> Iterator[str]:
    parts = {"nn", "Tensor"} if _mentions(bodies, "Tensor") else {"nn"}
    own = {"pathlib": {"Path"}, "safetensors.torch": {"load_file"}, "torch": parts}
    for section in imports.sections(own):
        yield from section
        yield ""


def _mentions(bodies: list[list[str]], word: str) -> bool:
    return any(word in line for body in bodies for line in body if '"""' not in line)


def _tail(network: nn.Module, example: Example, imports: Imports) -> Iterator[str]:
    dtype = _float_type(network)
    made = "Network()" if dtype is None else f"Network().to({dtype})"
    yield "def load(path: str | Path = WEIGHTS) -> Network:"
    yield f'{INDENT}"""Return the network with the weights of a file, ready to predict."""'
    yield f"{INDENT}network = {made}"
    yield f"{INDENT}network.load_state_dict(load_file(path))"
    yield f"{INDENT}return network.eval()"
    yield ""
    yield ""
    yield 'if __name__ == "__main__":'
    yield f"{INDENT}network = load()"
    yield f"{INDENT}with torch.no_grad():"
    arguments = [_zeros(value, imports) for value in example.arguments]
    yield from laid_out(prefixed("output = ", call("network", arguments)), 2)
    output = example.run(network)
    if isinstance(output, Tensor):
        shape = sequence("(", [str(size) for size in output.shape], ")")
        yield f"{INDENT}assert output.shape == {shape}"
    yield f"{INDENT}count = sum(weight.numel() for weight in network.parameters())"
    yield f'{INDENT}print(f"{{count:,}} parameters")'


def _zeros(value: Any, imports: Imports) -> Code:
    """Return source that makes an input like an example's."""
    if isinstance(value, Tensor):
        named: list[tuple[str, Code]] = []
        if value.dtype is not torch.float32:
            named = [("dtype", str(value.dtype))]
        return call("torch.zeros", [str(size) for size in value.shape] or ["()"], named)
    if type(value) in (tuple, list):
        brackets = "()" if isinstance(value, tuple) else "[]"
        return sequence(brackets[0], [_zeros(item, imports) for item in value], brackets[1])
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


def _own_tensors(root: Block) -> dict[str, Tensor]:
    """Return parameters and buffers by their names in the written network, in its order."""
    tensors: dict[str, Tensor] = {}
    for place, block in root.walk():
        own: Mapping[str, Tensor] = block.tensors
        if block.kind == "call":
            given = tuple(f"{name}." for name in block.children)
            state = block.module.state_dict(keep_vars=True)
            own = {name: t for name, t in state.items() if not name.startswith(given or ("\0",))}
        tensors.update({f"{place}.{name}" if place else name: t for name, t in own.items()})
    return tensors


def _ties(root: Block) -> Iterator[str]:
    """Yield the statements that make one of what was one: modules and parameters used twice."""
    seen: dict[int, str] = {}
    tied: list[str] = []
    for place, block in root.walk():
        if any(place.startswith(f"{other}.") for other in tied):
            continue
        first = seen.setdefault(id(block.module), place)
        if first != place and block.module.state_dict():
            tied.append(place)
            yield f"{_reach(place)} = {_reach(first)}"
    for name, tensor in _own_tensors(root).items():
        first = seen.setdefault(id(tensor), name)
        if first != name and not any(name.startswith(f"{other}.") for other in tied):
            yield f"{_reach(name)} = {_reach(first)}"


def _reach(place: str) -> str:
    """Return how the network's own code calls what is at a place in it."""
    parts = (f"[{part}]" if part.isdigit() else f".{part}" for part in place.split("."))
    return "self" + "".join(parts)


def _compare(source: Source, network: nn.Module, example: Example) -> None:
    """Run the source beside the network, as it is used and as it is trained."""
    original = copy.deepcopy(network)
    for module in original.modules():
        if isinstance(module, StochasticDepth):
            module.p = 0.0
    wrong = NaspError(
        "The source would not compute what the network does: nothing was written. Export with"
        " --to onnx or --to torch, and please report it."
    )
    with torch.random.fork_rng(devices=[]):
        try:
            written = _executed(source, network)
        except Exception as error:
            raise wrong from error
        # The last time with what the batch norms have seen in training.
        for training in (False, True, False):
            theirs = _result(original.train(training), example)
            try:
                ours = _result(written.train(training), example)
            except Exception as error:
                raise wrong from error
            if not same(ours, theirs):
                raise wrong


def _executed(source: Source, network: nn.Module) -> nn.Module:
    """Return the network that a source defines, of the type and on the device of another."""
    file = types.ModuleType("exported")
    file.__file__ = "exported.py"
    exec(compile(source.text, "the exported file", "exec"), file.__dict__)
    written: nn.Module = file.Network()
    device = next((tensor.device for tensor in network.parameters()), None)
    written = written.to(dtype=_float_type(network), device=device)
    written.load_state_dict(source.weights)
    return written


def _result(network: nn.Module, example: Example) -> Any:
    torch.manual_seed(0)
    try:
        with torch.no_grad():
            return network(*copy.deepcopy(example.arguments))
    except ValueError:  # such as BatchNorm's, of a batch that is too small to train
        return None
