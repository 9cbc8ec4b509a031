"""What must hold for every search space, and for those of images."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, fx, nn
from torchvision.ops import StochasticDepth

from nasp.complexity import parameter_count
from nasp.complexity.costs import flops
from nasp.complexity.quantity import find_quantity
from nasp.complexity.store import Store
from nasp.complexity.target import Gauge
from nasp.domains import find_domain
from nasp.errors import UsageError
from nasp.exporters import export
from nasp.spaces import NetworkConfig, Space, find_space
from nasp.spaces.sampling import random_architecture
from nasp.supernet.architecture import Architecture
from nasp.supernet.choice import Choice, Node
from nasp.supernet.derive import derive
from nasp.supernet.partial_channels import PartialChannels
from nasp.supernet.supernet import Supernet
from nasp.testing.sizes import DIGITS, SIZES, fitting, images

NONSENSE = ("", "|", "Genotype()", "Genotype(", "\0", "(" * 300, "nonsense")
every_size = pytest.mark.parametrize("config", SIZES.values(), ids=SIZES)


class OwnClassesTracer(fx.Tracer):
    """Traces through nasp's classes and those of a space's package, never through a choice."""

    def __init__(self, space: Space) -> None:
        super().__init__()
        self.own = own_packages(space)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Tell whether a module is not traced through."""
        del module_qualified_name
        own = is_of(m, self.own) or isinstance(m, nn.Sequential)
        return isinstance(m, Choice | Node) or not own


def own_packages(space: Space) -> set[str]:
    """Return the packages that a space's own modules are of."""
    return {"nasp", type(space).__module__.partition(".")[0]}


def is_of(module: nn.Module, packages: set[str]) -> bool:
    """Tell whether a module's class is of one of the packages."""
    return type(module).__module__.partition(".")[0] in packages


def assert_same(graph: fx.Graph, network: nn.Module, x: Tensor) -> None:
    """Assert that a graph computes what the network does."""
    network.eval()
    assert torch.equal(fx.GraphModule(network, graph).eval()(x), network(x))


class SpaceTests:
    """The tests of spaces of any kind of data; a subclass says which, by the parameter ``name``.

    Example::

        @pytest.mark.parametrize("name", ["mine"])
        class TestMine(ImageSpaceTests): ...
    """

    @pytest.fixture(autouse=True)
    def _seed(self) -> None:
        torch.manual_seed(0)

    def test_it_is_registered_under_its_name(self, name: str) -> None:
        """The name on the command line is its own."""
        assert find_space(name).name == name

    def test_its_notation_is_read_back(self, name: str) -> None:
        """Notation and wiring say an architecture whole."""
        space = find_space(name)
        for seed in range(10):
            architecture = random_architecture(space, seed)
            assert space.parse(space.notation(architecture)) == architecture
            operations = {wire.operation for wire in space.wiring(architecture)}
            assert operations <= set(architecture.edges.values())

    @pytest.mark.parametrize("text", NONSENSE)
    def test_nonsense_is_no_notation(self, name: str, text: str) -> None:
        """A text that is not in its notation is refused in words."""
        with pytest.raises(UsageError, match="The text is no "):
            find_space(name).parse(text)

    def test_an_architecture_of_another_space_is_refused(self, name: str) -> None:
        """An architecture says its space, and is not read as another's."""
        space = find_space(name)
        other = Architecture(random_architecture(space, 0).edges, "elsewhere")
        for use in (space.notation, lambda a: space.network(a, find_space(name).small)):
            with pytest.raises(UsageError, match=f"is of space 'elsewhere', not of '{name}'"):
                use(other)

    def test_foreign_edges_and_candidates_are_refused(self, name: str) -> None:
        """The edge or candidate that does not fit is named."""
        space = find_space(name)
        config = space.small
        good = random_architecture(space, 0)
        edge = next(edge for edge, candidate in good.edges.items() if candidate is not None)
        unknown = Architecture({**good.edges, edge: "conv_9x9"}, name)
        where = rf"on edge '{edge}' of space '{name}' 'conv_9x9': choose"
        with pytest.raises(UsageError, match=where):
            space.network(unknown, config)
        with pytest.raises(UsageError, match=f"Space '{name}' has no edge 'more/0'"):
            space.network(Architecture({**good.edges, "more/0": None}, name), config)
        fewer = {key: value for key, value in good.edges.items() if key != edge}
        with pytest.raises(UsageError, match=f"lacks the edge '{edge}'"):
            space.network(Architecture(fewer, name), config)

    def test_what_a_supernet_found_is_written(self, name: str, tmp_path: Path) -> None:
        """A derived network leaves as source of plain PyTorch, with bit-equal outputs."""
        space = find_space(name)
        config = space.small
        supernet = Supernet(space.supernet(config), name)
        network = derive(supernet, random_architecture(space, 1))
        example = find_domain(space.data).example(network, config, 3)
        assert export(network, tmp_path / "net.py", example=example).difference == 0
        assert "import nasp" not in (tmp_path / "net.py").read_text()


