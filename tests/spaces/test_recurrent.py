"""The space of recurrent cells: arithmetic of the derived cell, genotypes, sizes."""

from __future__ import annotations

import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from nasp.errors import UsageError
from nasp.spaces import LanguageConfig, find_space
from nasp.spaces.language_model import Dropouts, LanguageModel, LockedDropout
from nasp.spaces.recurrent_cell import RecurrentCell
from nasp.spaces.sampling import random_architecture
from nasp.supernet.architecture import Architecture
from nasp.supernet.derive import derive
from nasp.supernet.supernet import Supernet

SPACE = find_space("recurrent")
NONE = Dropouts(output=0, hidden=0, input=0, embedding=0, word=0)
# DARTS's published cell (second order), https://arxiv.org/abs/1806.09055, figure 6.
PUBLISHED = """DARTS_V2 = Genotype(
    recurrent=[('sigmoid', 0), ('relu', 1), ('relu', 1), ('identity', 1), ('tanh', 2),
               ('sigmoid', 5), ('tanh', 3), ('relu', 5)],
    concat=range(1, 9))"""
ACTIVATIONS = {
    "tanh": torch.tanh,
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "identity": lambda v: v,
}


def double(architecture: Architecture, dropouts: Dropouts = NONE) -> LanguageModel:
    torch.manual_seed(2)
    config = LanguageConfig(vocabulary=7, channels=5, dropouts=dropouts)
    network = SPACE.network(architecture, config).double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(20)
    return network


def reference(network: LanguageModel, genotype: list[tuple[str, int]], tokens: Tensor, h: Tensor):
    """The cell as its paper writes it: a step, a node, an example at a time."""
    cell = network.layers[0]
    w_x, w_h = cell.entry.input.weight, cell.entry.hidden.weight
    size = h.shape[1]
    logits = []
    for example, state in zip(tokens, h, strict=True):
        rows = []
        for token in example:
            both = w_x @ network.embedding.weight[token] + w_h @ state
            gate, value = both[:size], both[size:]
            states = [state + torch.sigmoid(gate) * (torch.tanh(value) - state)]
            for node, (name, source) in zip(cell.nodes, genotype, strict=True):
                read = states[source]
                if name == "none":
                    states.append(torch.zeros_like(read))
                    continue
                both = node.weight @ read
                gate, value = both[:size], both[size:]
                goal = ACTIVATIONS[name](value)
                states.append(read + torch.sigmoid(gate) * (goal - read))
            state = torch.stack(states[1:]).mean(dim=0)
            rows.append(network.embedding.weight @ state + network.decoder.bias)
        logits.append(torch.stack(rows))
        h = torch.cat([h[1:], state[None]])
    return torch.stack(logits), h


@pytest.mark.parametrize("seed", [*range(4), None, "none"])
def test_the_derived_cell_is_the_papers_loop_gradients_too(seed: int | str | None) -> None:
    architecture = (
        SPACE.parse(PUBLISHED) if seed is None else random_architecture(SPACE, hash(seed))
    )
    genotype = pairs(architecture)
    if seed == "none":
        genotype[2] = ("none", genotype[2][1])
        architecture = SPACE.parse(f"Genotype(recurrent={genotype}, concat=range(1, 9))")
    network = double(architecture)
    tokens, h = torch.randint(7, (3, 4)), torch.randn(3, 5).double().requires_grad_()
    weights = torch.randn(3, 4, 7).double()
    leaves = [h, *network.parameters()]
    gradients = []
    for logits, end in (network(tokens, h), reference(network, genotype, tokens, h)):
        gradients.append(
            torch.autograd.grad(
                (logits * weights).sum() + end.square().sum(), leaves, allow_unused=True
            )
        )
        gradients[-1] += (logits.detach(), end.detach())
    for ours, theirs in zip(*gradients, strict=True):
        assert (ours is None) == (theirs is None)
        if ours is not None:
            torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


def pairs(architecture: Architecture) -> list[tuple[str, int]]:
    found = re.findall(r"\('(\w+)', (\d)\)", SPACE.notation(architecture))
    return [(name, int(source)) for name, source in found]


def test_the_published_cell_has_23_million_parameters() -> None:
    cell = SPACE.parse(PUBLISHED)
    config = LanguageConfig(vocabulary=10_000, channels=850)
    with torch.device("meta"):
        network = SPACE.network(cell, config)
    count = sum(parameter.numel() for parameter in network.parameters())
    # Tied embedding and decoder, the decoder's bias, [x, h] -> 2C, eight times C -> 2C.
    assert count == 10_000 * 850 + 10_000 + 2 * 850 * 2 * 850 + 8 * 850 * 2 * 850 == 22_960_000
    assert SPACE.notation(cell) == " ".join(PUBLISHED.partition(" = ")[2].split()).replace(
        "( recurrent", "(recurrent"
    )
    assert [tuple(wire) for wire in SPACE.wiring(cell)][:2] == [
        ("recurrent", "x, h", "node 0", "sigmoid"),
        ("recurrent", "node 0", "node 1", "relu"),
    ]


