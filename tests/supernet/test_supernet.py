"""The choices of a module, their alphas, and discrete points."""

import copy
from collections import Counter
from typing import Any

import pytest
import torch
from torch import nn

from nasp.errors import UsageError
from nasp.supernet.architecture import Architecture
from nasp.supernet.choice import Choice, Node, Single
from nasp.supernet.leaves import Leaves
from nasp.supernet.supernet import Supernet
from nasp.supernet.tables import Table


def edge(share: str | None = None, names: str = "ab") -> Choice:
    return Choice({name: nn.Linear(2, 2) for name in names}, share)


def cells() -> nn.Sequential:
    def cell(kind: str) -> nn.Module:
        return Node([edge(f"{kind}/{k}", "abc") for k in range(3)], keep=2)

    return nn.Sequential(cell("normal"), cell("reduce"), edge(), cell("normal"))


def test_tables_edges_and_groups() -> None:
    supernet = Supernet(cells(), space="mine")
    assert list(supernet.tables.values()) == [
        Table("normal", ("normal/0", "normal/1", "normal/2"), ("a", "b", "c")),
        Table("reduce", ("reduce/0", "reduce/1", "reduce/2"), ("a", "b", "c")),
        Table("2", ("2",), ("a", "b")),
    ]
    rows = [f"{kind}/{row}" for kind in ("normal", "reduce") for row in range(3)]
    assert supernet.edges == (*rows, "2")
    groups = [(group.edges, group.keep) for group in supernet.groups]
    assert groups == [((0, 1, 2), 2), ((3, 4, 5), 2)]
    assert [len(choices) for choices in supernet.choices()] == [2, 2, 2, 1, 1, 1, 1]


def test_alphas_start_equal_and_are_no_weights() -> None:
    supernet = Supernet(cells())
    assert {name: tuple(a.shape) for name, a in supernet.alphas.items()} == {
        "normal": (3, 3),
        "reduce": (3, 3),
        "2": (1, 2),
    }
    assert all((a == 0.5).all() for a in supernet.alphas.values())
    assert all(isinstance(a, nn.Parameter) for a in supernet.alphas.values())
    weights = {id(w) for w in supernet.weights()}
    alphas = {id(a) for a in supernet.alphas.values()}
    assert not weights & alphas
    assert weights | alphas == {id(p) for p in supernet.parameters()}
    assert weights == {id(p) for p in supernet.network.parameters()}


def test_alphas_are_in_the_state_and_in_copies() -> None:
    supernet = Supernet(cells())
    with torch.no_grad():
        for a in supernet.alphas.values():
            a.uniform_()
    other = Supernet(cells())
    other.load_state_dict(supernet.state_dict())
    for again in (other, copy.deepcopy(supernet)):
        for name, a in supernet.alphas.items():
            assert torch.equal(again.alphas[name], a)
            assert again.alphas[name] is not a


def test_a_copy_runs_its_own_choices() -> None:
    supernet = Supernet(cells())
    again = copy.deepcopy(supernet)
    again.single(again.random_path())
    own = {id(m) for m in again.network.modules()}
    assert all(id(choice) in own for choices in again.choices() for choice in choices)


def test_the_device_type_of_the_alphas_follows_the_supernet() -> None:
    supernet = Supernet(cells()).double()
    assert all(a.dtype == torch.float64 for a in supernet.alphas.values())
    point = supernet.one_hot(supernet.random_path())
    assert all(a.dtype == torch.float64 for a in point.values())


def test_the_alphas_stay_on_the_cpu() -> None:
    with torch.device("meta"):
        made_there = Supernet(cells())
    moved = Supernet(cells()).to("meta")
    for supernet in (made_there, moved, moved.to(torch.float64)):
        assert supernet.device.type == "meta"
        assert all(a.device.type == "cpu" for a in supernet.alphas.values())
        assert all(
            a.device.type == "cpu" for a in supernet.one_hot(supernet.random_path()).values()
        )
    assert {a.dtype for a in moved.alphas.values()} == {torch.float64}
    back = made_there.to_empty(device="cpu")
    assert all((a == 0.5).all() for a in back.alphas.values())


def test_mixtures_and_probes_are_where_the_network_is() -> None:
    supernet = Supernet(nn.Sequential(edge(), edge())).to("meta")
    x = torch.ones(3, 2, device="meta")
    weights = {name: a.softmax(dim=1) for name, a in supernet.alphas.items()}
    supernet.mixture(weights)
    assert supernet(x).device.type == "meta"
    path = supernet.random_path()
    supernet.mixture(weights, path)
    assert supernet(x).device.type == "meta"
    for fused in (True, False):
        probed = supernet.probe(path, fused)
        assert all(anchor.is_leaf and anchor.device.type == "meta" for anchor in probed.anchors)
        supernet(x).sum().backward(inputs=probed.anchors)
        places, products = probed.take()
        assert products.shape == (len(places),)
        assert products.device.type == "meta"


