"""Weights of a run, back in the network that they are of, or in one that is derived from it."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from nasp.errors import NaspError, validated
from nasp.jobs.repeat import RepeatJob
from nasp.jobs.search_job import SearchJob
from nasp.runs.folder import RunFolder, load_tensors
from nasp.spaces import find_space
from nasp.supernet.architecture import Architecture
from nasp.supernet.derive import derive
from nasp.supernet.supernet import Supernet
from nasp.training.events import Observer
from nasp.training.start import INIT


def load_weights(network: nn.Module, file: Path) -> None:
    """Give a network all weights in a file.

    Raises:
        NaspError: they are missing, or do not fit.
    """
    try:
        network.load_state_dict(load_tensors(file))
    except RuntimeError as error:
        raise NaspError(
            f"The weights in {file} do not fit the network that its run describes: they are of"
            " another version of nasp, or of another run."
        ) from error


def searched_supernet(run: RunFolder, job: SearchJob, observe: Observer) -> Supernet:
    """Return the supernet of a finished search, with the weights that it ended with.

    Raises:
        NaspError: they are missing, or do not fit.
    """
    space, domain = find_space(job.space), job.domain
    data = job.data.in_run(run.path)
    shape = domain.known_shape(data, run.path) or domain.read(data, observe).shape
    size = {"channels": job.channels, "cells": job.cells, **dict(job.supernet), **shape}
    supernet = Supernet(space.supernet(domain.sized(size)), space.name)
    load_weights(supernet.network, run.path / "weights.safetensors")
    return supernet


def keep_derived_start(
    given: Path, architecture: Architecture, run: RunFolder, observe: Observer
) -> None:
    """Keep for a new run what its architecture's candidates weigh in a search of its space.

    A candidate has another name in a supernet than in the network that is derived. Nothing is
    done where the run has begun, or the weights are not a search's.

    Args:
        given: the folder of the search, or the supernet's weights in it.
        architecture: of the run's network.
        run: begins with them.
        observe: is told how far the reading of data is, where their shape is not known.
    """
    folder = RunFolder(given if given.is_dir() else given.parent)
    is_supernet = given.is_dir() or given.name == "weights.safetensors"
    if (run.path / INIT).is_file() or not is_supernet or not folder.config_path.is_file():
        return
    content = folder.config()
    kinds = {job.kind: job for job in (SearchJob, RepeatJob)}
    if content.get("kind") not in kinds:
        return
    job = validated(kinds[content["kind"]], content["job"], str(folder.config_path))
    if job.space == architecture.space:
        supernet = searched_supernet(folder, job, observe)
        run.save_tensors(INIT, derive(supernet, architecture).state_dict())
