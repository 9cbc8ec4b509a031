"""The space of vision transformers: attention against torch's own, tokens, sizes."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nasp.complexity.costs import parameter_count
from nasp.errors import UsageError
from nasp.spaces import NetworkConfig
from nasp.spaces.vit import VIT, Attention
from nasp.supernet.choice import Choice

TEXT = "convolution,mlp_2|skip,mlp_4|attention,mlp_1|both,mlp_2"


@pytest.mark.parametrize(("channels", "heads"), [(1, 1), (16, 1), (24, 1), (32, 2), (40, 2)])
def test_attention_is_that_of_torch(channels: int, heads: int) -> None:
    layer = Attention(channels, affine=True).double()
    assert layer.heads == heads
    x = torch.randn(2, channels, 3, 5, dtype=torch.float64)
    parts = layer.inputs(x).flatten(2).reshape(2, 3, heads, channels // heads, 15)
    query, key, value = parts.transpose(3, 4).unbind(1)
    expected = F.scaled_dot_product_attention(query, key, value).transpose(2, 3)
    torch.testing.assert_close(layer(x), expected.reshape(x.shape))


def test_attention_has_second_derivatives() -> None:
    layer = Attention(4, affine=False).double().eval()
    x = torch.randn(1, 4, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(layer, (x,))


@pytest.mark.parametrize(
    ("side", "tokens"), [(4, 4), (8, 8), (27, 14), (28, 7), (32, 8), (64, 8), (224, 14)]
)
def test_tokens_of_an_image(side: int, tokens: int) -> None:
    config = NetworkConfig(channels=16, cells=1, image_size=side)
    with torch.device("meta"):
        network = VIT.network(VIT.parse(TEXT), config)
        stem = network.get_submodule("stem")
        assert stem(torch.randn(2, 3, side, side)).shape == (2, 16, tokens, tokens)


@pytest.mark.parametrize("name", ["channels", "cells"])
def test_a_larger_size_is_a_larger_network(name: str) -> None:
    small = NetworkConfig(channels=16, cells=1)
    large = small.model_copy(update={name: 2 * getattr(small, name)})
    with torch.device("meta"):
        counts = [parameter_count(VIT.network(VIT.parse(TEXT), size)) for size in (small, large)]
    assert counts[1] > 1.7 * counts[0]


def test_what_is_a_chain_of_the_closed_form() -> None:
    with torch.device("meta"):
        supernet = VIT.supernet(VIT.small)
    for choice in (m for m in supernet.modules() if isinstance(m, Choice)):
        chains = dict(zip(choice.names, choice.probeable.chains, strict=True))
        own = {name for name, chain in chains.items() if chain is None}
        assert own in (set(), {"attention", "both", "skip"})
        assert not choice.probeable.draws


def test_a_layer_that_is_left_out_is_nothing() -> None:
    with torch.device("meta"):
        network = VIT.network(VIT.parse(TEXT), NetworkConfig(channels=4, cells=2))
    assert sum(isinstance(m, nn.Identity) for m in network.modules()) == 2


def test_what_is_wrong_with_a_text_is_said() -> None:
    with pytest.raises(UsageError, match=r"'mlp_3': choose one of mlp_1, mlp_2, mlp_4"):
        VIT.parse(TEXT.replace("mlp_1", "mlp_3"))
    with pytest.raises(UsageError, match=r"no network of 'vit': write mixer,mlp\|mixer,mlp"):
        VIT.parse("attention,mlp_1|")
