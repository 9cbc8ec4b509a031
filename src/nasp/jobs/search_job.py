"""A search that fits in a JSON file, and what it begins with."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

from pydantic import Field, SerializeAsAny

from nasp.bilevel.search_costs import Bounded
from nasp.bilevel.settings import SearchConfig
from nasp.domains.domain import Data, SearchLoaders, SupernetConfig
from nasp.jobs.job import Job, Size
from nasp.runs.random_state import seed_all
from nasp.spaces import find_space
from nasp.supernet.supernet import Supernet
from nasp.training.layout import laid_out


class SearchJob(Size, Job):
    """A search in a space that is known by name.

    Attributes:
        supernet: settings of a supernet for such data.
        bound_at: the size at which bounds hold; None: they hold for the searched network itself.
        search: settings of the search.
    """

    kind: ClassVar[str] = "search"
    own: ClassVar[tuple[str, ...]] = ("data", "supernet")

    supernet: SerializeAsAny[SupernetConfig] = Field(default_factory=SupernetConfig)
    bound_at: Size | None = None
    search: SearchConfig = Field(default_factory=SearchConfig)


class Prepared(NamedTuple):
    """What a search begins with.

    Attributes:
        supernet: with fresh weights, on the job's device.
        loaders: of the data.
        bounded: makes the network that bounds are about; None: the searched one.
    """

    supernet: Supernet
    loaders: SearchLoaders
    bounded: Bounded | None


def prepared(data: Data, job: SearchJob) -> Prepared:
    """Return what a search in these data begins with, as its seed has it."""
    space, config, domain = find_space(job.space), job.search, job.domain
    size = {**data.shape, "channels": job.channels, "cells": job.cells}
    device = config.fabric().device
    seed_all(config.seed)
    network = laid_out(space.supernet(domain.sized({**size, **dict(job.supernet)})), device)
    loaders = data.search_loaders(network, device, config.seed)
    return Prepared(Supernet(network, space.name), loaders, bounded_in(data, job))


def bounded_in(data: Data, job: SearchJob) -> Bounded | None:
    """Return what makes the network that bounds are about; None: the searched one."""
    if job.bound_at is None:
        return None
    size = {**data.shape, "channels": job.channels, "cells": job.cells, **dict(job.bound_at)}
    space, final = find_space(job.space), job.domain.sized(size)
    return lambda device: job.domain.target(space, final, device)
