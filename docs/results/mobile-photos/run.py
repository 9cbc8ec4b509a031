"""Search in `mobile` under a bound of latency, beside MobileNetV3-small and random networks.

Fashion-MNIST is written out as PNGs of 28×28 pixels, train and test, and read as a folder; or some
images of each class are taken from a folder of such parts (`--source`), as CIFAR-10 has them. The
bound is the latency of the hand-made network. For each seed there is one search, and as many
random networks that keep the bound; every network is trained for as many epochs as take equally
long by steps that were timed in turns, along the whole of its schedule. Latencies, too, are of the
processor's time, one image on one thread, since the machine has other work. Run again, it goes on
where it was stopped.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from nasp.complexity import parameter_count
from nasp.complexity.costs import macs
from nasp.complexity.latency import Latency, measure_latency
from nasp.complexity.quantity import QUANTITIES
from nasp.domains.images.datasets import load_images
from nasp.domains.images.mobilenet import mobilenet_of
from nasp.jobs.job import begin
from nasp.jobs.options import search_job, train_job
from nasp.jobs.search import run_search_job
from nasp.jobs.train import run_train_job
from nasp.jobs.train_job import TrainJob
from nasp.runs.folder import RunFolder
from nasp.spaces import NetworkConfig, find_space
from nasp.spaces.mobile import SMALL_BY_HAND
from nasp.supernet.architecture import Architecture
from nasp.training.layout import laid_out

FASHION = NetworkConfig(in_channels=3, image_size=28, classes=10, channels=8, cells=1)
BATCH = 32
CPU = torch.device("cpu")


def copied(source: Path, folder: Path, each: dict[str, int]) -> None:
    """Take so many images of each class and part from a folder."""
    for part, count in each.items():
        for kind in sorted(path for path in (source / part).iterdir() if path.is_dir()):
            place = folder.with_suffix(".part") / part / kind.name
            place.mkdir(parents=True)
            for file in sorted(kind.iterdir())[:count]:
                shutil.copy(file, place)
    folder.with_suffix(".part").rename(folder)


def write_out(folder: Path, each: dict[str, int]) -> None:
    """Write so many of Fashion-MNIST's images of each class and part as PNGs."""
    images = load_images("fashion-mnist")
    for part, found in {"train": images.train, "test": images.test}.items():
        for label, name in enumerate(images.classes):
            place = folder.with_suffix(".part") / part / name.replace("/", "-")
            place.mkdir(parents=True)
            for index in (found.labels == label).nonzero().flatten()[: each[part]].tolist():
                pixels = found.images[index][0].numpy()
                Image.fromarray(pixels).save(place / f"{index:05}.png")
    folder.with_suffix(".part").rename(folder)


def network_of(architecture: Architecture | None, size: NetworkConfig) -> nn.Module:
    """Return the network of an architecture of `mobile`; None: MobileNetV3-small, as wide."""
    if architecture is None:
        return laid_out(mobilenet_of(size, size.channels), CPU)
    return laid_out(find_space("mobile").network(architecture, size), CPU)


def milliseconds(networks: dict[str, nn.Module], side: int, rounds: int = 15) -> dict[str, float]:
    """Return the medians of forward passes of one image, by processor time, taken in turns."""
    image = torch.randn(1, 3, side, side)
    seconds: dict[str, list[float]] = {name: [] for name in networks}
    for _ in range(rounds):
        for name, network in networks.items():
            seconds[name].append(measure_latency(network, image, clock=timed).value)
    return {name: 1e3 * statistics.median(each) for name, each in seconds.items()}


def timed(step: Callable[[], object], _device: torch.device = CPU) -> float:
    """Return the processor's seconds of a call."""
    start = time.process_time()
    step()
    return time.process_time() - start


QUANTITIES["latency"] = replace(QUANTITIES["latency"], measure=partial(Latency, clock=timed))


def step_seconds(networks: dict[str, nn.Module], side: int, rounds: int = 7) -> dict[str, float]:
    """Return the processor's seconds of a training step, medians, taken in turns.

    Beside other work all are slower at one time than at another, but alike.
    """
    images, labels = torch.randn(BATCH, 3, side, side), torch.randint(10, (BATCH,))

    def step(network: nn.Module) -> None:
        loss: Tensor = nn.functional.cross_entropy(network.train()(images), labels)
        loss.backward()  # type: ignore[no-untyped-call]

    seconds: dict[str, list[float]] = {name: [] for name in networks}
    for _ in range(rounds):
        for name, network in networks.items():
            seconds[name].append(timed(partial(step, network)))
    return {name: statistics.median(each) for name, each in seconds.items()}


