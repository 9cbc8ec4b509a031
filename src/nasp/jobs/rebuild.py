"""From a run folder or an architecture back to its network, with weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from nasp.domains import find_domain
from nasp.errors import NaspError, UsageError, unknown_name, validated
from nasp.exporters.service import Service
from nasp.jobs.search_job import SearchJob
from nasp.jobs.targets import found_architecture, job_of
from nasp.jobs.train_job import TrainJob
from nasp.jobs.weights import load_weights, searched_supernet
from nasp.runs.folder import RunFolder
from nasp.spaces import find_space
from nasp.supernet.architecture import Architecture
from nasp.supernet.derive import derive
from nasp.training.events import Observer, Warned, nobody
from nasp.training.recalibration import STALE, Recalibration, needs_recalibration

Weights = Literal["best", "last", "fresh", "inherit"]
"""Of a training's best or last epoch, newly drawn, or the supernet's as the search left them."""


@dataclass(frozen=True)
class Rebuilt:
    """A network, and how it came about.

    Attributes:
        network: plain, in training mode.
        example: the arguments of a call, two images or texts.
        weights: which weights it has.
        run: the run that they are from; None for fresh ones.
        about: the architecture in its space's notation.
        service: how it is used on files, where its run keeps that.
    """

    network: nn.Module
    example: tuple[Tensor, ...]
    weights: Weights
    run: Path | None
    about: str
    service: Service | None = None


def rebuild(
    target: RunFolder | Architecture,
    weights: str | None = None,
    size: Mapping[str, int] | None = None,
    seed: int = 0,
    tokens: int = 35,
    observe: Observer = nobody,
) -> Rebuilt:
    """Return the network of a training, of a search's result, or of an architecture.

    Args:
        target: a run or an architecture. A search whose result was trained in its folder
            ``train`` stands for that training, unless its own weights are asked for.
        weights: which; default a training's best, a search's own, an architecture's fresh ones.
        size: fields of the domain's size of a network; default the run's, or those of a search in
            the space. Only fresh weights can have another size than the run's.
        seed: of fresh weights.
        tokens: of each text of a language model's example.
        observe: is told how far the reading of images is, whose shape a run's folder needs.

    Raises:
        UsageError: the target does not have such weights, or the size does not fit.
        NaspError: the weights are damaged.
    """
    if weights is not None and weights not in get_args(Weights):
        raise unknown_name("weights", weights, list(get_args(Weights)))
    given = dict(size or {})
    if isinstance(target, Architecture):
        if weights not in (None, "fresh"):
            raise UsageError(
                f"An architecture has no {weights} weights: give the folder of its training, or"
                " --weights fresh."
            )
        return _fresh(target, {}, given, seed, tokens)
    job = job_of(target)
    if isinstance(job, SearchJob):
        training = RunFolder(target.path / "train")
        is_trained = (training.path / "best.safetensors").is_file()
        if weights in ("best", "last") or (weights is None and is_trained):
            if not is_trained:
                raise UsageError(
                    f"What {target.path} found is not trained: run 'nasp train {target.path}', or"
                    " say --weights inherit."
                )
            return rebuild(training, weights, size, seed, tokens, observe)
    elif weights == "inherit":
        raise UsageError(f"{target.path} is a training: its weights are best, last or fresh.")
    if weights == "fresh":
        architecture = found_architecture(target)
        return _fresh(architecture, run_size(target, given, observe), given, seed, tokens)
    _refuse(given)
    if isinstance(job, SearchJob):
        return _inherited(target, job, observe, tokens)
    return _trained(target, job, weights or "best", observe, tokens)


def run_size(
    run: RunFolder, given: Mapping[str, Any], observe: Observer | None = nobody
) -> dict[str, Any]:
    """Return the fields of the size of a run's network, as its settings and its data say.

    Args:
        run: of a search or a training.
        given: fields that the user says instead; data are not read for these alone.
        observe: is told how far the reading of data is; None: what only reading tells is left out.
    """
    job = job_of(run)
    own: Any = dict(job.supernet) if isinstance(job, SearchJob) else job.train.network_fields
    size = {"channels": job.channels, "cells": job.cells, **own}
    shape = job.domain.known_shape(job.data, run.path)
    if not shape and observe is not None and not given.keys() >= set(job.domain.shape):
        shape = job.domain.read(job.data.in_run(run.path), observe).shape
    return {**size, **shape}


def _fresh(
    architecture: Architecture,
    own: Mapping[str, Any],
    given: Mapping[str, Any],
    seed: int,
    tokens: int,
) -> Rebuilt:
    if architecture.space is None:
        raise UsageError(
            "The architecture is of a network of your own, which Python alone knows: use"
            " nasp.export(found.build(), ...) there."
        )
    space = find_space(architecture.space)
    domain = find_domain(space.data)
    fields = {**domain.search_defaults("", space.name).size, **own, **given}
    validated(domain.network, fields, f"a network of space '{space.name}'")
    size = domain.sized(fields)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = space.network(architecture, size)
    example = domain.example(network, size, tokens)
    return Rebuilt(network, example, "fresh", None, _about(architecture))


def _inherited(run: RunFolder, job: SearchJob, observe: Observer, tokens: int) -> Rebuilt:
    architecture = found_architecture(run)
    supernet = searched_supernet(run, job, observe)
    network = derive(supernet, architecture)
    if needs_recalibration(network):
        _recalibrate(network, supernet.network, run, job, observe)
    size = job.domain.sized(run_size(run, {}, observe))
    example = job.domain.example(network, size, tokens)
    about, service = _about(architecture), _service(run, job)
    return Rebuilt(network, example, "inherit", run.path, about, service)


def _recalibrate(
    network: nn.Module, searched: nn.Module, run: RunFolder, job: SearchJob, observe: Observer
) -> None:
    """Measure BatchNorm's statistics on the run's data, or tell that they are not there."""
    config = job.search.alone()
    try:
        data = job.domain.read(job.data.in_run(run.path), observe)
        loaders = data.search_loaders(searched, config.fabric().device, config.seed)
        Recalibration(loaders.weights, data.task(), config)(network)
    except NaspError as error:
        observe(Warned(STALE.format(f"they need the run's data: {error}".rstrip("."))))
    network.cpu()


def _trained(
    run: RunFolder, job: TrainJob, weights: str, observe: Observer, tokens: int
) -> Rebuilt:
    best = weights == "best"
    file = run.path / ("best.safetensors" if best else "weights.safetensors")
    if not file.is_file():
        raise UsageError(
            f"The training in {run.path} is not that far: go on with 'nasp resume {run.path}'."
        )
    size = job.domain.sized(run_size(run, {}, observe))
    network = job.network(size)
    load_weights(network, file)
    if job.architecture is None:
        about = f"A hand-made network beside the space {job.space}."
    else:
        about = _about(Architecture(job.architecture, job.space))
    example = job.domain.example(network, size, tokens)
    which: Weights = "best" if best else "last"
    return Rebuilt(network, example, which, run.path, about, _service(run, job))


def _service(run: RunFolder, job: SearchJob | TrainJob) -> Service | None:
    if job.domain.in_service is None:
        return None
    try:
        return job.domain.in_service.of_run(run.path)
    except UsageError:  # of a version that did not keep it
        return None


def _refuse(given: Mapping[str, int]) -> None:
    if given:
        option = f"--{next(iter(given)).replace('_', '-')}"
        raise UsageError(
            f"The weights of a run have its size: leave out {option}, or say --weights fresh."
        )


def _about(architecture: Architecture) -> str:
    space = find_space(architecture.space or "")
    return f"Search space {space.name}. {space.notation(architecture)}"
