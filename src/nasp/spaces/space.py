"""What a search space is: a supernet to search in, and a network from what was found."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Literal, NamedTuple, Protocol

from pydantic import BaseModel, ConfigDict, Field
from torch import nn

from nasp.errors import UsageError, unknown_name
from nasp.supernet.architecture import Architecture


class NotationError(UsageError):
    """A text is not in the notation of a space at all."""


class NetworkConfig(BaseModel):
    """The size of a network of a space, of the supernet as of a derived network."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    in_channels: int = Field(3, ge=1)
    """Channels of the input image."""
    image_size: int = Field(32, ge=4)
    """Height and width of the input image, in pixels."""
    classes: int = Field(10, ge=2)
    """Number of classes."""
    channels: int = Field(16, ge=1)
    """Channels of the first cell (C)."""
    cells: int = Field(8, ge=1)
    """Cells in all; in nasbench201, mobile and vit cells a stage."""
    stem: Literal["cifar", "imagenet"] = "cifar"
    """cifar keeps the resolution, imagenet reduces it eightfold, in mobile twofold; vit's stem goes
    by the image."""
    partial_channels: int = Field(1, ge=1)
    """K, where the candidates of a supernet see 1/K of an edge's channels
    (`nasp.PartialChannels`); derived networks always have all."""
    drop_path: bool = False
    """Whether edges of a derived network hold (inactive) drop-path modules."""
    as_derived: bool = False
    """Whether a supernet's candidates are those of a derived network (BatchNorm with affine
    parameters, none behind a pooling): for what derived networks cost."""


SMALL = NetworkConfig(in_channels=1, image_size=8, channels=4, cells=3)
"""The size of a network where the size does not matter."""


class Wire(NamedTuple):
    """One surviving edge, as people read a cell: where from, where to, through what."""

    cell: str
    source: str
    target: str
    operation: str


def checked_edges(
    architecture: Architecture, space: str, candidates: Mapping[str, Collection[str]]
) -> dict[str, str | None]:
    """Return what an architecture has on each edge of a space: a candidate, or None for off.

    Args:
        architecture: to be checked.
        space: the space's name.
        candidates: all its edges, and what can stand there.

    Raises:
        UsageError: the architecture is of another space, or has other edges or candidates.
    """
    if architecture.space != space:
        raise UsageError(f"The architecture is of space '{architecture.space}', not of '{space}'.")
    if extra := sorted(architecture.edges.keys() - candidates.keys()):
        raise UsageError(f"Space '{space}' has no edge '{extra[0]}'.")
    for edge, known in candidates.items():
        if edge not in architecture.edges:
            raise UsageError(f"The architecture lacks the edge '{edge}'.")
        name = architecture[edge]
        if name is not None and name not in known:
            kind = f"candidate operation on edge '{edge}' of space '{space}'"
            raise unknown_name(kind, name, list(known))
    return {edge: architecture[edge] for edge in candidates}


class Space(Protocol):
    """A search space; registered in `nasp.spaces.SPACES`, or by a plug-in."""

    @property
    def name(self) -> str:
        """The name on the command line."""
        ...

    @property
    def data(self) -> str:
        """The kind of data that its networks read, and so which configuration they take.

        ``"images"``: a `NetworkConfig`, and forward maps [B,C,H,W] to [B,classes]; ``"text"``: a
        `LanguageConfig`, and forward is that of `nasp.spaces.language_model.LanguageModel`.
        """
        ...

    @property
    def small(self) -> Any:
        """A small configuration, for what does not depend on the size."""
        ...

    def supernet(self, config: Any) -> nn.Module:
        """Return a network with a `Choice` on every edge."""
        ...

    def network(self, architecture: Architecture, config: Any) -> nn.Module:
        """Return the derived network with fresh weights.

        Raises:
            UsageError: the architecture does not belong to this space.
        """
        ...

    def auxiliary_head(self, config: Any) -> tuple[str, nn.Module] | None:
        """Return where in the derived network (submodule name) to tap, and the head, or None."""
        ...

    def notation(self, architecture: Architecture) -> str:
        """Return the architecture in the field's own notation for this space."""
        ...

    def parse(self, text: str) -> Architecture:
        """Read the field's own notation.

        Raises:
            UsageError: the text is not of this space.
        """
        ...

    def wiring(self, architecture: Architecture) -> list[Wire]:
        """Return the surviving edges of each kind of cell, node after node.

        Raises:
            UsageError: the architecture does not belong to this space.
        """
        ...