def found_by(strategy: str, seed: int, bound: float, options: Any, data: Any) -> Architecture:
    """Search, or draw, an architecture whose network takes at most so many milliseconds."""
    job = search_job(
        data={**data, "batch_size": options.search_batch},
        space="mobile",
        size={"channels": options.size.channels, "cells": options.size.cells},
        search={
            "strategy": strategy,
            "seed": seed,
            "device": "cpu",
            "at_most": [f"latency={bound:.4f}ms"],
            **({"minutes": options.search_minutes} if strategy == "nasp" else {"epochs": 1}),
        },
        settings={"lr": 3e-3} if strategy == "nasp" else {},
        bound_at=f"channels={options.size.channels},cells={options.size.cells}",
    )
    path = options.out / f"{strategy}-{seed}"
    run = RunFolder.open(path) if (path / "config.json").is_file() else begin(path, job)
    costs = options.out / "costs.json"  # measured once for all
    if costs.is_file() and not (path / costs.name).is_file():
        shutil.copy(costs, path)
    if not run.architecture_path.is_file():
        run_search_job(job, run)
    shutil.copy(path / costs.name, costs)
    return Architecture.load(run.architecture_path)


def trained(
    name: str, arch: Architecture | None, seed: int, epochs: int, options: Any, data: Any
) -> Any:
    """Train a network; return what it reached."""
    path = options.out / f"{name}-trained"
    done = path / "reached.json"
    if done.is_file():
        return json.loads(done.read_text())
    network, side = network_of(arch, options.size), options.size.image_size
    given = {"epochs": epochs, "seed": seed, "clock": "cpu", "device": "cpu"}
    job = train_job(
        arch or find_space("mobile").parse(SMALL_BY_HAND),
        {**data, "batch_size": BATCH, "subset": options.subset},
        {"channels": options.size.channels, "cells": options.size.cells},
        given,
    )
    if arch is None:
        own = {"architecture": None, "by_hand": "mobilenet", "parameters": parameter_count(network)}
        job = TrainJob.model_validate({**job.model_dump(), **own})
    run = RunFolder.open(path) if (path / "config.json").is_file() else begin(path, job)
    (result,) = run_train_job(job, run)
    test = result.test or {}
    reached = {
        "seed": seed,
        "parameters": result.parameters,
        "macs": macs(network, torch.randn(1, 3, side, side)),
        "epochs": epochs,
        "train_seconds": result.seconds,
        "test": {key: value for key, value in test.items() if isinstance(value, float | int)},
        "network": "MobileNetV3-small" if arch is None else find_space("mobile").notation(arch),
    }
    done.write_text(json.dumps(reached))
    return reached


def main() -> None:
    """Run all of it, and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("mobile-photos"))
    parser.add_argument("--source", type=Path, help="a folder with train and test; default none")
    parser.add_argument("--train", type=int, default=400, help="images of each class")
    parser.add_argument("--test", type=int, default=200, help="images of each class")
    parser.add_argument("--subset", type=int, default=640, help="images to train on")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--random", type=int, default=3, help="random networks of each seed")
    parser.add_argument("--search-minutes", type=float, default=2.0)
    parser.add_argument("--search-batch", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=6, help="of the hand-made network")
    parser.add_argument("--json", type=Path, default=Path("results.json"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    each, images = {"train": options.train, "test": options.test}, options.out / "images"
    if not images.is_dir():
        write_out(images, each) if options.source is None else copied(options.source, images, each)
    with Image.open(next((images / "train").rglob("*.*"))) as first:
        options.size = FASHION.model_copy(update={"image_size": first.width})
    side = options.size.image_size
    data = {"name": f"folder:{options.out / 'images'}"}
    kept = options.out / "bound.json"
    if not kept.is_file():
        by_hand = milliseconds({"by hand": network_of(None, options.size)}, side)["by hand"]
        kept.write_text(json.dumps(by_hand))
    bound = json.loads(kept.read_text())
    rows, architectures = {}, {}
    for seed in range(options.seeds):
        architectures[f"found-{seed}"] = found_by("nasp", seed, bound, options, data), seed
        for number in range(1, options.random + 1):
            drawn = found_by("random", 100 * (seed + 1) + number, bound, options, data)
            architectures[f"random-{seed}-{number}"] = drawn, seed
        architectures[f"by-hand-{seed}"] = None, seed
        print(f"seed {seed}: searched", flush=True)
    networks = {name: network_of(arch, options.size) for name, (arch, _) in architectures.items()}
    kept = options.out / "step_seconds.json"
    if not kept.is_file():
        kept.write_text(json.dumps(step_seconds(networks, side)))
    steps = json.loads(kept.read_text())
    own = statistics.median(steps[f"by-hand-{seed}"] for seed in range(options.seeds))
    for name, (arch, seed) in architectures.items():
        took = own if arch is None else steps[name]
        epochs = max(1, round(options.epochs * own / took))
        rows[name] = trained(name, arch, seed, epochs, options, data)
        rows[name]["step_seconds"] = took
        print(name, rows[name], flush=True)
    for name, value in milliseconds(networks, side).items():
        rows[name]["milliseconds"] = value
    about = {key: str(value) for key, value in vars(options).items()}
    content = {"options": about, "bound_milliseconds": bound, "rows": rows}
    options.json.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
