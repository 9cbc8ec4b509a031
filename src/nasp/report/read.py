"""From the folders of runs to what a report shows of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from nasp.bench.contests.repeat.spread import folder_of
from nasp.bench.contests.sweep.run import sweep_of
from nasp.jobs.repeat import repeat_of
from nasp.report.comparison import names_of
from nasp.report.contents import Contents, contents_of
from nasp.report.sweep import Sweep, read_sweep
from nasp.runs.folder import RunFolder


def read_runs(paths: Sequence[Path], latency: bool = False) -> list[Contents | Sweep]:
    """Read run folders; see `nasp.report.contents.contents_of`.

    Args:
        paths: at least one; after a repeat's come its searches, so that they stand side by side.
        latency: whether the networks' latency is measured.

    Raises:
        UsageError: one is no run folder, or a sweep that is not finished.
        NaspError: a file is damaged.
    """
    found: list[Contents | Sweep] = []
    paths = [each for path in paths for each in _with_seeds(path)]
    for path, name in zip(paths, names_of(paths), strict=True):
        run = RunFolder.open(path)
        is_sweep = sweep_of(run) is not None
        read = read_sweep(run) if is_sweep else contents_of(run, latency)
        found.append(
            read._replace(name=name) if isinstance(read, Sweep) else replace(read, name=name)
        )
    return found


def _with_seeds(path: Path) -> list[Path]:
    """Return a run's folder and, where it is a repeat, those of its searches that have begun."""
    repeat = repeat_of(RunFolder.open(path))
    seeds = [] if repeat is None else [path / folder_of(seed) for seed in repeat.searches]
    return [path, *(seed for seed in seeds if (seed / "config.json").is_file())]
