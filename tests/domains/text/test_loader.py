"""Batches of a text: what they hold, the hidden state that is carried on, and resuming."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nasp.domains.text.loader import IGNORED, TextBatch, TextLoader, remember
from nasp.errors import NaspError, UsageError


def loader(count: int = 41, **settings: Any) -> TextLoader:
    values = {"batch_size": 3, "bptt": 4, "state_size": 2, **settings}
    return TextLoader(torch.arange(count), **values)


def run(batch: TextBatch, by: float = 1.0) -> None:
    """Stand in for a network: the state grows by one for each token."""
    tokens, _, memory = batch
    remember(memory, memory[:, 0] + by * tokens.shape[1])


def test_columns_are_read_from_top_to_bottom() -> None:
    batches = list(loader())  # 41 tokens: three columns of 13, two left out
    assert [batch[0].shape for batch in batches] == [(3, 4), (3, 4), (3, 4)]
    tokens = torch.cat([batch[0] for batch in batches], dim=1)
    assert tokens.tolist() == [list(range(start, start + 12)) for start in (0, 13, 26)]
    for tokens, target, _ in batches:
        assert torch.equal(target, tokens + 1)


def test_the_state_is_carried_on_and_begins_at_zero() -> None:
    text = loader()
    starts = []
    for _ in range(2):
        for batch in text:
            starts.append(batch[2][:, 0].unique().tolist())
            run(batch)
    assert starts == [[0], [4], [8]] * 2


def test_the_first_pass_over_a_batch_decides_and_none_changes_nothing() -> None:
    text = iter(loader())
    first = next(text)
    run(first)
    run(first, by=100)
    second = next(text)
    assert second[2][:, 0].unique().tolist() == [4]
    third = next(text)  # nobody ran the second
    assert third[2][:, 0].unique().tolist() == [4]


def test_parts_of_a_batch_write_into_its_memory() -> None:
    text = iter(loader())
    tokens, target, memory = next(text)
    for rows in (slice(0, 1), slice(1, 3)):
        run((tokens[rows], target[rows], memory[rows]))
    assert next(text)[2][:, 0].unique().tolist() == [4]


@given(st.integers(2, 200), st.integers(1, 9), st.integers(1, 9))
def test_an_evaluation_has_every_token_but_the_first_as_target_once(
    count: int, columns: int, bptt: int
) -> None:
    text = loader(count, batch_size=columns, bptt=bptt, training=False)
    for _ in range(2):  # and each pass is the same
        batches = list(text)
        assert len(batches) == len(text)
        targets = torch.cat([target.flatten() for _, target, _ in batches])
        assert sorted(targets[targets != IGNORED].tolist()) == list(range(1, count))
        for tokens, target, _ in batches:
            known = target != IGNORED
            assert torch.equal(target[known], tokens[known] + 1)


@given(st.integers(0, 20))
def test_varied_lengths_cover_the_text_in_as_many_pieces(seed: int) -> None:
    text = loader(3 * 1001, bptt=20, varied=True, seed=seed)
    lengths = []
    for _ in range(2):
        batches = list(text)
        lengths.append([batch[0].shape[1] for batch in batches])
        tokens = torch.cat([batch[0] for batch in batches], dim=1)
        assert torch.equal(tokens[0], torch.arange(1000))
    assert all(len(each) == len(text) == 50 for each in lengths)
    assert lengths[0] != lengths[1]
    assert all(min(each) >= 3 and max(each) <= 60 for each in lengths)
    assert len(set(lengths[0])) > 3


@pytest.mark.parametrize("varied", [True, False])
@pytest.mark.parametrize("cut", [1, 5, 10, 13])
def test_it_goes_on_to_the_same_bits(varied: bool, cut: int) -> None:
    settings = {"count": 3 * 101, "bptt": 10, "varied": varied, "seed": 4}

    def read(text: TextLoader, steps: int) -> list[TextBatch]:
        seen: list[TextBatch] = []
        batches = iter(text)
        while len(seen) < steps:
            for batch in batches:
                run(batch)
                seen.append(batch)
                if len(seen) == steps:
                    break
            else:
                batches = iter(text)
        return seen

    whole, stopped, resumed = (loader(**settings) for _ in range(3))
    expected = read(whole, 25)[cut:]
    read(stopped, cut)
    state = stopped.state_dict()
    resumed.load_state_dict(state)
    for ours, theirs in zip(read(resumed, 25 - cut), expected, strict=True):
        assert all(torch.equal(one, other) for one, other in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("training", [True, False])
def test_batches_are_views_on_the_device_and_nobody_looks_at_them(training: bool) -> None:
    # The device "meta" refuses to tell a value, as a GPU does only at the price of waiting.
    text = loader(device="meta", training=training)
    for _ in range(2):
        batches = iter(text)
        for batch in batches:
            assert all(part.device.type == "meta" for part in batch)
            run(batch)
    assert len(list(text)) == len(text)


def test_a_foreign_state_is_refused() -> None:
    state = loader(batch_size=2).state_dict()
    with pytest.raises(NaspError, match="resume with the same text"):
        loader().load_state_dict(state)
    with pytest.raises(NaspError, match="resume with the same text"):
        loader().load_state_dict({**loader().state_dict(), "position": 9})


@pytest.mark.parametrize(("count", "columns"), [(14, 3), (2, 9), (4, 1)])
def test_a_text_that_is_shorter_than_bptt(count: int, columns: int) -> None:
    with pytest.raises(UsageError, match=r"A bptt of 4 is longer than the text: .*smaller --bptt"):
        loader(count, batch_size=columns)
    with pytest.raises(UsageError, match="longer than the text"):
        loader(1, training=False)
