"""What a repeat says: seed by seed, how far they lie apart, and whether chance does as well."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from nasp.bench.results import Measurements
from nasp.bench.seeds import over_seeds
from nasp.jobs.repeat import RepeatJob

SELECTION = "the selection"
"""What is measured after all searches."""


def key_of(seed: int) -> str:
    """Return what the search by a seed is called among the measurements."""
    return f"seed {seed}"


def folder_of(seed: int) -> str:
    """Return its run folder, within the repeat's."""
    return f"seed-{seed}"


def report_of(job: RepeatJob, found: Measurements) -> dict[str, Any]:
    """Return the report of what is measured so far.

    Args:
        job: the repeat.
        found: ``architecture`` of each seed and, in the end, the selection: ``figure``,
            ``higher_is_better``, ``schedule``, ``networks`` (best first), ``random``,
            ``agreement`` and ``chance``.

    Returns:
        ``seeds``: a row a seed that is done. After the selection a row also has what was measured
        of its network (``parameters``, ``costs``, ``keeps_bounds``, ``figures`` at the end of each
        rung, its ``place``) and ``same``, how many seeds found it; and the report has ``random``
        (rows alike), ``architectures`` (distinct ones that were found), ``agreement`` and
        ``chance`` (in what share of the edges two seeds, and two random ones, agree), ``spread``
        (of the first rung's figures, after which all have trained equally long), ``beats`` (in
        what share of the pairs what was found is there better than a random one, ties being
        half), ``kept`` (a seed's row) and ``better`` (the random row before it, if there is one).
    """
    seeds: list[dict[str, Any]] = [
        {"seed": seed, "run": folder_of(seed), "architecture": found[key_of(seed)]["architecture"]}
        for seed in job.searches
        if key_of(seed) in found
    ]
    if SELECTION not in found:
        return {"seeds": seeds}
    last = found[SELECTION]
    often = Counter(row["architecture"] for row in seeds)
    measured = {
        network["architecture"]: {**network, "place": place}
        for place, network in enumerate(last["networks"], 1)
    }
    seeds = [
        {**row, **measured[row["architecture"]], "same": often[row["architecture"]]}
        for row in seeds
    ]
    random = [measured[each] for each in last["random"]]
    kept = min(seeds, key=lambda row: (row["place"], row["seed"]))
    first = last["networks"][0]["architecture"]
    sign = 1 if last["higher_is_better"] else -1
    return {
        "figure": last["figure"],
        "schedule": last["schedule"],
        "seeds": seeds,
        "random": random,
        "architectures": len(often),
        "agreement": last["agreement"],
        "chance": last["chance"],
        "spread": {"found": spread(seeds, sign), "random": spread(random, sign)},
        "beats": beats(seeds, random, sign),
        "kept": kept,
        "better": None if first in often else measured[first],
    }


def spread(rows: Sequence[Mapping[str, Any]], sign: int) -> dict[str, Any] | None:
    """Return mean, std, best and worst after the first rung, and how many have no figure."""
    figures = [row["figures"][0] for row in rows if row["figures"]]
    known = [sign * figure for figure in figures if figure is not None]
    if not known:
        return None
    over = over_seeds(known)
    return {
        **{name: sign * over[name] for name in ("mean", "best", "worst")},
        "std": over["std"],
        "networks": len(known),
        "diverged": len(figures) - len(known),
    }


def beats(
    seeds: Sequence[Mapping[str, Any]], random: Sequence[Mapping[str, Any]], sign: int
) -> float | None:
    """Return in what share of the pairs a seed's network is better than a random one after that.

    Ties are half; None where there is no pair.
    """

    def scores(rows: Sequence[Mapping[str, Any]]) -> list[float]:
        figures = [row["figures"][0] for row in rows if row["figures"]]
        return [-math.inf if figure is None else sign * figure for figure in figures]

    pairs = list(product(scores(seeds), scores(random)))
    wins = sum((own > other) + (own == other) / 2 for own, other in pairs)
    return wins / len(pairs) if pairs else None
