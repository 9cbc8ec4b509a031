"""Loaders of shares: together they are the whole batch, to the bit; alone each reads its part."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from nasp.domains.images.augment import ImageTransform
from nasp.domains.images.image_set import LabelledImages
from nasp.domains.images.loader import Loader
from nasp.training.batches import Part
from nasp.training.passes import EndlessPasses, SamePass
from nasp.training.ranks import Ranks
from nasp.training.shares import shared
from nasp.training.supervised import as_task

TASK = as_task(None, None)


class Counted(Dataset[Any]):
    """Numbers, of which each worker hands back what it read."""

    def __len__(self) -> int:
        return 11

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return torch.tensor([float(index)]), index


def loader(workers: int) -> DataLoader[Any]:
    generator = torch.Generator().manual_seed(0)
    return DataLoader(
        Counted(), batch_size=4, shuffle=True, num_workers=workers, generator=generator
    )


def joined(parts: list[Any]) -> tuple[Tensor, Tensor]:
    assert all(isinstance(part, Part) for part in parts)
    assert sum(part.share for part in parts) == pytest.approx(1)
    return torch.cat([p.batch[0] for p in parts]), torch.cat([p.batch[1] for p in parts])


@pytest.mark.parametrize("size", [2, 3])
def test_workers_read_a_share_and_shares_are_the_whole_in_order(size: int) -> None:
    whole = list(loader(1))
    several = [list(shared(loader(1), TASK, Ranks(rank, size))) for rank in range(size)]
    for place, (x, y) in enumerate(whole):
        parts = [batches[place] for batches in several]
        if len(y) >= size:
            assert joined(parts)[0].equal(x)
            assert joined(parts)[1].equal(y)
            assert max(len(part.batch[1]) for part in parts) <= -(-len(y) // size)
        else:  # too few: each has all of them
            assert all(part.batch[1].equal(y) for part in parts)


def test_without_workers_all_of_a_batch_is_read() -> None:
    own = loader(0)
    assert shared(own, TASK, Ranks(0, 2)) is own
    assert shared(own, TASK, Ranks()) is own


class Splitting:
    """A task that splits batches in its own way."""

    def loss(self, network: Any, batch: Any) -> Any: ...

    def split(self, batch: Any, parts: int) -> Any: ...


def test_a_batch_that_only_its_task_can_split_is_read_whole() -> None:
    own = loader(1)
    assert shared(own, Splitting(), Ranks(0, 2)) is own


def images() -> LabelledImages:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (10, 1, 6, 6), dtype=torch.uint8, generator=generator)
    return LabelledImages(pixels, torch.arange(10))


def own_loader() -> Loader:
    transform = ImageTransform(None, torch.zeros(1, 1, 1), torch.ones(1, 1, 1), 2, True, 2)
    return Loader(images(), transform, batch_size=5, seed=3)


def test_shares_of_images_are_augmented_as_in_the_whole() -> None:
    whole = list(own_loader())
    several = [list(own_loader().share(Ranks(rank, 2))) for rank in range(2)]
    for place, (x, y) in enumerate(whole):
        together = joined([batches[place] for batches in several])
        assert together[0].equal(x)
        assert together[1].equal(y)


def test_passes_over_shares_leave_the_same_pass_whole_and_go_on_where_they_were() -> None:
    passes = EndlessPasses(own_loader(), "the loader", TASK, Ranks(1, 2))
    first = next(passes)
    assert len(first.batch[1]) == 3
    assert [len(y) for _, y in SamePass(passes, seed=0)] == [5, 5]
    state, second = passes.state_dict(), next(passes)
    resumed = EndlessPasses(own_loader(), "the loader", TASK, Ranks(1, 2))
    resumed.load_state_dict(state)
    assert next(resumed).batch[0].equal(second.batch[0])
    assert len(resumed.peek()[1]) == 3
