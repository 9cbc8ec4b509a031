"""The search algorithms, by name; a new one is one file here and one line in `STRATEGIES`.

Another distribution registers one by an entry point of the group ``nasp.strategies``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from nasp.errors import validated
from nasp.runs.registry import Registry, lacking
from nasp.strategies.darts import DARTS, DARTSConfig
from nasp.strategies.darts_second_order import DARTSSecondOrder
from nasp.strategies.drnas import DrNAS, DrNASConfig
from nasp.strategies.gdas import GDAS, GDASConfig
from nasp.strategies.largest import LargestConfig, largest
from nasp.strategies.nasp import (
    NASP,
    NASPConfig,
    NASPWithoutC2Config,
    takes_gains,
    weight_steps,
)
from nasp.strategies.pc_darts import PARTS, PCDARTS, PCDARTSConfig
from nasp.strategies.proximal_algorithm import (
    PALazyConfig,
    nasp_without_c1,
    pa_lazy,
    pa_standard,
)
from nasp.strategies.random_search import Random, RandomConfig
from nasp.strategies.random_sharing import RandomSharing
from nasp.strategies.relaxation import AlphaAdam
from nasp.strategies.snas import SNAS, SNASConfig
from nasp.strategies.strategy import (
    Averages,
    Horizon,
    Problem,
    Proposes,
    Rests,
    Strategy,
    current_architecture,
)
from nasp.strategies.synflow import SynflowConfig, synflow

__all__ = [
    "DARTS",
    "NASP",
    "STRATEGIES",
    "Averages",
    "DARTSConfig",
    "DARTSSecondOrder",
    "Horizon",
    "NASPConfig",
    "Problem",
    "Proposes",
    "Random",
    "RandomConfig",
    "RandomSharing",
    "Registration",
    "Rests",
    "Strategy",
    "current_architecture",
    "find_strategy",
    "make_strategy",
    "strategy_names",
]


@dataclass(frozen=True)
class Registration:
    """A strategy's settings and how it is made.

    Attributes:
        config: its settings.
        make: from a problem and the settings.
        partial_channels: K, where its supernet's candidates are to see 1/K of the channels,
            unless the user says otherwise.
        iterative: whether it trains the supernet's weights. One that does not has a search of a
            single architecture step, and no weights to rank architectures by.
        keeps_batches: whether it looks at a batch again in a later step: then it is given all of
            each, also where several processes share them.
        can_doubt: whether, by its settings, it may find out that it does not know which
            architectures are good.
        weight_steps: by its settings and the search's length, weight steps to an architecture
            step; where they are more than one, a setting of this name fixes them.
        ranks_by_weights: whether ranking what it proposes by the shared weights is part of it.
    """

    config: type[BaseModel]
    make: Callable[[Problem, Any], Strategy]
    partial_channels: int = 1
    iterative: bool = True
    ranks_by_weights: bool = False
    keeps_batches: bool = False
    can_doubt: Callable[[Any], bool] = lambda _: False
    weight_steps: Callable[[Any, Horizon], int] = lambda *_: 1


STRATEGIES: dict[str, Registration] = {
    "nasp": Registration(NASPConfig, NASP, can_doubt=takes_gains, weight_steps=weight_steps),
    "darts": Registration(DARTSConfig, DARTS),
    "darts-second-order": Registration(DARTSConfig, DARTSSecondOrder, keeps_batches=True),
    "gdas": Registration(GDASConfig, GDAS),
    "snas": Registration(SNASConfig, SNAS),
    "pc-darts": Registration(PCDARTSConfig, PCDARTS, partial_channels=PARTS),
    "drnas": Registration(DrNASConfig, DrNAS),
    "pa-standard": Registration(AlphaAdam, pa_standard),
    "pa-lazy": Registration(PALazyConfig, pa_lazy),
    "nasp-without-c1": Registration(AlphaAdam, nasp_without_c1),
    "nasp-without-c2": Registration(
        NASPWithoutC2Config, NASP, can_doubt=takes_gains, weight_steps=weight_steps
    ),
    "random-sharing": Registration(RandomConfig, RandomSharing, ranks_by_weights=True),
    "random": Registration(RandomConfig, Random, iterative=False),
    "synflow": Registration(SynflowConfig, synflow, iterative=False),
    "params": Registration(LargestConfig, largest, iterative=False),
}


def _flaw(_name: str, registered: object) -> str | None:
    """Return in what a plug-in's registration falls short."""
    if not isinstance(registered, Registration):
        return "is no nasp.strategies.Registration"
    config, make = registered.config, registered.make
    if not (isinstance(config, type) and issubclass(config, BaseModel)):
        return "has settings that are no pydantic model"
    return lacking(make, Strategy) if isinstance(make, type) else None


_REGISTRY = Registry("strategy", "nasp.strategies", STRATEGIES, _flaw)


def strategy_names() -> list[str]:
    """Return the names of all strategies, the package's own first, then those of plug-ins."""
    return _REGISTRY.names()


def find_strategy(name: str) -> Registration:
    """Return the registration of a strategy of the package or of a plug-in.

    Raises:
        UsageError: there is none of this name, or the plug-in that has it is at fault.
    """
    return _REGISTRY.find(name)


def strategy_config(name: str, settings: Mapping[str, Any]) -> BaseModel:
    """Return a strategy's validated settings.

    Raises:
        UsageError: an unknown strategy, an unknown setting, or a value out of range.
    """
    return validated(find_strategy(name).config, settings, f"strategy '{name}'")


def make_strategy(name: str, problem: Problem, settings: Mapping[str, Any]) -> Strategy:
    """Return the named strategy for a problem.

    Raises:
        UsageError: an unknown strategy, an unknown setting, or a value out of range.
    """
    config = strategy_config(name, settings)
    return find_strategy(name).make(problem, config)
