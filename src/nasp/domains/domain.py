"""What a kind of data is to the library: one record, of which everything else asks."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sized
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from nasp.complexity.target import Target
from nasp.domains.evaluation import Evaluation
from nasp.exporters.service import Service
from nasp.spaces import Space
from nasp.training.events import Observer
from nasp.training.task import Batch, MeasuredTask, Task
from nasp.training.train import TrainConfig

if TYPE_CHECKING:
    from typing_extensions import Self

Settings = Mapping[str, Any]
"""Fields of a settings class, by name."""


class DataConfig(BaseModel):
    """Which data, and how they are fed; a kind of data adds its own."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    handed_on: ClassVar[tuple[str, ...]] = ("name", "root", "workers")
    """The fields that a training of what was found takes over from the search."""

    name: str
    """Name of the data."""
    root: Path | None = None
    """Where data sets lie; default $NASP_DATA, else ~/.cache/nasp."""
    batch_size: int = Field(64, ge=1)
    """Examples a step."""
    workers: int = Field(2, ge=0)
    """Processes that read what does not fit in memory."""
    may_shrink: bool = False
    """Take smaller batches where there are too few examples for one of that size."""

    def absolute(self) -> Self:
        """Return the same with whole paths, as a run folder keeps them."""
        kind, colon, path = self.name.partition(":")
        name = f"{kind}:{os.path.abspath(os.path.expanduser(path))}" if colon else self.name
        return self.model_copy(update={"name": name, "root": self.root and self.root.absolute()})

    def in_run(self, run: Path) -> Self:
        """Return the same as a run that was begun reads them: all that its folder keeps holds."""
        del run
        return self

    def moved(self, name: str) -> Self:
        """Return the same under another name, at another place."""
        return self.model_copy(update={"name": name})


