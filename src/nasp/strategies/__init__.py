"""The search algorithms, by name; a new one is one file here and one line in `STRATEGIES`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from nasp.errors import unknown_name, validated
from nasp.strategies.darts import DARTS, DARTSConfig
from nasp.strategies.darts_second_order import DARTSSecondOrder
from nasp.strategies.drnas import DrNAS, DrNASConfig
from nasp.strategies.gdas import GDAS, GDASConfig
from nasp.strategies.largest import LargestConfig, largest
from nasp.strategies.nasp import NASP, NASPConfig
from nasp.strategies.nasp_without_c1 import NASPWithoutC1, NASPWithoutC1Config
from nasp.strategies.nasp_without_c2 import NASPWithoutC2, NASPWithoutC2Config
from nasp.strategies.pa_lazy import PALazy, PALazyConfig
from nasp.strategies.pa_standard import PAStandard, PAStandardConfig
from nasp.strategies.pc_darts import PARTS, PCDARTS, PCDARTSConfig
from nasp.strategies.random_search import Random, RandomConfig
from nasp.strategies.random_sharing import RandomSharing
from nasp.strategies.snas import SNAS, SNASConfig
from nasp.strategies.strategy import Horizon, Problem, Proposes, Strategy
from nasp.strategies.synflow import SynflowConfig, synflow

__all__ = [
    "DARTS",
    "NASP",
    "STRATEGIES",
    "DARTSConfig",
    "DARTSSecondOrder",
    "Horizon",
    "NASPConfig",
    "Problem",
    "Proposes",
    "Random",
    "RandomConfig",
    "RandomSharing",
    "Strategy",
    "make_strategy",
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
        ranks_by_weights: whether ranking what it proposes by the shared weights is part of it.
    """

    config: type[BaseModel]
    make: Callable[[Problem, Any], Strategy]
    partial_channels: int = 1
    iterative: bool = True
    ranks_by_weights: bool = False


STRATEGIES: dict[str, Registration] = {
    "nasp": Registration(NASPConfig, NASP),
    "darts": Registration(DARTSConfig, DARTS),
    "darts-second-order": Registration(DARTSConfig, DARTSSecondOrder),
    "gdas": Registration(GDASConfig, GDAS),
    "snas": Registration(SNASConfig, SNAS),
    "pc-darts": Registration(PCDARTSConfig, PCDARTS, partial_channels=PARTS),
    "drnas": Registration(DrNASConfig, DrNAS),
    "pa-standard": Registration(PAStandardConfig, PAStandard),
    "pa-lazy": Registration(PALazyConfig, PALazy),
    "nasp-without-c1": Registration(NASPWithoutC1Config, NASPWithoutC1),
    "nasp-without-c2": Registration(NASPWithoutC2Config, NASPWithoutC2),
    "random-sharing": Registration(RandomConfig, RandomSharing, ranks_by_weights=True),
    "random": Registration(RandomConfig, Random, iterative=False),
    "synflow": Registration(SynflowConfig, synflow, iterative=False),
    "params": Registration(LargestConfig, largest, iterative=False),
}


def strategy_config(name: str, settings: Mapping[str, Any]) -> BaseModel:
    """Return a strategy's validated settings.

    Raises:
        UsageError: an unknown strategy, an unknown setting, or a value out of range.
    """
    if name not in STRATEGIES:
        raise unknown_name("strategy", name, list(STRATEGIES))
    return validated(STRATEGIES[name].config, settings, f"strategy '{name}'")


def make_strategy(name: str, problem: Problem, settings: Mapping[str, Any]) -> Strategy:
    """Return the named strategy for a problem.

    Raises:
        UsageError: an unknown strategy, an unknown setting, or a value out of range.
    """
    config = strategy_config(name, settings)
    return STRATEGIES[name].make(problem, config)
