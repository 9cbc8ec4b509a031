"""What holds for every registered space."""

from typing import Any

import pytest
import torch

from nasp.errors import UsageError
from nasp.spaces import SPACES, NetworkConfig, find_space, spaces_of
from nasp.spaces.sampling import random_architecture
from nasp.supernet.choice import Choice
from nasp.testing.sizes import SIZES
from nasp.testing.spaces import ImageSpaceTests, SpaceTests, every_size, is_of

any_space = pytest.mark.parametrize("name", SPACES)
every_space = pytest.mark.parametrize("name", spaces_of("images"))


@pytest.mark.parametrize("name", spaces_of("images"))
class TestEverySpaceOfImages(ImageSpaceTests):
    """The tests that plug-ins' spaces must pass, too."""


@pytest.mark.parametrize("name", spaces_of("text"))
class TestEverySpaceOfText(SpaceTests):
    """Those that ask for no images."""


@any_space
def test_registered_under_its_name(name: str) -> None:
    assert find_space(name) is SPACES[name]


def test_unknown_space() -> None:
    with pytest.raises(
        UsageError, match=r"Unknown search space 'dart': choose one of darts, mobile, nas"
    ):
        find_space("dart")


@every_space
def test_all_cells_of_a_kind_share_their_rows(name: str) -> None:
    with torch.device("meta"):
        network = find_space(name).supernet(NetworkConfig(cells=6))
    shares: Any = [m.share for m in network.modules() if isinstance(m, Choice)]
    edges, choices = {
        "darts": (28, 6 * 14),
        "nasp12": (28, 6 * 14),
        "nasbench201": (6, 3 * 6 * 6),
        "nasbench201-3": (3, 3 * 6 * 3),
        "mobile": (5 + 10, 5 * (1 + 6 * 2)),
        "vit": (8, 4 * 6 * 2),
    }[name]
    assert len(set(shares)) == edges
    assert len(shares) == choices
    assert all(parameter.is_meta for parameter in network.parameters())


@every_space
def test_some_classes_are_its_own(name: str) -> None:
    space = find_space(name)
    network = space.network(random_architecture(space, 0), SIZES["colour"])
    assert any(is_of(module, {"nasp"}) for module in network.modules())


@every_size
@every_space
def test_only_cells_of_darts_have_an_auxiliary_head(name: str, config: NetworkConfig) -> None:
    has_one = find_space(name).auxiliary_head(config) is not None
    assert has_one == (name in ("darts", "nasp12"))
