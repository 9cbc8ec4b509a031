"""A search or a training of a language model that fits in a JSON file."""

from __future__ import annotations

import json
from typing import ClassVar

import torch
from lightning_fabric import seed_everything
from pydantic import ConfigDict, Field

from nasp.bilevel.found import Found
from nasp.bilevel.search import SearchConfig, run_search
from nasp.complexity import parameter_count
from nasp.domains.text.baseline import lstm_network
from nasp.domains.text.corpus import Corpus
from nasp.domains.text.feed import (
    TextConfig,
    keep_vocabulary,
    measuring_loader,
    read_corpus,
    training_loader,
)
from nasp.domains.text.task import LanguageModelling
from nasp.domains.text.train import LanguageTrainConfig
from nasp.errors import UsageError
from nasp.jobs.job_folders import Job, Result, epoch_seconds, inner_run
from nasp.runs.files import write_text_atomic
from nasp.runs.folder import RunFolder, json_object, load_tensors
from nasp.spaces.language_model import Dropouts, LanguageModel
from nasp.spaces.recurrent import RECURRENT, LanguageConfig
from nasp.spaces.sampling import random_architecture
from nasp.supernet.architecture import Architecture
from nasp.supernet.supernet import Supernet
from nasp.training.device import make_fabric
from nasp.training.events import Noted, Observer, nobody
from nasp.training.train import Trained, train


class LanguageSearchJob(Job):
    """A search of a recurrent cell.

    The weights learn from the text's part ``train``, the alphas from ``valid``, as in DARTS.

    Attributes:
        data: the text.
        space: ``"recurrent"``.
        channels: see `LanguageConfig`.
        cells: see `LanguageConfig`.
        dropouts: of the supernet.
        search: settings of the search.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: ClassVar[str] = "language-search"

    data: TextConfig
    space: str = RECURRENT.name
    channels: int = Field(300, ge=1)
    cells: int = Field(1, ge=1)
    dropouts: Dropouts = Field(default_factory=Dropouts)
    search: SearchConfig = Field(default_factory=SearchConfig)


class LanguageTrainJob(Job):
    """The training of a recurrent cell, and of rivals beside it under the same budget.

    It learns from ``train`` and is measured on ``valid`` after each epoch, on ``test`` at the end.

    Attributes:
        data: the text.
        space: ``"recurrent"``.
        architecture: edge -> candidate; None trains an LSTM.
        parameters: of the LSTM's network, about; read where `architecture` is None.
        channels: see `LanguageConfig`.
        cells: see `LanguageConfig`.
        train: settings of the training.
        beside: names of what is trained beside: ``random-1`` (a random architecture of the
            space, its number is its seed), ``lstm`` (of the same size).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: ClassVar[str] = "language-train"

    data: TextConfig
    space: str = RECURRENT.name
    architecture: dict[str, str | None] | None
    parameters: int | None = None
    channels: int = Field(850, ge=1)
    cells: int = Field(1, ge=1)
    train: LanguageTrainConfig = Field(default_factory=LanguageTrainConfig)
    beside: tuple[str, ...] = ()


def run_language_search(
    job: LanguageSearchJob, run: RunFolder, observe: Observer = nobody
) -> Found:
    """Search, or go on with a search that was stopped."""
    with run.lock():
        corpus = _corpus(job.data, observe)
        seed_everything(job.search.seed, verbose=False)
        network = RECURRENT.supernet(
            LanguageConfig(
                vocabulary=len(corpus.vocabulary),
                channels=job.channels,
                cells=job.cells,
                dropouts=job.dropouts,
            )
        )
        device = make_fabric(job.search.device, job.search.precision).device
        weights_loader, alphas_loader = (
            training_loader(
                corpus, part, job.data, network.state_size, device, 2 * job.search.seed + index
            )
            for index, part in enumerate(("train", "valid"))
        )
        # Not before the text is known to be long enough: what cannot begin leaves no folder.
        keep_vocabulary(corpus, run.path)
        return run_search(
            Supernet(network, job.space),
            weights_loader,
            alphas_loader,
            LanguageModelling(job.data.bptt),
            job.search,
            run,
            observe,
            measuring_loader(corpus, "valid", job.data, network.state_size, device),
        )


