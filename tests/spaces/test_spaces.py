"""What holds for every registered space."""

from typing import Any

import pytest
import torch
from torch import fx, nn
from torchvision.ops import StochasticDepth

from nasp.errors import UsageError
from nasp.spaces import SPACES, LanguageConfig, NetworkConfig, find_space, spaces_of
from nasp.supernet.architecture import Architecture
from nasp.supernet.choice import Choice, Node
from nasp.supernet.derive import derive
from nasp.supernet.partial_channels import PartialChannels
from nasp.supernet.supernet import Supernet

SIZES = {
    "colour": NetworkConfig(channels=2, cells=3),
    "digits": NetworkConfig(in_channels=1, image_size=8, channels=2, cells=2),
    "smallest": NetworkConfig(in_channels=1, image_size=4, channels=1, classes=2, cells=2),
    "imagenet": NetworkConfig(image_size=64, classes=20, channels=4, cells=3, stem="imagenet"),
    "odd": NetworkConfig(image_size=27, channels=2, cells=3, drop_path=True),
}

any_space = pytest.mark.parametrize("name", SPACES)
every_space = pytest.mark.parametrize("name", spaces_of("images"))
every_size = pytest.mark.parametrize("config", SIZES.values(), ids=SIZES)


def images(config: NetworkConfig) -> torch.Tensor:
    return torch.randn(2, config.in_channels, config.image_size, config.image_size)


def small(name: str) -> NetworkConfig | LanguageConfig:
    texts = spaces_of("text")
    return LanguageConfig(vocabulary=5, channels=4) if name in texts else SIZES["digits"]


def random_architecture(name: str, seed: int = 0) -> Architecture:
    with torch.device("meta"):
        supernet = Supernet(find_space(name).supernet(small(name)), name)
    supernet = supernet.to_empty(device="cpu")
    return supernet.architecture(supernet.random_path(torch.Generator().manual_seed(seed)))


