"""Who takes part in the selection that ends a repeat: what was found, and random networks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from statistics import fmean
from typing import NamedTuple

from nasp.bilevel.search_costs import make_complexity
from nasp.bilevel.selection.admitted import Admitted
from nasp.bilevel.settings import SearchConfig
from nasp.complexity.control import Complexity
from nasp.complexity.store import Store
from nasp.domains.domain import Data
from nasp.jobs.repeat import RepeatJob, Repeats
from nasp.jobs.rivals import Draws
from nasp.jobs.search_job import Prepared, prepared
from nasp.runs.folder import RunFolder
from nasp.supernet.architecture import Architecture
from nasp.supernet.supernet import Supernet
from nasp.training.passes import EndlessPasses, epoch_length
from nasp.training.recipe import computing_as_set
from nasp.training.task import detached

DRAWN = 100
"""Random architectures by which it is known how often two agree by chance."""


class Field(NamedTuple):
    """What all have in common that are compared.

    Attributes:
        config: of the searches, by a seed that none of them has: which images are for what, and
            the fresh weights, favour none.
        start: supernet and data, as that seed has them.
        complexity: has the bounds; what was measured for them is in the repeat's folder.
        random: architectures that keep the bounds, uniform among those that do.
        chance: in what share of the edges two such agree.
    """

    config: SearchConfig
    start: Prepared
    complexity: Complexity
    random: list[Architecture]
    chance: float


def field_of(data: Data, job: RepeatJob, folder: RunFolder) -> Field:
    """Return the field of a repeat; its costs are measured before all searches, once for all.

    Raises:
        UsageError: no architecture keeps the bounds, or the data are too few.
    """
    config = job.search.model_copy(update={"seed": job.search.seed + job.seeds})
    start = prepared(data, job.model_copy(update={"search": config}))
    return _field(config, start, data, job, folder)


@computing_as_set
def _field(
    config: SearchConfig, start: Prepared, data: Data, job: RepeatJob, folder: RunFolder
) -> Field:
    supernet, loaders, bounded = start
    learner = config.learner(supernet, detached(data.task()), supernet.weights())
    steps, batches = epoch_length(loaders.weights), EndlessPasses(loaders.alphas)
    complexity = make_complexity(supernet, config, learner, batches, steps, folder, bounded)
    random, chance = drawn_beside(supernet, complexity, config.seed, job)
    return Field(config, start, complexity, random, chance)


def drawn_beside(
    supernet: Supernet, complexity: Complexity, seed: int, asked: Repeats
) -> tuple[list[Architecture], float]:
    """Return random architectures within the bounds, and in what share of the edges two agree."""
    proposed = Admitted(Draws(supernet, seed), complexity)
    drawn = proposed.propose(max(DRAWN, asked.controls))
    within = list(filter(complexity.is_within, drawn)) or drawn
    random = list(dict.fromkeys(map(complexity.settle, drawn[: asked.controls])))
    return random, by_chance(within)


def distinct(found: Sequence[Architecture]) -> list[Architecture]:
    """Return each once; of equals the first wins, so what most seeds found is the first."""
    return [each for each, _ in Counter(found).most_common()]


def budgeted(config: SearchConfig, networks: int, asked: Repeats, searched: int) -> SearchConfig:
    """Return settings whose selection trains these networks for as long as they may.

    Args:
        config: of the selection.
        networks: how many take part.
        asked: has the epochs, where they were given.
        searched: epochs of all searches.
    """
    usual = max(networks * config.selection.first_rung, searched)
    selection = config.selection.model_copy(update={"epochs": asked.budget or usual})
    return config.model_copy(update={"selection": selection})


def hand_out(costs: Store, search: RunFolder) -> None:
    """Give a search that has none the costs that were measured for all.

    A time that is measured twice is two times: a bound would be kept here and broken there.
    """
    own = Store(search.costs_path)
    for name, figures in costs.figures.items() if not own.figures else ():
        own.put(name, figures)


def take_in(complexity: Complexity, architecture: Architecture, search: RunFolder) -> None:
    """Let what a search measured of its result hold here, too."""
    for bound in complexity.bounds:
        bound.gauge.take(architecture, Store(search.costs_path))


def agreement(found: Sequence[Architecture]) -> float:
    """Return in what share of the edges two agree, in the mean over all pairs."""
    return fmean(1 - a.changes(b) / len(a.edges) for a, b in combinations(found, 2))


def by_chance(drawn: Sequence[Architecture]) -> float:
    """Return in what share of the edges two agree that are drawn independently from these."""
    edges, shares = list(drawn[0].edges), []
    for edge in edges:
        held = [each[edge] for each in drawn]
        shares.append(sum((held.count(name) / len(held)) ** 2 for name in set(held)))
    return fmean(shares)