def test_leaves_hold_the_numbers_of_all_tables_and_get_their_gradient() -> None:
    tables = {"a": torch.arange(6.0).view(2, 3), "b": torch.ones(1, 2)}
    leaves = Leaves(tables, torch.device("cpu"))
    assert all(torch.equal(leaves.tables[name], table) for name, table in tables.items())
    assert all((g == 0).all() for g in leaves.gradients().values())
    for _ in range(2):
        (leaves.tables["a"] ** 2).sum().backward(inputs=leaves.anchors)
    gradients = leaves.gradients()
    assert torch.equal(gradients["a"], 4 * tables["a"])
    assert torch.equal(gradients["b"], torch.zeros(1, 2))
    tables["b"].zero_()
    assert (leaves.tables["b"] == 1).all()


def test_nothing_to_search() -> None:
    for network in (nn.Linear(2, 2), nn.Sequential()):
        with pytest.raises(UsageError, match=r"nothing to search: put a nasp\.Choice where"):
            Supernet(network)


def test_choices_in_a_plain_list_are_not_the_networks() -> None:
    class Hidden(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = [edge()]

    with pytest.raises(UsageError, match="nothing to search"):
        Supernet(Hidden())


def test_choices_in_attributes_lists_and_dictionaries_of_modules() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = edge()
            self.layers = nn.ModuleList([nn.Identity(), edge()])
            self.named = nn.ModuleDict({"x": nn.Sequential(edge())})
            self.alias = [self.first]

    assert Supernet(Net()).edges == ("first", "layers.1", "named.x.0")


def test_a_choice_that_is_the_whole_network() -> None:
    supernet = Supernet(edge())
    assert supernet.edges == ("network",)
    assert supernet.architecture((1,)).edges == {"network": "b"}
    supernet.single((1,))
    x = torch.ones(1, 2)
    assert torch.equal(supernet(x), supernet.network.operations[1](x))  # type: ignore[union-attr,operator]


def test_a_choice_instance_that_stands_in_two_places_is_one_edge() -> None:
    choice = edge()
    supernet = Supernet(nn.Sequential(choice, nn.ReLU(), choice))
    assert supernet.edges == ("0",)
    assert [len(choices) for choices in supernet.choices()] == [1]


def test_depth() -> None:
    inner = edge(names="xy")
    supernet = Supernet(
        nn.ModuleDict({"body": nn.Sequential(nn.Sequential(Choice({"deep": inner})))})
    )
    assert supernet.edges == ("body.0.0", "body.0.0.candidates.deep")


def test_names_that_modules_use_themselves() -> None:
    """Attention has keys and values; so have dictionaries of parameters."""

    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.keys, self.values, self.pop, self.type_ = edge(), edge(), edge(), edge()

    supernet = Supernet(nn.ModuleDict({"a": Attention(), "b": edge(share="a/keys/0")}))
    assert set(supernet.alphas) == {"a.keys", "a.values", "a.pop", "a.type_", "a/keys"}
    bare = Supernet(Attention())
    assert list(bare.alphas) == ["keys", "values", "pop", "type_"]


def test_tables_with_different_candidates() -> None:
    for second in ("ac", "ba", "abc"):
        network = nn.Sequential(edge("normal/0"), edge("normal/1", second))
        expected = f"'normal/1' has the candidates {', '.join(second)}, but 'normal/0', which"
        with pytest.raises(UsageError, match=expected):
            Supernet(network)
    with pytest.raises(UsageError, match="'normal/0' has the candidates a, but 'normal/0', which"):
        Supernet(nn.Sequential(edge("normal/0"), edge("normal/0", "a")))


def test_a_share_that_is_the_place_of_another_choice() -> None:
    with pytest.raises(UsageError, match="'1' is both the place of a choice and the share"):
        Supernet(nn.Sequential(edge("1"), edge()))


def test_an_edge_in_two_nodes() -> None:
    def node(*shares: str, keep: int = 1) -> Node:
        return Node([edge(f"t/{share}") for share in shares], keep)

    Supernet(nn.Sequential(node("0", "1"), node("0", "1")))
    for second in (node("1", "2"), node("0", "1", keep=2), node("0", "1", "2")):
        with pytest.raises(UsageError, match=r"Edge 't/[01]' belongs to two different Nodes"):
            Supernet(nn.Sequential(node("0", "1"), second))
    with pytest.raises(UsageError, match="A Node has two edges that share one row: t/0, t/0"):
        Supernet(node("0", "0"))


def test_discretise() -> None:
    supernet = Supernet(cells())
    alphas = {
        "normal": torch.tensor([[0.1, 0.9, 0.2], [0.3, 0.2, 0.1], [0.0, 0.1, 0.7]]),
        "reduce": torch.tensor([[0.6, 0.5, 0.4], [0.1, 0.2, 0.3], [0.1, 0.4, 0.3]]),
        "2": torch.tensor([[-1.0, -2.0]]),
    }
    path = supernet.discretise(alphas)
    assert path == (1, None, 2, 0, None, 1, 0)
    assert supernet.discretise({name: nn.Parameter(a) for name, a in alphas.items()}) == path
    point = supernet.one_hot(path)
    assert point["normal"].tolist() == [[0, 1, 0], [0, 0, 0], [0, 0, 1]]
    assert point["reduce"].tolist() == [[1, 0, 0], [0, 0, 0], [0, 1, 0]]
    assert point["2"].tolist() == [[1, 0]]


def test_random_paths_are_uniform() -> None:
    supernet = Supernet(nn.Sequential(Node([edge(f"t/{k}", "abc") for k in range(3)], 2), edge()))
    generator = torch.Generator().manual_seed(0)
    draws = 3000
    counts: Counter[Any] = Counter()
    for _ in range(draws):
        path = supernet.random_path(generator)
        assert sum(k is not None for k in path[:3]) == 2
        counts[path] += 1
    expected = draws / (3 * 9 * 2)
    assert len(counts) == 54
    assert sum((n - expected) ** 2 / expected for n in counts.values()) < 90.6  # p = 0.001 at 53


def test_random_paths_do_not_move_the_alphas_and_obey_the_seed() -> None:
    supernet = Supernet(cells())
    one, two = (supernet.random_path(torch.Generator().manual_seed(seed)) for seed in (4, 4))
    assert one == two
    assert all((a == 0.5).all() for a in supernet.alphas.values())


def test_architecture_and_path_are_inverse() -> None:
    supernet = Supernet(cells(), space="mine")
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        path = supernet.random_path(generator)
        architecture = supernet.architecture(path)
        assert architecture.space == "mine"
        assert list(architecture.edges) == list(supernet.edges)
        again = supernet.path(architecture)
        assert again == path
        assert supernet.architecture(again) == architecture


def test_shared_rows_run_alike_and_every_edge_as_told() -> None:
    supernet = Supernet(cells())
    path = (1, None, 2, None, 0, 0, 1)
    supernet.single(path)
    runs = [choice.run for node in (0, 3) for choice in supernet.network[node].choices]  # type: ignore[index,union-attr,operator]
    assert runs == [Single(1), Single(None), Single(2)] * 2
    assert supernet.network[2].run == Single(1)  # type: ignore[index,union-attr]
    probed = supernet.probe(path)
    assert all(leaf.is_leaf and leaf.requires_grad for leaf in probed.anchors)
    assert {n: a.shape for n, a in probed.gradients().items()} == {
        n: a.shape for n, a in supernet.alphas.items()
    }


def test_an_architecture_of_another_network() -> None:
    supernet = Supernet(cells())
    good = supernet.architecture(supernet.random_path())
    fewer = Architecture({name: c for name, c in good.edges.items() if name != "2"})
    other = Architecture({**fewer.edges, "3": "a"})
    for wrong in (fewer, other, Architecture({**good.edges, "more": "a"}), Architecture({})):
        with pytest.raises(UsageError, match="they do not belong together"):
            supernet.path(wrong)
    with pytest.raises(UsageError, match="Edge '2' has no candidate 'c': choose one of a, b"):
        supernet.path(Architecture({**good.edges, "2": "c"}))
    off = {f"normal/{k}": None for k in range(3)}
    with pytest.raises(UsageError, match=r"every edge of a Node \(normal/0, normal/1, normal/2\)"):
        supernet.path(Architecture({**good.edges, **off}))


def searched_only(share: str | None = None, names: tuple[str, ...] = ("b",)) -> Choice:
    return Choice({name: nn.Linear(2, 2) for name in "abc"}, share, search_only=names)


def test_what_is_there_for_the_search_only_never_survives() -> None:
    node = Node([searched_only(f"t/{row}") for row in range(2)], keep=1)
    supernet = Supernet(node)
    assert supernet.tables["t"].surviving == [0, 2]
    # b is the largest of both edges; without it the second edge is the stronger.
    alphas = {"t": torch.tensor([[0.1, 0.9, 0.2], [0.4, 0.8, 0.3]])}
    path = supernet.discretise(alphas)
    assert path == (None, 0)
    generator = torch.Generator().manual_seed(0)
    drawn = Counter(
        name
        for _ in range(200)
        for name in supernet.architecture(supernet.random_path(generator)).edges.values()
        if name is not None
    )
    assert drawn.keys() == {"a", "c"}
    assert min(drawn.values()) > 60
    probed = supernet.probe(path)
    x = torch.ones(3, 2)
    supernet(x, x).sum().backward()
    assert (probed.gradients()["t"] != 0).all()  # the probe still tells what it would do


def test_edges_of_a_table_agree_on_what_never_survives() -> None:
    with pytest.raises(UsageError, match="'t/1' and 't/0', which share the table 't', must have"):
        Supernet(nn.Sequential(searched_only("t/0"), searched_only("t/1", ("c",))))


def test_something_must_be_able_to_survive() -> None:
    with pytest.raises(UsageError, match="at least one candidate that is not search_only"):
        searched_only(names=("a", "b", "c"))
    with pytest.raises(UsageError, match="Unknown candidate 'd': choose one of a, b, c"):
        searched_only(names=("d",))
