"""What spaces of layers have in common: networks of stages, each of a few rows of choices.

A row stands for one layer of a stage; where a stage has several cells, their layers share it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from torch import Tensor, nn

from nasp.errors import UsageError
from nasp.spaces.operations import Candidate, derived, on_edge
from nasp.spaces.space import NetworkConfig, NotationError, Wire, checked_edges
from nasp.supernet.architecture import Architecture
from nasp.supernet.choice import Choice
from nasp.supernet.zero import Zero

SKIP = "skip"
"""The candidate that leaves a layer out: nothing is added to the layer's input."""


class Residual(nn.Module):
    """A layer that adds what its body makes of the input to it: ``[B,C,H,W]`` to the same.

    Args:
        body: keeps the shape.
    """

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum."""
        out: Tensor = x + self.body(x)
        return out


def skip(channels: int, stride: int, affine: bool) -> nn.Module:
    """Return what adds nothing."""
    del channels, affine
    return Zero(stride=stride)


MakeLayer = Callable[[str, Mapping[str, Candidate], int, int, int], nn.Module]
"""Makes a layer from its row, candidates, input and output channels, and stride."""


def searched_layer(config: NetworkConfig) -> MakeLayer:
    """Return what makes the layers of a supernet, each a `Choice`.

    Candidates that change the number of channels always see all of them.
    """

    def make(
        row: str, candidates: Mapping[str, Candidate], inputs: int, outputs: int, stride: int
    ) -> nn.Module:
        whole = config.model_copy(update={"partial_channels": 1})
        seen = config if inputs == outputs else whole
        choice = Choice(on_edge(candidates, outputs, stride, False, seen), share=row)
        return Residual(choice) if _is_residual(inputs, outputs, stride) else choice

    return make


def derived_layer(config: NetworkConfig, names: Mapping[str, str]) -> MakeLayer:
    """Return what makes the layers of a derived network.

    Args:
        config: its size.
        names: the candidate of each row.
    """

    def make(
        row: str, candidates: Mapping[str, Candidate], inputs: int, outputs: int, stride: int
    ) -> nn.Module:
        if names[row] == SKIP:
            return nn.Identity()
        is_residual = _is_residual(inputs, outputs, stride)
        drop_path = config.drop_path and is_residual  # elsewhere nothing would be left
        module = derived(candidates[names[row]], outputs, stride, drop_path)
        return Residual(module) if is_residual else module

    return make


def _is_residual(inputs: int, outputs: int, stride: int) -> bool:
    return stride == 1 and inputs == outputs


class Row(NamedTuple):
    """One row of alphas.

    Attributes:
        edge: its name.
        layer: the name of its layer in a stage.
        candidates: their names.
    """

    edge: str
    layer: str
    candidates: Collection[str]


@dataclass(frozen=True)
class Rows:
    """The rows of a space, stage by stage; the notation is their candidates in order.

    Attributes:
        space: its name.
        stages: the rows of each stage.
    """

    space: str
    stages: Sequence[Sequence[Row]]

    def names(self, architecture: Architecture) -> dict[str, str]:
        """Return the candidate of each row.

        Raises:
            UsageError: the architecture does not belong to the space.
        """
        table = {row.edge: row.candidates for stage in self.stages for row in stage}
        names = {}
        for edge, name in checked_edges(architecture, self.space, table).items():
            if name is None:
                raise UsageError(f"The architecture lacks the edge '{edge}'.")
            names[edge] = name
        return names

    def text(self, architecture: Architecture) -> str:
        """Return the candidates' names: ``,`` between rows, ``|`` between stages."""
        names = self.names(architecture)
        return "|".join(",".join(names[row.edge] for row in stage) for stage in self.stages)

    def read(self, text: str) -> Architecture:
        """Read what `text` returned.

        Raises:
            UsageError: it is something else.
        """
        stages = [[name.strip() for name in part.split(",")] for part in text.split("|")]
        if [len(stage) for stage in stages] != [len(stage) for stage in self.stages]:
            example = "|".join(",".join(row.layer for row in stage) for stage in self.stages)
            raise NotationError(
                f"The text is no network of '{self.space}': write {example} with a candidate for"
                " each word."
            )
        rows = (row for stage in self.stages for row in stage)
        names = (name for stage in stages for name in stage)
        edges: dict[str, str | None] = {r.edge: n for r, n in zip(rows, names, strict=True)}
        architecture = Architecture(edges, self.space)
        self.names(architecture)
        return architecture

    def wires(self, architecture: Architecture) -> list[Wire]:
        """Return the layers of each stage, one after the other; those left out are not there."""
        names = self.names(architecture)
        wires = []
        for number, stage in enumerate(self.stages, 1):
            source = "input"
            for row in stage:
                if names[row.edge] != SKIP:
                    wires.append(Wire(f"stage {number}", source, row.layer, names[row.edge]))
                    source = row.layer
        return wires


@dataclass(frozen=True, eq=False)
class LayerSpace(ABC):
    """A space of such networks; one says how its networks are built, and which rows it has.

    Attributes:
        name: the name on the command line.
    """

    name: str
    data: str = field(default="images", init=False)
    small: NetworkConfig = field(
        default=NetworkConfig(in_channels=1, image_size=8, channels=4, cells=1), init=False
    )

    @property
    @abstractmethod
    def rows(self) -> Rows:
        """The rows."""

    @abstractmethod
    def built(self, config: NetworkConfig, make: MakeLayer) -> nn.Module:
        """Return a network whose layers are made by `make`."""

    def supernet(self, config: NetworkConfig) -> nn.Module:
        """Return a network with a `Choice` for every layer; [B,C,H,W] to [B,classes].

        Raises:
            UsageError: the channels cannot be split.
        """
        return self.built(config, searched_layer(config))

    def network(self, architecture: Architecture, config: NetworkConfig) -> nn.Module:
        """Return the derived network with fresh weights; [B,C,H,W] to [B,classes].

        Raises:
            UsageError: the architecture does not belong to this space.
        """
        return self.built(config, derived_layer(config, self.rows.names(architecture)))

    def auxiliary_head(self, config: NetworkConfig) -> None:
        """Return None: such networks are trained without one."""
        del config

    def notation(self, architecture: Architecture) -> str:
        """Return the layers of each stage; see `Rows.text`."""
        return self.rows.text(architecture)

    def parse(self, text: str) -> Architecture:
        """Read that; see `Rows.read`."""
        return self.rows.read(text)

    def wiring(self, architecture: Architecture) -> list[Wire]:
        """Return the layers that are there; see `Space.wiring`."""
        return self.rows.wires(architecture)