@given(st.integers(0, 2**31))
def test_notation_there_and_back_and_random_cells_have_no_none(seed: int) -> None:
    architecture = random_architecture(SPACE, seed)
    assert SPACE.parse(SPACE.notation(architecture)) == architecture
    kept = [name for name in architecture.edges.values() if name is not None]
    assert len(kept) == 8
    assert "none" not in kept


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("range(1, 9)", "range(2, 9)", "concat must be range"),
        ("('sigmoid', 0)", "('sigmoid', 1)", "node 0 reads one of the states 0 to 0, not 1"),
        ("('sigmoid', 0), ", "", "a list of 8 pairs"),
        ("'sigmoid', 0", "'gelu', 0", "Unknown candidate operation .* 'gelu'"),
        ("concat", "recurrent", "no genotype"),
    ],
)
def test_what_is_no_genotype(old: str, new: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        SPACE.parse(PUBLISHED.replace(old, new))


def test_two_edges_at_a_node_are_too_many() -> None:
    edges = {**SPACE.parse(PUBLISHED).edges, "recurrent/1": "tanh"}
    with pytest.raises(UsageError, match="2 edges at recurrent node 1: exactly one"):
        SPACE.network(Architecture(edges, "recurrent"), LanguageConfig())


def test_the_state_is_all_that_goes_from_batch_to_batch() -> None:
    network = double(random_architecture(SPACE, 1))
    tokens, start = torch.randint(7, (2, 6)), torch.randn(2, 5).double()
    whole, end = network(tokens, start)
    first, between = network(tokens[:, :4], start)
    second, last = network(tokens[:, 4:], between)
    torch.testing.assert_close(torch.cat([first, second], dim=1), whole)
    torch.testing.assert_close(last, end)


def test_several_layers_have_a_state_each() -> None:
    config = LanguageConfig(vocabulary=7, channels=5, cells=2, dropouts=NONE)
    network = SPACE.network(random_architecture(SPACE, 1), config)
    assert network.state_size == 10
    logits, state = network(torch.randint(7, (3, 2)), torch.zeros(3, 10))
    assert logits.shape == (3, 2, 7)
    assert state.shape == (3, 10)
    assert not torch.equal(state[:, :5], state[:, 5:])


def test_dropout_masks_are_one_for_all_time_steps() -> None:
    x = torch.ones(9, 4, 50)
    dropped = LockedDropout(0.5)(x)
    assert torch.equal(dropped, dropped[:1].expand_as(dropped))
    assert set(dropped.unique().tolist()) == {0.0, 2.0}
    assert not torch.equal(dropped[0, 0], dropped[0, 1])
    locked = LockedDropout(0.5).eval()
    assert torch.equal(locked(x), x)


def test_a_cells_masks_are_one_for_all_time_steps() -> None:
    """With all input dropped but for the masks' scale, equal inputs give what two steps would."""
    architecture = random_architecture(SPACE, 3)
    network = double(architecture, Dropouts(output=0, embedding=0, input=0.5, hidden=0.5))
    cell = network.layers[0]
    assert isinstance(cell, RecurrentCell)
    x, h = torch.randn(4, 3, 5).double(), torch.randn(3, 5).double()
    torch.manual_seed(1)
    states, _ = cell(x, h)
    torch.manual_seed(1)
    entries, mask = cell.entry(x, h)
    masked = torch.nn.functional.linear(x, cell.entry.input.weight)
    assert set((mask * 0.5).unique().tolist()) == {0.0, 1.0}
    assert not torch.equal(entries, masked)
    torch.manual_seed(1)
    again, state = cell(x[:1], h)
    torch.testing.assert_close(again[0], states[0])
    torch.manual_seed(1)
    torch.testing.assert_close(cell(x[1:2], state)[0][0], states[1])


def test_whole_words_are_dropped() -> None:
    network = double(random_architecture(SPACE, 3), Dropouts(**{**NONE.model_dump(), "word": 0.5}))
    seen: list[Tensor] = []
    network.embedding_dropout.register_forward_hook(lambda _m, args, _o: seen.append(args[0]))
    tokens = torch.arange(7).repeat(3, 2)
    network(tokens, torch.zeros(3, 5).double())
    dropped = (seen[0] == 0).all(dim=2).t()  # [B, T]
    assert torch.equal(dropped, (seen[0] == 0).any(dim=2).t())
    for word in range(7):
        assert len(dropped[tokens == word].unique()) == 1
    assert 0 < dropped.sum() < dropped.numel()


def test_a_derived_supernet_computes_the_same_and_holds_no_choice() -> None:
    config = LanguageConfig(vocabulary=7, channels=5, cells=2)
    supernet = Supernet(SPACE.supernet(config), "recurrent").double()
    path = supernet.random_path(torch.Generator().manual_seed(1))
    network = derive(supernet, supernet.architecture(path))
    supernet.single(path)
    tokens, state = torch.randint(7, (3, 4)), torch.randn(3, 10).double()
    for training in (True, False):
        supernet.train(training)
        network.train(training)
        torch.manual_seed(1)
        expected = supernet(tokens, state)
        torch.manual_seed(1)
        for ours, theirs in zip(network(tokens, state), expected, strict=True):
            torch.testing.assert_close(ours, theirs)
    kinds = {type(module).__name__ for module in network.modules()}
    assert not kinds & {"Choice", "Node", "SearchCell"}
    assert isinstance(network, nn.Module)
    ours = {id(parameter) for parameter in network.parameters()}
    assert not ours & {id(parameter) for parameter in supernet.parameters()}
    assert network.decoder.weight is network.embedding.weight


@pytest.mark.parametrize("training", [True, False])
def test_the_derived_network_can_be_exported(training: bool) -> None:
    config = LanguageConfig(vocabulary=7, channels=5, dropouts=NONE)
    network = SPACE.network(SPACE.parse(PUBLISHED), config).train(training)
    example = torch.randint(7, (3, 4)), torch.zeros(3, 5)
    program = torch.export.export(network, example)
    for ours, theirs in zip(program.module()(*example), network(*example), strict=True):
        torch.testing.assert_close(ours, theirs)
