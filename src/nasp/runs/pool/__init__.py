"""Works that stand alone, run beside one another: in processes here, or on a Ray cluster."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field, model_validator

from nasp.errors import UsageError
from nasp.runs.pool.cluster import Cluster
from nasp.runs.pool.in_turn import InTurn
from nasp.runs.pool.on_ray import OnRay
from nasp.runs.pool.processes import Processes
from nasp.runs.pool.work import Done, Pool, Work, Workplace

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = [
    "Done",
    "InTurn",
    "Pool",
    "PoolConfig",
    "Work",
    "Workplace",
    "crowded",
    "gpus_of",
    "pool_of",
]


class PoolConfig(BaseModel):
    """Where independent jobs run, and how many at once."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    jobs: int | None = Field(None, ge=1)
    """Run so many jobs at once, each in a process of its own; default one, and on Ray as many as
    the cluster has room for."""
    on: str | None = None
    """Run them on a Ray cluster: ray (that of $RAY_ADDRESS or of this machine, else a new one
    here) or ray://HOST:PORT; default in processes of this machine."""
    cpus_per_job: int | None = Field(None, ge=1)
    """Threads of each job, and on Ray what it takes of its node; default torch's own number, as
    for a job alone: the last bits of a result depend on it."""
    gpus_per_job: float = Field(0.0, ge=0)
    """GPUs that each job has for itself, a whole number or a fraction below 1; default here all
    jobs see all GPUs, and on Ray none."""
    retries: int = Field(2, ge=0)
    """Times that a job whose process or node died is tried again."""

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if self.gpus_per_job > 1 and self.gpus_per_job % 1:
            raise ValueError("more than one GPU a job are a whole number")
        return self


def crowded(config: PoolConfig, threads: int | None = None) -> str | None:
    """Return advice where jobs here would have more threads together than there are cores.

    Args:
        config: how many at once.
        threads: of each, where its works say so.
    """
    jobs, each, cores = config.jobs or 1, _threads(config, threads), os.cpu_count() or 1
    if config.on is not None or jobs == 1 or jobs * each <= cores:
        return None
    return (
        f"{jobs} jobs of {each} threads share {cores} cores and wait for one another:"
        f" --cpus-per-job {max(1, cores // jobs)} is quicker, where the last bits need not be those"
        " of a job alone."
    )


def pool_of(config: PoolConfig, threads: int | None = None) -> Pool:
    """Return a pool of these settings.

    Args:
        config: where, and how many at once.
        threads: of each job, where its works say so.

    Raises:
        UsageError: Ray is not installed, no such address, or there are not so many CPUs or GPUs.
        NaspError: no cluster answers.
    """
    jobs, cpus, gpus = config.jobs, config.cpus_per_job, config.gpus_per_job
    if config.on is not None:
        each = _threads(config, threads)
        return OnRay(Cluster(config.on), jobs, config.retries, each, cpus, gpus)
    shown = gpus_of(jobs or 1, gpus) if gpus else []
    if (jobs or 1) == 1 and cpus is None and not shown:
        return InTurn(config.retries)
    return Processes(jobs or 1, config.retries, cpus, shown)


def gpus_of(jobs: int, each: float) -> list[str]:
    """Return what CUDA_VISIBLE_DEVICES is for each of so many jobs at once.

    Raises:
        UsageError: there are too few GPUs.
    """
    import torch  # late: a worker that needs none is begun at once

    seen = os.environ.get("CUDA_VISIBLE_DEVICES")
    count = torch.cuda.device_count()
    names = seen.split(",")[:count] if seen else [str(index) for index in range(count)]
    together, whole = max(1, int(1 / each + 1e-9)), max(1, int(each))
    shares = [",".join(names[i : i + whole]) for i in range(0, count - whole + 1, whole)]
    places = [share for _ in range(together) for share in shares]
    if len(places) < jobs:
        raise UsageError(
            f"{jobs} jobs of {each:g} GPUs each do not fit on {count}: give fewer --jobs, or"
            " another --gpus-per-job."
        )
    return [places[index] for index in range(jobs)]


def _threads(config: PoolConfig, own: int | None) -> int:
    import torch

    return own or config.cpus_per_job or torch.get_num_threads()