def run_language_training(
    job: LanguageTrainJob, run: RunFolder, observe: Observer = nobody
) -> list[Result]:
    """Train the architecture and all beside it; finished ones are not trained again."""
    with run.lock():
        corpus = _corpus(job.data, observe)
        results = [_train_one(job, "found", run, corpus, observe)]
        for name in job.beside:
            rival = _rival(job, name, results[0].parameters)
            folder = inner_run(run, f"beside/{name}", rival)
            results.append(_train_one(rival, name, folder, corpus, observe))
    return results


def trained_network(job: LanguageTrainJob, vocabulary: int) -> LanguageModel:
    """Return the network that a job trains, with fresh weights.

    Args:
        job: of the training.
        vocabulary: number of tokens.
    """
    dropouts = job.train.dropouts
    if job.architecture is None:
        return lstm_network(vocabulary, job.cells, dropouts, job.parameters or 1)
    config = LanguageConfig(
        vocabulary=vocabulary, channels=job.channels, cells=job.cells, dropouts=dropouts
    )
    return RECURRENT.network(Architecture(job.architecture, job.space), config)


def _corpus(data: TextConfig, observe: Observer) -> Corpus:
    corpus = read_corpus(data)
    observe(Noted(f"{data.name}: {corpus.described()}"))
    return corpus


def _train_one(
    job: LanguageTrainJob, name: str, run: RunFolder, corpus: Corpus, observe: Observer
) -> Result:
    seed_everything(job.train.seed, verbose=False)
    network = trained_network(job, len(corpus.vocabulary))
    device = make_fabric(job.train.device, job.train.precision).device
    train_loader = training_loader(
        corpus, "train", job.data, network.state_size, device, job.train.seed
    )
    valid_loader = measuring_loader(corpus, "valid", job.data, network.state_size, device)
    keep_vocabulary(corpus, run.path)
    task = LanguageModelling(job.data.bptt)
    trained = train(network, train_loader, valid_loader, task, job.train, run=run, observe=observe)
    test = _test(trained, run, corpus, job, device)
    seconds = epoch_seconds(run)
    speed = len(seconds) * train_loader.tokens / max(sum(seconds), 1e-9)
    return Result(name, parameter_count(network), trained, seconds, test, speed)


def _test(
    trained: Trained, run: RunFolder, corpus: Corpus, job: LanguageTrainJob, device: torch.device
) -> dict[str, float]:
    """Return the figures of the best epoch's network on the test part; written down once."""
    path = run.path / "test.json"
    if path.is_file():
        return json_object(path)
    network = trained_network(job, len(corpus.vocabulary))
    network.load_state_dict(load_tensors(run.path / "best.safetensors"))
    fabric = make_fabric(job.train.device, job.train.precision)
    loader = measuring_loader(corpus, "test", job.data, network.state_size, device)
    task = LanguageModelling(job.data.bptt)
    figures = task.evaluate(fabric.setup_module(network), loader, device)
    figures["epoch"] = trained.best["epoch"]
    write_text_atomic(path, json.dumps(figures) + "\n")
    return figures


def _rival(job: LanguageTrainJob, name: str, parameters: int) -> LanguageTrainJob:
    kind, _, number = name.partition("-")
    alone = {"beside": ()}
    if kind == "random" and number.isdigit():
        edges = dict(random_architecture(RECURRENT, int(number)).edges)
        return job.model_copy(update={**alone, "architecture": edges})
    if name == "lstm":
        return job.model_copy(update={**alone, "architecture": None, "parameters": parameters})
    raise UsageError(f"Unknown rival '{name}': give random-N or lstm.")
