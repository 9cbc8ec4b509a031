"""The table of a selection, printed."""

from __future__ import annotations

from nasp.cli.tables import print_cells
from nasp.jobs.search_job import SearchJob
from nasp.jobs.targets import is_from_python, job_of
from nasp.report.selection import selection_table
from nasp.runs.folder import RunFolder
from nasp.spaces import find_space


def show_selection(run: RunFolder) -> None:
    """Print a run's selection, the winner first; nothing where it has none."""
    job = None if is_from_python(run) else job_of(run)
    space = find_space(job.space) if isinstance(job, SearchJob) else None
    table = selection_table(run, space)
    if table is None:
        return
    print_cells(table)
