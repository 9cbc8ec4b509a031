"""What a step of a search takes and sends in one process and in two, and a small model of it.

Each round runs, in turns, a short search by the real command on the CPU: one process on the whole
batch, one on half of it, two that share it. An epoch's first steps are left out with its epoch.
The model: T(n) = f + c/n + m(n). f, what a step takes whatever its share, and c, what it takes for
all of a batch, follow from the two searches in one process; m(2) is what two take above that.
Run again, it goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from nasp.bench.steps.measure import machine
from nasp.complexity.quantity import find_quantity
from nasp.complexity.store import Store
from nasp.complexity.target import Gauge
from nasp.domains.images import networks
from nasp.spaces import NetworkConfig, find_space
from nasp.supernet.supernet import Supernet

BATCH, STEPS, EPOCHS = 64, 6, 3
SEARCH = (
    f"search --data fashion-mnist --space darts --channels 8 --cells 5 --epochs {EPOCHS}"
    " --device cpu --no-train"
).split()
ROWS = {"one, whole batch": (1, BATCH), "one, half of it": (1, BATCH // 2), "two": (2, BATCH)}
COUNTED = {
    "darts, CIFAR-10, 16 channels, 8 cells": ("darts", (32, 10, 16, 8)),
    "nasbench201, CIFAR-10, 16 channels, 5 cells": ("nasbench201", (32, 10, 16, 5)),
    "mobile, ImageNet, 32 channels, 1 cell": ("mobile", (224, 1000, 32, 1)),
}
"""Supernets whose iterations are counted: image size, classes, channels, cells."""
PATHS = 50


def seconds_a_step(devices: int, batch: int, folder: Path) -> float:
    """Return the median seconds of a step of the epochs after the first."""
    shutil.rmtree(folder, ignore_errors=True)
    own = ["--devices", devices, "--batch-size", batch, "--subset", batch * STEPS, "--out", folder]
    command = [sys.executable, "-m", "nasp", *SEARCH, *map(str, own)]
    subprocess.run(command, check=True, capture_output=True)
    lines = (folder / "timing.jsonl").read_text().splitlines()
    return statistics.median(json.loads(line)["seconds"] for line in lines[1:]) / STEPS


def counted(space: str, size: tuple[int, int, int, int]) -> dict[str, float]:
    """Return what an iteration sends, keeps and computes, means over paths drawn at random.

    ``weight_step_bytes`` and ``alpha_step_bytes`` are sent; ``kept_bytes`` are the tensors that a
    weight step keeps for its backward pass, for each image; ``macs`` are multiply-adds for an image
    of each half: both steps' passes on the path (three times a forward pass, each), and the
    probe's forward pass of all candidates.
    """
    image_size, classes, channels, cells = size
    config = NetworkConfig(
        image_size=image_size,
        in_channels=3,
        classes=classes,
        channels=channels,
        cells=cells,
        stem="imagenet" if image_size > 128 else "cifar",
    )
    network = find_space(space).supernet(config)
    supernet = Supernet(network, space)
    target = networks.target(find_space(space), config, torch.device("cpu"))
    table = Gauge(find_quantity("macs"), target, Store(None)).table("macs")
    generator = torch.Generator().manual_seed(0)
    paths = [supernet.random_path(generator) for _ in range(PATHS)]
    weights = [sum(weight.numel() for weight in on_path(supernet, path)) for path in paths]
    of_path = statistics.fmean(table.of(path) for path in paths)
    of_all = sum(float(costs.sum()) for costs in table.candidates().values())
    return {
        "weight_step_bytes": 4 * statistics.fmean(weights),
        "alpha_step_bytes": 4.0 * sum(a.numel() for a in supernet.alphas.values()),
        "supernet_bytes": 4.0 * sum(weight.numel() for weight in supernet.weights()),
        "kept_bytes": statistics.fmean(kept(supernet, path, image_size) for path in paths[:3]),
        "macs": 6 * of_path + of_all,
        "path_macs": of_path,
    }


def kept(supernet: Supernet, path: tuple[int | None, ...], image_size: int) -> float:
    """Return the bytes that a weight step keeps for its backward pass, for each of two images."""
    supernet.train()
    supernet.single(path)
    storages: dict[int, int] = {}
    own = {weight.untyped_storage().data_ptr() for weight in supernet.network.parameters()}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        output = supernet(torch.randn(2, 3, image_size, image_size))
    del output
    return sum(storages.values()) / 2


def on_path(supernet: Supernet, path: tuple[int | None, ...]) -> list[torch.nn.Parameter]:
    """Return the weights that a step on a path has gradients of."""
    unused: set[int] = set()
    for choices, chosen in zip(supernet.choices(), path, strict=True):
        for choice in choices:
            for place, operation in enumerate(choice.candidates.values()):
                if place != chosen:
                    unused |= {id(weight) for weight in operation.parameters()}
    return [weight for weight in supernet.weights() if id(weight) not in unused]


def fitted(rows: dict[str, list[float]]) -> dict[str, float]:
    """Return the parts of the model, seconds of the median rounds."""
    whole, half, two = (statistics.median(rows[name]) for name in ROWS)
    for_all = 2 * (whole - half)
    fixed = whole - for_all
    return {"f": fixed, "c": for_all, "m(2)": two - half, "efficiency of 2": whole / (2 * two)}


def main() -> None:
    """Measure what is missing, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, default=Path("several-devices.json"))
    given = parser.parse_args()
    results: dict[str, Any] = json.loads(given.json.read_text()) if given.json.exists() else {}
    rows = results.setdefault("seconds_a_step", {name: [] for name in ROWS})
    for round_ in range(given.rounds):
        for name, (devices, batch) in ROWS.items():
            if len(rows[name]) <= round_:
                rows[name].append(seconds_a_step(devices, batch, given.json.with_suffix(".run")))
                given.json.write_text(json.dumps(results, indent=1) + "\n")
    shutil.rmtree(given.json.with_suffix(".run"), ignore_errors=True)
    results["machine"] = machine(torch.device("cpu"))
    results["counted"] = {name: counted(*what) for name, what in COUNTED.items()}
    results["model"] = fitted(rows)
    given.json.write_text(json.dumps(results, indent=1) + "\n")
    for name, seconds in rows.items():
        low, middle, high = min(seconds), statistics.median(seconds), max(seconds)
        print(f"{name}: {1000 * middle:.0f} ms a step ({1000 * low:.0f} to {1000 * high:.0f})")
    print(", ".join(f"{name} {value:.4f}" for name, value in results["model"].items()))
    for name, its in results["counted"].items():
        print(name, {what: f"{value / 1e6:.3f} M" for what, value in its.items()})


if __name__ == "__main__":
    main()