class OwnClassesTracer(fx.Tracer):
    """Traces through nasp's classes alone, and never through a choice."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        own = type(m).__module__.startswith("nasp.") or isinstance(m, nn.Sequential)
        return isinstance(m, Choice | Node) or not own


def assert_same(graph: fx.Graph, network: nn.Module, x: torch.Tensor) -> None:
    network.eval()
    assert torch.equal(fx.GraphModule(network, graph).eval()(x), network(x))


@any_space
def test_registered_under_its_name(name: str) -> None:
    assert find_space(name) is SPACES[name]
    assert find_space(name).name == name


def test_unknown_space() -> None:
    with pytest.raises(UsageError, match=r"Unknown search space 'dart': choose one of darts, nas"):
        find_space("dart")


@every_size
@every_space
def test_supernet_and_network_map_images_to_logits(name: str, config: NetworkConfig) -> None:
    supernet = Supernet(find_space(name).supernet(config), name)
    path = supernet.random_path(torch.Generator().manual_seed(1))
    supernet.single(path)
    x = images(config)
    assert supernet(x).shape == (2, config.classes)
    network = find_space(name).network(supernet.architecture(path), config)
    assert network(x).shape == (2, config.classes)
    assert all(parameter.requires_grad for parameter in network.parameters())


@pytest.mark.parametrize("size", [16, 15])
@every_space
def test_candidates_of_a_part_of_the_channels(name: str, size: int) -> None:
    config = NetworkConfig(channels=4, cells=3, image_size=size, partial_channels=4)
    network = find_space(name).supernet(config)
    supernet = Supernet(network, name)
    whole = find_space(name).supernet(config.model_copy(update={"partial_channels": 1}))
    assert supernet.tables == Supernet(whole).tables
    for module in network.modules():
        if isinstance(module, Choice):
            assert all(isinstance(o, PartialChannels) for o in module.operations)
    x = images(config)
    supernet.mixture({n: a.softmax(dim=1) for n, a in supernet.alphas.items()})
    assert supernet(x).shape == (2, 10)
    path = supernet.random_path(torch.Generator().manual_seed(1))
    supernet.single(path)
    child = derive(supernet, supernet.architecture(path))
    network.eval()
    torch.testing.assert_close(child.eval()(x), supernet(x))
    plain = find_space(name).network(supernet.architecture(path), config)
    assert not any(isinstance(m, PartialChannels) for m in plain.modules())


@every_space
def test_channels_that_cannot_be_split(name: str) -> None:
    with pytest.raises(UsageError, match=r"channels=6 cannot be split for partial_channels=4: ta"):
        find_space(name).supernet(NetworkConfig(channels=6, cells=2, partial_channels=4))


@every_space
def test_the_search_has_no_affine_batch_norm_on_edges_and_the_network_has(name: str) -> None:
    def norms(module: nn.Module) -> list[nn.BatchNorm2d]:
        return [m for m in module.modules() if isinstance(m, nn.BatchNorm2d)]

    supernet = find_space(name).supernet(SIZES["digits"])
    for choice in (m for m in supernet.modules() if isinstance(m, Choice)):
        assert all(not norm.affine and norm.track_running_stats for norm in norms(choice))
    network = find_space(name).network(random_architecture(name), SIZES["digits"])
    assert all(norm.affine for norm in norms(network))


@every_space
def test_all_cells_of_a_kind_share_their_rows(name: str) -> None:
    with torch.device("meta"):
        network = find_space(name).supernet(NetworkConfig(cells=6))
    shares: Any = [m.share for m in network.modules() if isinstance(m, Choice)]
    edges = {"darts": 28, "nasp12": 28, "nasbench201": 6, "nasbench201-3": 3}[name]
    assert len(set(shares)) == edges
    assert len(shares) == 6 * (14 if edges == 28 else 3 * edges)
    assert all(parameter.is_meta for parameter in network.parameters())


@pytest.mark.parametrize("drop_path", [False, True])
@every_space
def test_derived_networks_can_be_traced(name: str, drop_path: bool) -> None:
    config = NetworkConfig(channels=2, cells=3, drop_path=drop_path)
    network = find_space(name).network(random_architecture(name), config)
    x = images(config)
    assert_same(OwnClassesTracer().trace(network), network, x)
    assert_same(fx.symbolic_trace(network.eval()).graph, network, x)


@every_space
def test_supernets_can_be_traced(name: str) -> None:
    supernet = Supernet(find_space(name).supernet(SIZES["digits"]))
    supernet.single(supernet.random_path(torch.Generator().manual_seed(0)))
    assert_same(
        OwnClassesTracer().trace(supernet.network), supernet.network, images(SIZES["digits"])
    )


@every_space
def test_every_class_can_be_traced_on_its_own(name: str) -> None:
    network = find_space(name).network(random_architecture(name), SIZES["colour"])
    own = {type(m): m for m in network.modules() if type(m).__module__.startswith("nasp.")}
    assert own
    for module in own.values():
        fx.symbolic_trace(module)


@every_space
def test_drop_path_modules_are_inactive_and_only_there_on_request(name: str) -> None:
    def count(drop_path: bool) -> int:
        config = NetworkConfig(channels=2, cells=3, drop_path=drop_path)
        network = find_space(name).network(random_architecture(name), config)
        dropped = [m for m in network.modules() if isinstance(m, StochasticDepth)]
        assert all(m.p == 0.0 for m in dropped)
        return len(dropped)

    assert count(drop_path=False) == 0
    assert count(drop_path=True) > 0


@every_size
@every_space
def test_auxiliary_head_fits_the_module_that_it_taps(name: str, config: NetworkConfig) -> None:
    tap = find_space(name).auxiliary_head(config)
    if tap is None:
        assert name in ("nasbench201", "nasbench201-3")
        return
    where, head = tap
    network = find_space(name).network(random_architecture(name), config)
    seen: list[torch.Tensor] = []
    network.get_submodule(where).register_forward_hook(lambda *call: seen.append(head(call[2])))
    network(images(config))
    assert seen[0].shape == (2, config.classes)


@any_space
def test_an_architecture_of_another_space_is_refused(name: str) -> None:
    other = Architecture(random_architecture(name).edges, "elsewhere")
    for use in (find_space(name).notation, lambda a: find_space(name).network(a, small(name))):
        with pytest.raises(UsageError, match=f"is of space 'elsewhere', not of '{name}'"):
            use(other)


@any_space
def test_foreign_edges_and_candidates_are_refused(name: str) -> None:
    good = random_architecture(name)
    edge = next(edge for edge, candidate in good.edges.items() if candidate is not None)
    unknown = Architecture({**good.edges, edge: "conv_9x9"}, name)
    with pytest.raises(UsageError, match=rf"on edge '{edge}' of space '{name}' 'conv_9x9': choose"):
        find_space(name).network(unknown, small(name))
    with pytest.raises(UsageError, match=f"Space '{name}' has no edge 'more/0'"):
        find_space(name).network(Architecture({**good.edges, "more/0": None}, name), small(name))
    fewer = {key: value for key, value in good.edges.items() if key != edge}
    with pytest.raises(UsageError, match=f"lacks the edge '{edge}'"):
        find_space(name).network(Architecture(fewer, name), small(name))


@pytest.mark.parametrize("text", ["", "|", "Genotype()", "Genotype(", "\0", "(" * 300, "nonsense"])
@any_space
def test_nonsense_is_no_notation(name: str, text: str) -> None:
    with pytest.raises(UsageError, match="The text is no "):
        find_space(name).parse(text)
