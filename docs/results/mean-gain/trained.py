"""How short trainings rank cells of one cost, by NAS-Bench-201, and what chooses among random ones.

python trained.py FOLDER COST COUNT, with a folder of CIFAR-10, nasbench201-cifar10.csv here, and
millions of parameters: trains so many random cells of that cost in the rungs of a selection, all
of them in every rung, and adds each to trained.json. python trained.py alone prints what holds.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from moments import TABLE, settings_of
from rank import Array, cells_of
from scipy import stats
from together import at

from nasp.bench.contests.contestant import parse_contestant
from nasp.bilevel.selection.halving import halving_schedule
from nasp.bilevel.selection.training import Turn
from nasp.bilevel.selection.trainings import Trainings
from nasp.jobs.search_job import prepared
from nasp.spaces import find_space
from nasp.spaces.sampling import small_supernet
from nasp.supernet.architecture import Architecture
from nasp.training.events import nobody
from nasp.training.passes import EndlessPasses, SamePass

FILE = Path(__file__).parent / "trained.json"
RUNGS = (1, 2, 4)
"""Epochs of each; in each the learning rate falls to its least."""
BUDGET = 24
"""Epochs of a selection that are as long as a search: eight networks, four, two."""
DRAWS = 10_000


def random_cells(cost: float, count: int) -> tuple[list[Architecture], Array, Array]:
    """Return cells of a cost, their accuracies, and those of all of that cost."""
    cells = cells_of("cifar10", Path(TABLE))
    those, supernet = at(cells, cost), small_supernet(find_space("nasbench201"))
    every = cells.accuracy[those]
    order = np.random.default_rng(0).permutation(len(those))[:count]
    drawn = (supernet.architecture(tuple(map(int, cells.paths[those[i]]))) for i in order)
    return list(drawn), every[order], every


def train(folder: str, cost: float, count: int) -> None:
    """Train those cells that are not trained yet."""
    torch.set_num_threads(1)
    settings = settings_of(folder, 24)
    job = settings.job(parse_contestant("nasp=nasp"), 0, 24)
    data, space = job.domain.read(job.data, nobody), find_space(job.space)
    supernet, loaders, _ = prepared(data, job)
    trainings = Trainings(
        supernet,
        None,
        data.task(),
        EndlessPasses(loaders.weights),
        SamePass(loaders.selection, job.search.seed),
        len(loaders.weights),
        job.search,
    )
    cells, truths, every = random_cells(cost, count)
    for number, (architecture, truth) in enumerate(zip(cells, truths, strict=True)):
        cell = space.notation(architecture)
        if any(each["cell"] == cell for each in known()):
            continue
        begun, measured = time.process_time(), []
        turns = [
            Turn(number, architecture, RUNGS, rung, trainings.steps) for rung in range(len(RUNGS))
        ]
        training = trainings.training(turns[0], None)
        for turn in turns:
            metrics = training.train(turn, trainings.val_batches, nobody)
            cpu = round(time.process_time() - begun, 1)
            measured.append({name: metrics[name] for name in ("loss", "accuracy")} | {"cpu": cpu})
        place = 100 * float((every < truth).mean())
        row = {"cost": cost, "cell": cell, "accuracy": truth, "percentile": place}
        found = [*known(), {**row, "rungs": measured}]
        FILE.write_text("[\n" + ",\n".join(json.dumps(each) for each in found) + "\n]\n")


def known() -> list[dict[str, Any]]:
    """Return what was trained so far."""
    rows: list[dict[str, Any]] = json.loads(FILE.read_text()) if FILE.is_file() else []
    return rows


def chosen(cells: Sequence[dict[str, Any]], draw: np.random.Generator) -> float:
    """Return the percentile of what a selection takes of random cells."""
    schedule = halving_schedule(BUDGET)
    field = [cells[i] for i in draw.choice(len(cells), schedule[0].networks, replace=False)]
    for place, rung in enumerate(schedule):
        field.sort(key=lambda each: -each["rungs"][place]["accuracy"])
        after = schedule[place + 1].networks if place + 1 < len(schedule) else 1
        assert rung.epochs == RUNGS[place]
        field = field[:after]
    return float(field[0]["percentile"])


def show() -> None:
    """Print for each cost how each rung ranks, and what a selection among random cells gets."""
    rows = known()
    for cost in sorted({row["cost"] for row in rows}):
        cells = [row for row in rows if row["cost"] == cost]
        truth = [row["accuracy"] for row in cells]
        taus = [
            stats.kendalltau([row["rungs"][rung]["accuracy"] for row in cells], truth).statistic
            for rung in range(len(RUNGS))
        ]
        draw = np.random.default_rng(0)
        places = [chosen(cells, draw) for _ in range(DRAWS)]
        seconds = np.mean([row["rungs"][-1]["cpu"] for row in cells])
        print(
            f"{len(cells)} cells of {cost} M, {seconds:.0f} s each: tau after each rung",
            ", ".join(f"{tau:.2f}" for tau in taus),
            f"; of eight random ones {BUDGET} epochs choose percentile {np.mean(places):.0f}",
            f"(below 70: {100 * np.mean(np.array(places) < 70):.0f} %)",
        )


if __name__ == "__main__":
    if len(sys.argv) > 1:
        train(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]))
    show()
