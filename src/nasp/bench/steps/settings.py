"""What is measured: which network, which batch, where."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from nasp.training.device import DeviceName

PRECISIONS = {"float32": "32-true", "bfloat16": "bf16-mixed", "float64": "64-true"}
"""Lightning Fabric's names; bfloat16 is autocast, the weights stay float32."""


class BenchSettings(BaseModel):
    """A supernet, a batch and a device; the defaults are those of the project's bar."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    space: str = "darts"
    """The search space's name."""
    channels: int = Field(16, ge=1)
    """Channels of the first cell; of recurrent, its units."""
    cells: int = Field(8, ge=1)
    """Cells in all; in nasbench201, mobile and vit cells a stage."""
    batch: int = Field(16, ge=1)
    """Images a step; of a text, columns."""
    image_size: int = Field(32, ge=4)
    """Height and width of an image."""
    bptt: int = Field(35, ge=1)
    """Tokens of a column in a step; read in a space for text."""
    vocabulary: int = Field(10_000, ge=2)
    """Number of tokens; read in a space for text."""
    candidates: int | None = Field(None, ge=1)
    """Candidates an edge, those with most parameters first, repeated beyond the space's number;
    default the space's own."""
    path_candidates: int | None = Field(None, ge=1)
    """The path is drawn from the first so many of them, so that series over `candidates` run one
    and the same path; None: from all."""
    device: DeviceName = "auto"
    """auto (a GPU if there is one), cpu, cuda, cuda:1 or mps."""
    deterministic: bool = True
    """On a CUDA device, take only algorithms that repeat themselves, as a search does by default;
    False takes the fastest."""
    dtype: Literal["float32", "bfloat16", "float64"] = "float32"
    """float32, bfloat16 (autocast) or float64."""
    threads: int | None = Field(None, ge=1)
    """Threads of torch and OpenMP; default torch's own."""
    seed: int = Field(0, ge=0)
    """Fixes weights, data and the path."""
