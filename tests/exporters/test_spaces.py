"""Random architectures of every space leave the library and compute what they did in it."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from nasp.domains import find_domain
from nasp.domains.text.baseline import lstm_network
from nasp.exporters import export
from nasp.spaces import SPACES, LanguageConfig, NetworkConfig, spaces_of
from nasp.spaces.sampling import random_architecture
from nasp.supernet.derive import derive
from nasp.supernet.supernet import Supernet
from nasp.testing.sizes import fitting

ROOT = Path(__file__).resolve().parents[2]
ARCHITECTURES = {name: 3 if name in ("mobile", "vit") else 10 for name in SPACES}
CONFIGS = [
    NetworkConfig(in_channels=1, image_size=8, channels=2, cells=2, classes=3),
    NetworkConfig(image_size=9, channels=3, cells=3, drop_path=True),
    NetworkConfig(image_size=32, channels=2, cells=4, stem="imagenet"),
]
every_space = pytest.mark.parametrize("name", SPACES)

# Runs where nasp cannot be imported, and answers with the outputs of each network in a folder.
ELSEWHERE = """
import importlib.util, sys
from pathlib import Path
import torch
from safetensors.torch import load_file, save_file

sys.modules["nasp"] = None
torch.set_num_threads(1)
for path in sorted(Path(sys.argv[1]).glob("net_*.py")):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    network = module.load()
    assert not network.training
    example = load_file(path.with_suffix(".input")).values()
    outputs = {}
    with torch.no_grad():
        for mode in ("eval", "train", "after"):
            torch.manual_seed(0)
            output = network.train(mode == "train")(*example)
            parts = output if isinstance(output, tuple) else (output,)
            outputs |= {f"{mode}{i}": part.contiguous() for i, part in enumerate(parts)}
    save_file(outputs, path.with_suffix(".output"))
"""


FEW_LAYERS = "e3_k3_se,e6_k5,skip" + 4 * "|e3_k3,skip,skip"


def network_of(
    name: str, seed: int, text: str | None = None
) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """Return a random network of a space with weights that are no initial ones, and an input."""
    space = SPACES[name]
    torch.manual_seed(seed)
    config = config_of(name, seed)
    architecture = random_architecture(space, seed) if text is None else space.parse(text)
    network = space.network(architecture, config)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
    example = find_domain(space.data).example(network, config, 4)
    with torch.no_grad():
        network(*example)  # moves the running statistics
    return network, example


def config_of(name: str, seed: int) -> NetworkConfig | LanguageConfig:
    if SPACES[name].data == "text":
        return LanguageConfig(vocabulary=11, channels=4, cells=1 + seed % 2)
    config = CONFIGS[seed % len(CONFIGS)]
    if name.startswith("nasbench201"):  # there, cells a stage
        return config.model_copy(update={"cells": config.cells - 1})
    return fitting(SPACES[name], config) if ARCHITECTURES[name] == 3 else config


def parts(output: Any) -> tuple[Tensor, ...]:
    return output if isinstance(output, tuple) else (output,)


def expected_of(network: nn.Module, example: tuple[Tensor, ...]) -> dict[str, Tensor]:
    """Return the outputs as `ELSEWHERE` names them."""
    outputs = {}
    with torch.no_grad():
        for mode in ("eval", "train", "after"):
            torch.manual_seed(0)
            for index, part in enumerate(parts(network.train(mode == "train")(*example))):
                outputs[f"{mode}{index}"] = part.contiguous()
    return outputs


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with all networks' sources, weights, inputs and expected outputs."""
    path = tmp_path_factory.mktemp("sources")
    for name in SPACES:
        for seed in range(ARCHITECTURES[name]):
            network, example = network_of(name, seed)
            stem = path / f"net_{name.replace('-', '_')}_{seed}"
            export(network, stem.with_suffix(".py"), example=example)
            inputs = {f"x{index}": part for index, part in enumerate(example)}
            save_file(inputs, stem.with_suffix(".input"))
            save_file(expected_of(network, example), stem.with_suffix(".expected"))
    return path


def all_sources(folder: Path) -> list[Path]:
    return sorted(folder.glob("net_*.py"))


def sources(folder: Path, name: str) -> list[Path]:
    found = sorted(folder.glob(f"net_{name.replace('-', '_')}_[0-9].py"))
    assert len(found) == ARCHITECTURES[name]
    return found


@pytest.fixture(scope="module")
def outputs(folder: Path) -> Callable[[Path, str], dict[str, Tensor]]:
    """Return what reads the outputs of a network that were computed without nasp."""
    script = folder / "elsewhere.py"
    script.write_text(ELSEWHERE)
    subprocess.run([sys.executable, "-I", script, folder], check=True, timeout=300)
    return lambda path, kind: load_file(path.with_suffix(kind))


