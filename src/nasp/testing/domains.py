"""What must hold for every kind of data, tried on the data that it comes with."""

from __future__ import annotations

import math
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from nasp.domains import Domain, domain_of, find_domain
from nasp.domains.domain import Data, SearchLoaders, TrainLoaders
from nasp.jobs.options import search_job
from nasp.spaces import Space, find_space
from nasp.spaces.sampling import random_architecture
from nasp.training.events import nobody
from nasp.training.passes import EndlessPasses

CPU = torch.device("cpu")


class Kind(NamedTuple):
    """A kind of data, with what it comes with, read, and a small network for it."""

    domain: Domain
    data: Data
    config: Any
    space: Space
    size: Any

    @staticmethod
    def read(name: str) -> Kind:
        """Return the kind of data of that name."""
        domain = find_domain(name)
        job = search_job({"name": domain.embedded}, None, {}, {}, {})
        data, space = domain.read(job.data, nobody), find_space(job.space)
        size = domain.sized({**data.shape, **dict(job.supernet), "channels": 4, "cells": 2})
        return Kind(domain, data, job.data, space, size)

    def network(self) -> nn.Module:
        """Return a random network."""
        return self.space.network(random_architecture(self.space, 0), self.size)

    def searched(self, seed: int = 0) -> SearchLoaders:
        """Return the loaders of a search."""
        return self.data.search_loaders(self.network(), CPU, seed)

    def trained(self, seed: int = 0) -> TrainLoaders:
        """Return the loaders of a training."""
        return self.data.train_loaders(self.network(), CPU, seed)


def first(loader: Any, count: int = 3) -> list[Any]:
    """Return the first batches of a loader, or the next ones of endless passes."""
    return list(islice(loader, count))


def assert_same(one: Any, other: Any) -> None:
    """Assert that batches are equal bit by bit; a value that is no number equals another."""
    assert_close(one, other, rtol=0, atol=0, equal_nan=True)


class DomainTests:
    """The tests of kinds of data; a subclass says which, by the parameter ``name``."""

    @pytest.fixture(autouse=True)
    def _seed(self) -> None:
        torch.manual_seed(0)

    def test_its_data_and_spaces_are_its_own(self, name: str) -> None:
        """What can be given as data leads to it, and its default space reads it."""
        domain = find_domain(name)
        assert {domain_of(data).name for data in (domain.embedded, *domain.data_names)} == {name}
        assert find_space(domain.default_space({"name": domain.embedded})).data == name

    def test_its_settings_are_frozen_and_refuse_unknown_names(self, name: str) -> None:
        """As all settings do."""
        domain = find_domain(name)
        for part in (domain.data, domain.supernet, domain.train):
            assert part.model_config["frozen"]
            assert part.model_config["extra"] == "forbid"

    def test_it_says_the_size_of_its_networks(self, name: str, tmp_path: Path) -> None:
        """Before data are read it says the same, or nothing; and in words."""
        kind = Kind.read(name)
        assert set(kind.data.shape) == set(kind.domain.shape)
        known = kind.domain.known_shape(kind.config, tmp_path)
        assert known in ({}, kind.data.shape)
        assert kind.domain.described(dict(kind.size))

    def test_a_network_learns_and_is_measured(self, name: str) -> None:
        """Supernet, found network and hand-made rival take its batches; the task has a figure."""
        kind = Kind.read(name)
        task = kind.data.task()
        by_hand = [each.network(kind.size, 5_000) for each in kind.domain.by_hand.values()]
        for network in (kind.space.supernet(kind.size), kind.network(), *by_hand):
            loss, metrics = task.loss(network, first(kind.searched().weights, 1)[0])
            assert math.isfinite(loss.item())
            assert not any(metric.requires_grad for metric in metrics.values())
        figures = task.evaluate(kind.network(), first(kind.trained().measured))
        assert task.figure.name in figures
        assert all(math.isfinite(figure) for figure in figures.values())

    def test_a_seed_fixes_the_batches(self, name: str) -> None:
        """Whatever the global random states are."""
        kind = Kind.read(name)
        for part in ("weights", "alphas", "selection"):
            torch.manual_seed(1)
            one = first(getattr(kind.searched(5), part))
            torch.manual_seed(2)
            assert_same(first(getattr(kind.searched(5), part)), one)
        torch.manual_seed(3)
        again = first(kind.trained(5).train)
        assert_same(first(kind.trained(5).train), again)

    def test_a_loader_goes_on_where_it_was(self, name: str) -> None:
        """A run that was stopped reads on to the same bits, in this pass and the next."""
        kind = Kind.read(name)
        length = len(kind.searched().weights)
        for position in (2, length + 1) if length < 50 else (2,):
            whole, resumed = (EndlessPasses(kind.searched(seed).weights) for seed in (5, 5))
            for _ in range(position):
                next(whole)
            resumed.load_state_dict(whole.state_dict())
            for _ in range(3):
                assert_same(next(resumed), next(whole))

    def test_costs_and_exports_have_their_examples(self, name: str) -> None:
        """A call, a random batch with its task, and a target of bounds."""
        kind = Kind.read(name)
        network = kind.network()
        network(*kind.domain.example(network, kind.size, 5))
        task, batch = kind.domain.stand_in(network, kind.size, 3, 5, 0)
        assert math.isfinite(task.loss(network, batch)[0].item())
        target = kind.domain.target(kind.space, kind.size, "cpu")
        assert target.calls
        target.build(random_architecture(kind.space, 0))

    def test_what_a_run_keeps_is_the_same_the_next_time(self, name: str, tmp_path: Path) -> None:
        """A run that goes on finds what it wrote, and takes it."""
        for _ in range(2):
            Kind.read(name).data.keep(tmp_path)