class ImageSpaceTests(SpaceTests):
    """The tests of spaces whose networks read images."""

    @every_size
    def test_supernet_and_network_map_images_to_logits(
        self, name: str, config: NetworkConfig
    ) -> None:
        """At every size of image and network, with either stem."""
        space = find_space(name)
        config = fitting(space, config)
        supernet = Supernet(space.supernet(config), name)
        path = supernet.random_path(torch.Generator().manual_seed(1))
        supernet.single(path)
        x = images(config)
        assert supernet(x).shape == (2, config.classes)
        network = space.network(supernet.architecture(path), config)
        assert network(x).shape == (2, config.classes)
        assert all(parameter.requires_grad for parameter in network.parameters())

    def test_a_derived_network_computes_what_its_path_did(self, name: str) -> None:
        """With the supernet's weights."""
        space = find_space(name)
        supernet = Supernet(space.supernet(fitting(space, DIGITS)), name)
        path = supernet.random_path(torch.Generator().manual_seed(1))
        supernet.single(path)
        supernet(images(DIGITS))  # moves the running statistics
        x = images(DIGITS)
        child = derive(supernet, supernet.architecture(path))
        torch.testing.assert_close(child.eval()(x), supernet.eval()(x))

    @pytest.mark.parametrize("size", [16, 15])
    def test_candidates_of_a_part_of_the_channels(self, name: str, size: int) -> None:
        """`partial_channels` is heeded by the supernet, and by no derived network."""
        space = find_space(name)
        config = fitting(
            space, NetworkConfig(channels=4, cells=3, image_size=size, partial_channels=4)
        )
        network = space.supernet(config)
        supernet = Supernet(network, name)
        whole = space.supernet(config.model_copy(update={"partial_channels": 1}))
        assert supernet.tables == Supernet(whole).tables
        choices = [module for module in network.modules() if isinstance(module, Choice)]
        keeps: dict[nn.Module, bool] = {}

        def note(choice: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> None:
            keeps[choice] = given[0].shape[1] == output.shape[1]

        hooks = [choice.register_forward_hook(note) for choice in choices]
        x = images(config)
        supernet.mixture({n: a.softmax(dim=1) for n, a in supernet.alphas.items()})
        assert supernet(x).shape == (2, 10)
        for choice, hook in zip(choices, hooks, strict=True):
            hook.remove()
            # What changes the number of channels needs all of them.
            assert {isinstance(o, PartialChannels) for o in choice.operations} == {keeps[choice]}
        assert any(keeps.values())
        path = supernet.random_path(torch.Generator().manual_seed(1))
        supernet.single(path)
        child = derive(supernet, supernet.architecture(path))
        network.eval()
        torch.testing.assert_close(child.eval()(x), supernet(x))
        plain = space.network(supernet.architecture(path), config)
        assert not any(isinstance(m, PartialChannels) for m in plain.modules())

    def test_channels_that_cannot_be_split(self, name: str) -> None:
        """They are refused in words."""
        config = NetworkConfig(channels=6, cells=2, partial_channels=4)
        expected = "channels=6 cannot be split for partial_channels=4: ta"
        with pytest.raises(UsageError, match=expected):
            find_space(name).supernet(config)

    def test_the_search_has_no_affine_batch_norm_on_edges_and_the_network_has(
        self, name: str
    ) -> None:
        """As in DARTS: in a search, a scale would hide which candidate is the stronger."""

        def norms(module: nn.Module) -> list[nn.BatchNorm2d]:
            return [m for m in module.modules() if isinstance(m, nn.BatchNorm2d)]

        space = find_space(name)
        supernet = space.supernet(fitting(space, DIGITS))
        for choice in (m for m in supernet.modules() if isinstance(m, Choice)):
            assert all(not norm.affine and norm.track_running_stats for norm in norms(choice))
        network = space.network(random_architecture(space, 0), DIGITS)
        assert all(norm.affine for norm in norms(network))

    @pytest.mark.parametrize("drop_path", [False, True])
    def test_derived_networks_can_be_traced(self, name: str, drop_path: bool) -> None:
        """Down to torch's modules, and to its operators."""
        space = find_space(name)
        config = fitting(space, NetworkConfig(channels=2, cells=3, drop_path=drop_path))
        network = space.network(random_architecture(space, 0), config)
        x = images(config)
        assert_same(OwnClassesTracer(space).trace(network), network, x)
        assert_same(fx.symbolic_trace(network.eval()).graph, network, x)

    def test_supernets_can_be_traced(self, name: str) -> None:
        """Down to their choices, so that a network can be derived."""
        space = find_space(name)
        supernet = Supernet(space.supernet(fitting(space, DIGITS)))
        supernet.single(supernet.random_path(torch.Generator().manual_seed(0)))
        graph = OwnClassesTracer(space).trace(supernet.network)
        assert_same(graph, supernet.network, images(DIGITS))

    def test_every_class_can_be_traced_on_its_own(self, name: str) -> None:
        """So that it becomes a class of what is exported."""
        space = find_space(name)
        network = space.network(random_architecture(space, 0), SIZES["colour"])
        own = {type(m): m for m in network.modules() if is_of(m, own_packages(space))}
        for module in own.values():
            fx.symbolic_trace(module)

    def test_drop_path_modules_are_inactive_and_only_there_on_request(self, name: str) -> None:
        """The training raises their rate."""
        space = find_space(name)

        def count(drop_path: bool) -> int:
            config = NetworkConfig(channels=2, cells=3, drop_path=drop_path)
            network = space.network(random_architecture(space, 0), config)
            dropped = [m for m in network.modules() if isinstance(m, StochasticDepth)]
            assert all(m.p == 0.0 for m in dropped)
            return len(dropped)

        assert count(drop_path=False) == 0
        assert count(drop_path=True) > 0

    @every_size
    def test_auxiliary_head_fits_the_module_that_it_taps(
        self, name: str, config: NetworkConfig
    ) -> None:
        """Where there is one, it maps what it taps to logits."""
        space = find_space(name)
        tap = space.auxiliary_head(config)
        if tap is None:
            return
        where, head = tap
        network = space.network(random_architecture(space, 0), config)
        seen: list[Tensor] = []
        tapped = network.get_submodule(where)
        tapped.register_forward_hook(lambda *call: seen.append(head(call[2])))
        network(images(config))
        assert seen[0].shape == (2, config.classes)

    def test_the_costs_of_derived_networks_are_exact(self, name: str) -> None:
        """A supernet with `as_derived` has the parameters and FLOPs of derived networks."""
        space = find_space(name)
        config = fitting(space, NetworkConfig(channels=4, cells=3, image_size=8))
        state = torch.get_rng_state()
        target = find_domain(space.data).target(space, config, "cpu")
        kinds = ("params", "flops")
        gauges = {kind: Gauge(find_quantity(kind), target, Store(None)) for kind in kinds}
        tables = {kind: gauge.table(kind) for kind, gauge in gauges.items()}
        assert torch.equal(torch.get_rng_state(), state)
        for seed in range(3):
            architecture = random_architecture(space, seed)
            path = target.supernet.path(architecture)
            network = space.network(architecture, config)
            costs = {
                "params": parameter_count(network),
                "flops": flops(network, torch.randn(1, 3, 8, 8)),
            }
            for kind, cost in costs.items():
                assert tables[kind].of(path) == cost
                assert gauges[kind].of(architecture).value == cost