@pytest.mark.slow
@every_space
def test_outputs_are_bit_equal_where_nasp_is_not(
    name: str, folder: Path, outputs: Callable[[Path, str], dict[str, Tensor]]
) -> None:
    for path in sources(folder, name):
        found, expected = outputs(path, ".output"), outputs(path, ".expected")
        assert found.keys() == expected.keys()
        for mode in expected:
            assert torch.equal(found[mode], expected[mode]), (path, mode)


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        ["check", f"--config={ROOT / 'pyproject.toml'}", "--extend-select=ANN,A"],
        ["check", "--isolated"],
        ["format", "--check", "--isolated", "--config=line-length=88"],
        ["format", "--check", "--isolated", "--config=line-length=100"],
    ],
)
def test_sources_pass_ruff(folder: Path, command: list[str]) -> None:
    ruff = Path(sys.executable).with_name("ruff")
    done = subprocess.run(
        [ruff, *command, "--no-cache", *all_sources(folder)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout[-3000:]


@pytest.mark.slow
def test_sources_pass_strict_mypy(folder: Path) -> None:
    # In one cache with `make lint`: without one, mypy reads all of torch again.
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", *all_sources(folder)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=500,
    )
    assert done.returncode == 0, done.stdout[-3000:]


@pytest.mark.slow
@every_space
def test_sources_hold_what_they_use_and_no_more(name: str, folder: Path) -> None:
    for path in sources(folder, name):
        tree = ast.parse(path.read_text())
        modules = {str(n.module) for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
        others = modules - {"pathlib", "safetensors.torch", "torch"}
        assert all(module.partition(".")[0] in sys.stdlib_module_names for module in others)
        names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
        functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
        assert {node.name for node in [*classes, *functions]} <= names
        methods = [n for c in classes for n in c.body if isinstance(n, ast.FunctionDef)]
        assert {method.name for method in methods} <= attributes | {"__init__", "forward"}
        assert not any(isinstance(node, ast.If) for c in classes for node in ast.walk(c))
        weights = load_file(path.with_suffix(".safetensors"))
        assert all(tensor.isfinite().all() for tensor in weights.values())


@pytest.mark.parametrize("name", [name for name in spaces_of("images") if name != "mobile"])
def test_partial_channels_are_written_too(name: str, tmp_path: Path) -> None:
    space = SPACES[name]
    config = fitting(space, NetworkConfig(channels=4, cells=2, partial_channels=2))
    supernet = Supernet(space.supernet(config), name)
    network = derive(supernet, random_architecture(space, 1))
    x = torch.randn(2, 3, 8, 8)
    assert export(network, tmp_path / "net.py", example=x).difference == 0


def test_an_lstm_to_compare_with_is_written_too(tmp_path: Path) -> None:
    network = lstm_network(11, 2, LanguageConfig().dropouts, 900)
    example = torch.randint(11, (2, 3)), torch.zeros(2, network.state_size)
    path = tmp_path / "net.py"
    assert export(network, path, example=example).difference == 0
    assert "import nasp" not in path.read_text()
    assert "torch.func.functional_call(" in path.read_text()
    ruff = Path(sys.executable).with_name("ruff")
    for command in (["check"], ["format", "--check"]):
        subprocess.run([ruff, *command, "--isolated", "--no-cache", path], check=True, timeout=60)


def one_network(name: str) -> tuple[nn.Module, tuple[Tensor, ...]]:
    network, example = network_of(name, 0, FEW_LAYERS if name == "mobile" else None)
    return network.eval(), example


def of_size(batch: int, example: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(part[:1].expand(batch, *part.shape[1:]).contiguous() for part in example)


@pytest.mark.slow
@every_space
def test_onnx_agrees_for_any_batch(name: str, tmp_path: Path) -> None:
    import onnxruntime

    network, example = one_network(name)
    exported = export(network, tmp_path / "net.onnx", example=example)
    assert exported.difference < 1e-5
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx")
    names = [given.name for given in session.get_inputs()]
    assert all(isinstance(given.shape[0], str) for given in session.get_inputs())
    for batch in (1, 5):
        some = of_size(batch, example)
        found = session.run(None, {n: x.numpy() for n, x in zip(names, some, strict=True)})
        for ours, theirs in zip(found, parts(network(*some)), strict=True):
            torch.testing.assert_close(torch.from_numpy(ours), theirs, rtol=1e-3, atol=1e-5)


@pytest.mark.slow
@every_space
def test_a_torch_program_agrees_for_any_batch(name: str, tmp_path: Path) -> None:
    network, example = one_network(name)
    exported = export(network, tmp_path / "net.pt2", example=example)
    assert exported.difference < 1e-6
    program = torch.export.load(tmp_path / "net.pt2").module()
    for batch in (1, 5):
        some = of_size(batch, example)
        torch.testing.assert_close(program(*some), network(*some))
