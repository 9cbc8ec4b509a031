"""DARTS's space of recurrent cells, and their genotypes.

Source: Liu, Simonyan, Yang, "DARTS: Differentiable Architecture Search", ICLR 2019, sections 2.1,
3.1.2 and A.1.2.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from nasp.errors import UsageError
from nasp.spaces.genotype import genotype_fields, pairs_of
from nasp.spaces.language_model import Dropouts, LanguageModel
from nasp.spaces.recurrent_cell import OPERATIONS, Read, RecurrentCell
from nasp.spaces.recurrent_search import NODES, SearchCell, edge_name
from nasp.spaces.space import Wire, checked_edges
from nasp.supernet.architecture import Architecture

_CONCAT = list(range(1, NODES + 1))


class LanguageConfig(BaseModel):
    """The size of a language model, searched or derived."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    vocabulary: int = Field(10_000, ge=2)
    """Number of tokens."""
    channels: int = Field(300, ge=1)
    """Units of the cell and of the embedding (DARTS: nhid = emsize)."""
    cells: int = Field(1, ge=1)
    """Recurrent layers; DARTS has one."""
    dropouts: Dropouts = Field(default_factory=Dropouts)
    """Probability of dropout: output, hidden, input, embedding or word; repeatable."""


class Recurrent:
    """Cells of eight nodes, each of which reads one earlier state through one operation."""

    name = "recurrent"
    data = "text"
    small = LanguageConfig(vocabulary=2, channels=4)

    def supernet(self, config: LanguageConfig) -> LanguageModel:
        """Return a language model with a `Choice` on each edge; see `LanguageModel.forward`."""
        cells = [SearchCell(config.channels, config.dropouts) for _ in range(config.cells)]
        return LanguageModel(config.vocabulary, config.channels, cells, config.dropouts)

    def network(self, architecture: Architecture, config: LanguageConfig) -> LanguageModel:
        """Return the derived language model with fresh weights; see `LanguageModel.forward`.

        Raises:
            UsageError: the architecture does not belong to this space.
        """
        kept = self._kept(architecture)
        cells = [
            RecurrentCell(
                [Read(source, OPERATIONS[name]()) for name, source in kept],
                config.channels,
                config.dropouts,
            )
            for _ in range(config.cells)
        ]
        return LanguageModel(config.vocabulary, config.channels, cells, config.dropouts)

    def auxiliary_head(self, config: LanguageConfig) -> None:
        """Return None: there is none."""
        del config

    def notation(self, architecture: Architecture) -> str:
        """Return the cell as DARTS writes it: ``Genotype(recurrent=[('op', 0), ...], concat=...)``.

        Raises:
            UsageError: the architecture does not belong to this space.
        """
        return f"Genotype(recurrent={self._kept(architecture)}, concat=range(1, {NODES + 1}))"

    def parse(self, text: str) -> Architecture:
        """Read a DARTS genotype, with or without the name that it is assigned to.

        Each of the eight pairs is of an operation and the state that the node reads: 0 is the
        first state, n that of the node before node n.

        Raises:
            UsageError: the text is no genotype of this space.
        """
        fields = genotype_fields(text, ("recurrent", "concat"))
        if fields["concat"] != _CONCAT:
            raise UsageError(f"The genotype's concat must be range(1, {NODES + 1}).")
        edges: dict[str, str | None] = {}
        for node, (name, kept) in enumerate(pairs_of(fields["recurrent"], "recurrent", NODES)):
            if not 0 <= kept <= node:
                raise UsageError(
                    f"The genotype's recurrent node {node} reads one of the states 0 to {node},"
                    f" not {kept}."
                )
            for source in range(node + 1):
                edges[edge_name(node, source)] = name if source == kept else None
        architecture = Architecture(edges, self.name)
        self._kept(architecture)
        return architecture

    def wiring(self, architecture: Architecture) -> list[Wire]:
        """Return what each node reads; see `Space.wiring`."""
        states = ["x, h", *(f"node {node}" for node in range(NODES))]
        return [
            Wire("recurrent", states[source], states[node + 1], operation)
            for node, (operation, source) in enumerate(self._kept(architecture))
        ]

    def _kept(self, architecture: Architecture) -> list[tuple[str, int]]:
        """Return, for each node, its operation and the state that it reads."""
        places = [(node, source) for node in range(NODES) for source in range(node + 1)]
        table = {edge_name(*place): OPERATIONS for place in places}
        chosen = checked_edges(architecture, self.name, table)
        kept = []
        for node in range(NODES):
            ends = [(chosen[edge_name(node, source)], source) for source in range(node + 1)]
            on = [(name, source) for name, source in ends if name is not None]
            if len(on) != 1:
                raise UsageError(
                    f"The architecture has {len(on)} edges at recurrent node {node}: exactly one"
                    " must survive there."
                )
            kept += on
        return kept


RECURRENT = Recurrent()
"""DARTS's space of recurrent cells."""
