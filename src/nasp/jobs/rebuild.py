"""From a run folder or an architecture back to its network, with weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from nasp.domains.images.baseline import residual_network
from nasp.domains.images.feed import DataConfig, network_config, read_images
from nasp.domains.images.image_set import SHAPES
from nasp.domains.text.feed import vocabulary_size
from nasp.errors import NaspError, UsageError, unknown_name, validated
from nasp.jobs.jobs import AnySearchJob, AnyTrainJob, SearchJob, job_of
from nasp.jobs.language_jobs import LanguageSearchJob, LanguageTrainJob, trained_network
from nasp.jobs.plans import architecture_of
from nasp.runs.folder import RunFolder, load_tensors
from nasp.spaces import DataKind, LanguageConfig, NetworkConfig, find_space
from nasp.supernet.architecture import Architecture
from nasp.supernet.derive import derive
from nasp.supernet.supernet import Supernet
from nasp.training.events import Observer, nobody

Weights = Literal["best", "last", "fresh", "inherit"]
"""Of a training's best or last epoch, newly drawn, or the supernet's as the search left them."""

IMAGENET_SIZE = 128
"""Height and width of images from which on a network has ImageNet's stem; see `network_config`."""


_CONFIGS: dict[DataKind, type[NetworkConfig] | type[LanguageConfig]] = {
    "images": NetworkConfig,
    "text": LanguageConfig,
}


@dataclass(frozen=True)
class Rebuilt:
    """A network, and how it came about.

    Attributes:
        network: plain, in training mode.
        example: the arguments of a call, two images or texts.
        weights: which weights it has.
        run: the run that they are from; None for fresh ones.
        about: the architecture in its space's notation.
    """

    network: nn.Module
    example: tuple[Tensor, ...]
    weights: Weights
    run: Path | None
    about: str


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
        size: fields of `NetworkConfig`; default the run's, or those of `NetworkConfig`. Only
            fresh weights can have another size than the run's.
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
    if isinstance(job, AnySearchJob):
        training = RunFolder(target.path / "train")
        is_trained = (training.path / "best.safetensors").is_file()
        if weights in ("best", "last") or (weights is None and is_trained):
            if not is_trained:
                raise UsageError(
                    f"What {target.path} found is not trained: run 'nasp train {target.path}', or"
                    " say --weights inherit."
                )
            return rebuild(training, weights, size, seed, tokens, observe)
        architecture = architecture_of(target)
        own = _own_size(target, job, given, observe)
        if weights == "fresh":
            return _fresh(architecture, own, given, seed, tokens)
        _refuse(given)
        return _inherited(target, architecture, own, tokens)
    if weights == "inherit":
        raise UsageError(f"{target.path} is a training: its weights are best, last or fresh.")
    own = _own_size(target, job, given, observe)
    if weights == "fresh":
        return _fresh(architecture_of(target), own, given, seed, tokens)
    _refuse(given)
    return _trained(target, job, own, weights or "best", tokens)


def _fresh(
    architecture: Architecture,
    own: dict[str, Any],
    given: dict[str, int],
    seed: int,
    tokens: int,
) -> Rebuilt:
    if architecture.space is None:
        raise UsageError(
            "The architecture is of a network of your own, which Python alone knows: use"
            " nasp.export(found.build(), ...) there."
        )
    space = find_space(architecture.space)
    size = {**own, **given}
    if space.data == "images":
        size["stem"] = "imagenet" if size.get("image_size", 0) >= IMAGENET_SIZE else "cifar"
    config = validated(_CONFIGS[space.data], size, f"a network of space '{space.name}'")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = space.network(architecture, config)
    example = example_of(network, config, tokens)
    return Rebuilt(network, example, "fresh", None, _about(architecture))


def _inherited(
    run: RunFolder, architecture: Architecture, own: dict[str, Any], tokens: int
) -> Rebuilt:
    space = find_space(architecture.space or "")
    config = validated(_CONFIGS[space.data], own, "the run")
    supernet = Supernet(space.supernet(config), space.name)
    _load(supernet.network, run.path / "weights.safetensors")
    network = derive(supernet, architecture)
    example = example_of(network, config, tokens)
    return Rebuilt(network, example, "inherit", run.path, _about(architecture))


