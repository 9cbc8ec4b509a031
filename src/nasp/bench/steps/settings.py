"""What is measured: which network, which batch, where."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

PRECISIONS = {"float32": "32-true", "bfloat16": "bf16-mixed", "float64": "64-true"}
"""Lightning Fabric's names; bfloat16 is autocast, the weights stay float32."""


class BenchSettings(BaseModel):
    """A supernet, a batch and a device; the defaults are those of the project's bar.

    Attributes:
        space: the search space's name.
        channels: channels of the first cell; of a recurrent one its units.
        cells: cells in all; in ``nasbench201`` cells a stage.
        batch: images, or columns of text, a step.
        image_size: height and width of an image.
        bptt: tokens of a column in a step; read in a space for text.
        vocabulary: number of tokens; read in a space for text.
        candidates: candidate operations of each edge, see `nasp.bench.steps.networks`; None: the
            space's own.
        path_candidates: the path is drawn from the first so many of them, so that series over
            `candidates` run one and the same path; None: from all.
        device: ``"auto"`` is a CUDA device if there is one.
        dtype: ``"bfloat16"`` is autocast.
        threads: of torch and OpenMP; None: torch's default.
        seed: fixes weights, data and path.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    space: str = "darts"
    channels: int = Field(16, ge=1)
    cells: int = Field(8, ge=1)
    batch: int = Field(16, ge=1)
    image_size: int = Field(32, ge=4)
    bptt: int = Field(35, ge=1)
    vocabulary: int = Field(10_000, ge=2)
    candidates: int | None = Field(None, ge=1)
    path_candidates: int | None = Field(None, ge=1)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    dtype: Literal["float32", "bfloat16", "float64"] = "float32"
    threads: int | None = Field(None, ge=1)
    seed: int = Field(0, ge=0)
