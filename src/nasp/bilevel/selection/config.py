"""What a user can say about the selection."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from nasp.training.recipe import Recipe

Selecting = Literal["none", "rerank", "train"]
"""How the result is chosen: the last architecture; by the shared weights; by training too."""


class SelectConfig(BaseModel):
    """Settings of the selection."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    candidates: int = Field(32, ge=1)
    """How many architectures are ranked by the shared weights."""
    rerank_batches: int | None = Field(16, ge=1)
    """On how many validation batches; None for the whole pass."""
    epochs: int = Field(12, ge=2)
    """Epochs of stand-alone training, of all networks together: what train may cost."""
    first_rung: int = Field(1, ge=1)
    """Epochs after which the first networks are dropped."""
    eta: int = Field(2, ge=2)
    """One in so many networks reaches the next rung, which trains so many times longer."""
    weights: Literal["fresh", "inherit"] = "fresh"
    """Those that stand-alone training starts from: fresh, as the network was before the search,
    or inherit, the supernet's."""
    lr: float | None = Field(None, gt=0)
    """Learning rate of that training at the start of each rung; None for the search's."""

    def recipe(self, search: Recipe) -> Recipe:
        """Return what networks are trained by, from a search's settings."""
        return search if self.lr is None else search.model_copy(update={"lr": self.lr})

    @model_validator(mode="after")
    def _affords_two(self) -> SelectConfig:
        if self.epochs < 2 * self.first_rung:
            raise ValueError(
                f"{self.epochs} epochs do not train two networks for first_rung="
                f"{self.first_rung}: give at least {2 * self.first_rung}"
            )
        return self
