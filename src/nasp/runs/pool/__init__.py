"""Works that stand alone, run beside one another: in processes here, or on a Ray cluster."""

from __future__ import annotations

import os

from pydantic import BaseModel, ConfigDict, Field

from nasp.runs.pool.in_turn import InTurn
from nasp.runs.pool.processes import Processes
from nasp.runs.pool.work import Done, Pool, Work, Workplace

__all__ = ["Done", "InTurn", "Pool", "PoolConfig", "Work", "Workplace", "crowded", "pool_of"]


class PoolConfig(BaseModel):
    """Where independent jobs run, and how many at once."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    jobs: int = Field(1, ge=1)
    """Run so many jobs at once, each in a process of its own."""
    cpus_per_job: int | None = Field(None, ge=1)
    """Threads of each job; default torch's own number, as for a job alone: the last bits of a
    result depend on it."""
    retries: int = Field(2, ge=0)
    """Times that a job whose process died is tried again."""


def crowded(config: PoolConfig) -> str | None:
    """Return advice where jobs would have more threads together than there are cores."""
    import torch  # late: a worker that needs none is begun at once

    each, cores = config.cpus_per_job or torch.get_num_threads(), os.cpu_count() or 1
    if config.jobs == 1 or config.jobs * each <= cores:
        return None
    return (
        f"{config.jobs} jobs of {each} threads share {cores} cores and wait for one another:"
        f" --cpus-per-job {max(1, cores // config.jobs)} is quicker, where the last bits need not"
        " be those of a job alone."
    )


def pool_of(config: PoolConfig) -> Pool:
    """Return a pool of these settings."""
    if config == PoolConfig():
        return InTurn()
    return Processes(config.jobs, config.retries, config.cpus_per_job)
