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
from nasp.spaces import NetworkConfig, find_space
from nasp.supernet.supernet import Supernet

BATCH, STEPS, EPOCHS = 64, 10, 3
SEARCH = (
    f"search --data fashion-mnist --space darts --channels 8 --cells 5 --epochs {EPOCHS}"
    " --device cpu --no-train"
).split()
ROWS = {"one, whole batch": (1, BATCH), "one, half of it": (1, BATCH // 2), "two": (2, BATCH)}
SENT = {
    "darts, CIFAR-10, 16 channels, 8 cells": ("darts", (32, 10, 16, 8)),
    "nasbench201, CIFAR-10, 16 channels, 5 cells": ("nasbench201", (32, 10, 16, 5)),
    "mobile, ImageNet, 32 channels, 1 cell": ("mobile", (224, 1000, 32, 1)),
}
"""Supernets whose messages are counted: image size, classes, channels, cells."""
PATHS = 50


def seconds_a_step(devices: int, batch: int, folder: Path) -> float:
    """Return the median seconds of a step of the epochs after the first."""
    shutil.rmtree(folder, ignore_errors=True)
    own = ["--devices", devices, "--batch-size", batch, "--subset", batch * STEPS, "--out", folder]
    command = [sys.executable, "-m", "nasp", *SEARCH, *map(str, own)]
    subprocess.run(command, check=True, capture_output=True)
    lines = (folder / "timing.jsonl").read_text().splitlines()
    return statistics.median(json.loads(line)["seconds"] for line in lines[1:]) / STEPS


def sent(space: str, size: tuple[int, int, int, int]) -> dict[str, float]:
    """Return how many bytes the two steps of an iteration send, of paths drawn at random."""
    image_size, classes, channels, cells = size
    network = find_space(space).supernet(
        NetworkConfig(
            image_size=image_size, in_channels=3, classes=classes, channels=channels, cells=cells
        )
    )
    supernet = Supernet(network, space)
    generator = torch.Generator().manual_seed(0)
    counts = []
    for _ in range(PATHS):
        path = supernet.random_path(generator)
        supernet.single(path)
        counts.append(sum(weight.numel() for weight in on_path(supernet, path)))
    alphas = sum(a.numel() for a in supernet.alphas.values())
    return {
        "weight_step": 4 * statistics.fmean(counts),
        "alpha_step": 4.0 * alphas,
        "supernet": 4.0 * sum(weight.numel() for weight in supernet.weights()),
    }


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
    kept: dict[str, Any] = json.loads(given.json.read_text()) if given.json.exists() else {}
    rows = kept.setdefault("seconds_a_step", {name: [] for name in ROWS})
    for round_ in range(given.rounds):
        for name, (devices, batch) in ROWS.items():
            if len(rows[name]) <= round_:
                rows[name].append(seconds_a_step(devices, batch, given.json.with_suffix(".run")))
                given.json.write_text(json.dumps(kept, indent=1) + "\n")
    shutil.rmtree(given.json.with_suffix(".run"), ignore_errors=True)
    kept["machine"] = machine(torch.device("cpu"))
    kept["sent_bytes"] = {name: sent(*what) for name, what in SENT.items()}
    kept["model"] = fitted(rows)
    given.json.write_text(json.dumps(kept, indent=1) + "\n")
    for name, seconds in rows.items():
        low, middle, high = min(seconds), statistics.median(seconds), max(seconds)
        print(f"{name}: {1000 * middle:.0f} ms a step ({1000 * low:.0f} to {1000 * high:.0f})")
    print(", ".join(f"{name} {value:.4f}" for name, value in kept["model"].items()))
    for name, its in kept["sent_bytes"].items():
        print(name, {what: f"{value / 1e6:.3f} MB" for what, value in its.items()})


if __name__ == "__main__":
    main()