class SupernetConfig(BaseModel):
    """What a supernet has beside its size; a kind of data adds its own."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Batches(Sized, Iterable[Batch], Protocol):
    """A loader; its length is that of a whole pass."""


class SearchLoaders(NamedTuple):
    """What a search reads.

    Attributes:
        weights: batches that the weights learn from.
        alphas: batches of other examples, which the alphas learn from.
        selection: the alphas' examples as they are, each pass the same, to measure on.
    """

    weights: Batches
    alphas: Batches
    selection: Batches


class TrainLoaders(NamedTuple):
    """What a training reads.

    Attributes:
        train: batches to learn from.
        measured: what the network is measured on after each epoch.
        test: what the best epoch's network is measured on at the end, where that is apart.
        counted: what a pass over `train` has, by name, where speed is told in it.
    """

    train: Batches
    measured: Batches
    test: Batches | None = None
    counted: Mapping[str, int] = {}


class Data(Protocol):
    """Data that were read, as a search or a training uses them."""

    @property
    def shape(self) -> Settings:
        """What the data say of the size of a network that reads them."""
        ...

    def task(self, config: Any = None) -> MeasuredTask:
        """Return what a network is for: in a search, or in a training by this recipe."""
        ...

    def search_loaders(self, network: Any, device: torch.device, seed: int) -> SearchLoaders:
        """Return loaders for a search.

        Args:
            network: the supernet.
            device: where it is.
            seed: of all that is random in them.
        """
        ...

    def train_loaders(self, network: Any, device: torch.device, seed: int) -> TrainLoaders:
        """Return loaders for a training; see `search_loaders`."""
        ...

    def keep(self, run: Path) -> None:
        """Write into a run folder what its network cannot be used without.

        Raises:
            NaspError: the folder holds another, since the data have changed.
        """
        ...


@dataclass(frozen=True)
class SearchDefaults:
    """What a search takes where the user says nothing.

    Attributes:
        size: ``channels`` and ``cells``.
        data: fields of the domain's `DataConfig`.
        search: fields of `SearchConfig`.
        supernet: fields of the domain's settings of a supernet.
        settings: of the strategy ``nasp``.
        selection: fields of `SelectConfig`.
        bound_at: ``channels`` and ``cells`` at which bounds hold; None: they hold for the searched
            network itself, at no other size.
    """

    size: Settings
    data: Settings
    search: Settings
    supernet: Settings = field(default_factory=dict)
    settings: Settings = field(default_factory=dict)
    selection: Settings = field(default_factory=dict)
    bound_at: Settings | None = None


@dataclass(frozen=True)
class TrainDefaults:
    """What a training takes where the user says nothing.

    Attributes:
        size: ``channels`` and ``cells``.
        data: fields of the domain's `DataConfig`.
        train: fields of the domain's `TrainConfig`.
    """

    size: Settings
    data: Settings
    train: Settings = field(default_factory=dict)


@dataclass(frozen=True)
class InService:
    """How networks of a kind are used on files.

    Attributes:
        endings: of the files that are taken from folders, in lower case.
        of_run: a run folder -> what its network takes and says. Raises UsageError where the run
            does not keep it.
        of_said: the same of `Service.said`. Raises UsageError.
    """

    endings: tuple[str, ...]
    of_run: Callable[[Path], Service]
    of_said: Callable[[str], Service]


class HandMade(NamedTuple):
    """A hand-made network to compare with.

    Attributes:
        title: what tables call it.
        network: size, about how many parameters -> the network.
    """

    title: str
    network: Callable[[Any, int], nn.Module]


@dataclass(frozen=True)
class Domain:
    """A kind of data; register one in `nasp.domains.DOMAINS`.

    Where it says `network`, the size of a network is meant, as the spaces of this kind take it.

    Attributes:
        name: as spaces and messages call it: ``images``.
        data_names: what the user can give as data: names, and ``folder:DIR`` for any folder.
        embedded: the name of data that come with what is installed.
        data: settings: which data, in which batches.
        supernet: settings of a supernet beside `Size`.
        train: settings of a training: its recipe.
        network: the class of its networks' sizes.
        shape: the fields of `network` that the data say.
        by_hand: the hand-made rivals by name, the usual one first.
        default_space: the given fields of `data`, ``name`` among them -> a search space's name.
        search_defaults: data's name, space's name -> defaults.
        train_defaults: data's name, space's name -> defaults.
        read: settings, observer -> the data. Raises UsageError and NaspError.
        known_shape: settings, run folder -> `Data.shape`, if known without reading; else empty.
        sized: fields of `network` -> the size. Raises UsageError.
        example: network, size, tokens -> the arguments of a call, two examples.
        stand_in: network, size, examples, tokens of each, seed -> a task and a random batch of it,
            for what is about time alone.
        target: space, size, device -> the space's networks, as what costs are about.
        described: fields of a size -> what its networks read, in words.
        evaluate: network on a device, settings, its run's folder, other data or None, the device,
            observer -> what is found out about it; None: the figures of the task alone.
        in_service: how its networks are used on files, if they tell classes of files apart.
    """

    name: str
    data_names: tuple[str, ...]
    embedded: str
    data: type[DataConfig]
    supernet: type[SupernetConfig]
    train: type[TrainConfig]
    network: type[BaseModel]
    shape: tuple[str, ...]
    by_hand: Mapping[str, HandMade]
    default_space: Callable[[Settings], str]
    search_defaults: Callable[[str, str], SearchDefaults]
    train_defaults: Callable[[str, str], TrainDefaults]
    read: Callable[[Any, Observer], Data]
    known_shape: Callable[[Any, Path], Settings]
    sized: Callable[[Settings], Any]
    example: Callable[[Any, Any, int], tuple[Tensor, ...]]
    stand_in: Callable[[Any, Any, int, int, int], tuple[Task, Batch]]
    target: Callable[[Space, Any, torch.device | str], Target]
    described: Callable[[Settings], str]
    evaluate: (
        Callable[[nn.Module, Any, Path, str | None, torch.device, Observer], Evaluation] | None
    ) = None
    in_service: InService | None = None

    def knows(self, data: str) -> bool:
        """Tell whether data of this name are of this kind."""
        scheme, colon, _ = data.partition(":")
        return data in self.data_names or any(
            name.startswith(scheme + ":") for name in self.data_names if colon
        )