def _trained(
    run: RunFolder, job: AnyTrainJob, own: dict[str, Any], weights: str, tokens: int
) -> Rebuilt:
    best = weights == "best"
    file = run.path / ("best.safetensors" if best else "weights.safetensors")
    if not file.is_file():
        raise UsageError(
            f"The training in {run.path} is not that far: go on with 'nasp resume {run.path}'."
        )
    network, config = _network_of(job, own)
    _load(network, file)
    if job.architecture is None:
        about = f"A hand-made network beside the space {job.space}."
    else:
        about = _about(Architecture(job.architecture, job.space))
    example = example_of(network, config, tokens)
    return Rebuilt(network, example, "best" if best else "last", run.path, about)


def _network_of(
    job: AnyTrainJob, own: dict[str, Any]
) -> tuple[nn.Module, NetworkConfig | LanguageConfig]:
    """Return the network of a training, with fresh weights, and its size."""
    if isinstance(job, LanguageTrainJob):
        text = validated(LanguageConfig, own, "the run")
        return trained_network(job, text.vocabulary), text
    config = validated(NetworkConfig, {**own, "drop_path": job.train.drop_path > 0}, "the run")
    if job.architecture is None:
        return residual_network(config, job.parameters or 1), config
    architecture = Architecture(job.architecture, job.space)
    return find_space(job.space).network(architecture, config), config


def _own_size(
    run: RunFolder, job: AnySearchJob | AnyTrainJob, given: Mapping[str, int], observe: Observer
) -> dict[str, Any]:
    """Return the fields of a `NetworkConfig` or `LanguageConfig` that a run and its data say."""
    size: dict[str, Any] = {"channels": job.channels, "cells": job.cells}
    if isinstance(job, LanguageSearchJob | LanguageTrainJob):
        vocabulary = vocabulary_size(run.path)
        if vocabulary is None:
            raise UsageError(
                f"{run.path} has not read its text yet: go on with 'nasp resume {run.path}'."
            )
        of = job if isinstance(job, LanguageSearchJob) else job.train
        return {**size, "vocabulary": vocabulary, "dropouts": of.dropouts}
    partial = job.partial_channels if isinstance(job, SearchJob) else 1
    shape = SHAPES.get(job.data.name)
    if shape is None and {"in_channels", "image_size", "classes"} <= given.keys():
        return size
    if shape is None:
        images = read_images(DataConfig(**{**job.data.model_dump(), "workers": 0}), observe)
        return network_config(
            images, job.channels, job.cells, partial_channels=partial
        ).model_dump()
    return {**shape._asdict(), **size, "partial_channels": partial}


def _refuse(given: Mapping[str, int]) -> None:
    if given:
        option = f"--{next(iter(given)).replace('_', '-')}"
        raise UsageError(
            f"The weights of a run have its size: leave out {option}, or say --weights fresh."
        )


def _load(network: nn.Module, file: Path) -> None:
    try:
        network.load_state_dict(load_tensors(file))
    except RuntimeError as error:
        raise NaspError(
            f"The weights in {file} do not fit the network that its run describes: they are of"
            " another version of nasp, or of another run."
        ) from error


def example_of(
    network: nn.Module, config: NetworkConfig | LanguageConfig, tokens: int = 35
) -> tuple[Tensor, ...]:
    """Return arguments of a call of a space's network: two images, or two texts and states.

    Args:
        network: made for the config.
        config: its size.
        tokens: of each text; default as many as DARTS trains on at once.
    """
    generator = torch.Generator().manual_seed(0)
    if isinstance(config, LanguageConfig):
        texts = torch.randint(config.vocabulary, (2, tokens), generator=generator)
        size: Any = network.state_size
        return texts, torch.zeros(2, size)
    side = config.image_size
    return (torch.randn(2, config.in_channels, side, side, generator=generator),)


def _about(architecture: Architecture) -> str:
    space = find_space(architecture.space or "")
    return f"Search space {space.name}. {space.notation(architecture)}"
