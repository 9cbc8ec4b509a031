"""A block that several candidates share is moved by the chosen one alone."""

import pytest
import torch
from torch import nn

import nasp
from nasp.supernet.shared import shared_blocks


def block():
    return nn.Sequential(nn.Conv2d(4, 4, 1, bias=False), nn.BatchNorm2d(4))


def vectors():
    return nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))


def supernet(kind, shared):
    """Edges of which candidate 0 is chosen."""
    if kind == "two candidates":
        edges = [
            nasp.Choice(
                {
                    "one": nn.Sequential(nn.Tanh(), shared),
                    "two": nn.Sequential(shared, nn.ReLU()),
                    "bare": shared,
                }
            )
        ]
    elif kind == "two edges":
        edges = [
            nasp.Choice({"one": nn.Sequential(nn.Tanh(), shared), "skip": nn.Identity()}),
            nasp.Choice({"skip": nn.Identity(), "two": nn.Sequential(shared, nn.ReLU())}),
        ]
    else:
        edges = [shared, nasp.Choice({"skip": nn.Identity(), "two": nn.Sequential(shared)})]
    return nasp.Supernet(nn.Sequential(nn.Tanh(), *edges)).double()


def images():
    torch.manual_seed(0)
    return torch.randn(3, 4, 5, 5, dtype=torch.float64)


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("kind", ["two candidates", "two edges", "beside"])
@pytest.mark.parametrize("made", [block, vectors])
def test_unchosen_candidates_do_not_move_its_statistics(made, kind, fused):
    torch.manual_seed(0)
    shared = made()
    x = images() if made is block else images()[:, :, 0, 0]
    net = supernet(kind, shared)
    norm, path = shared[1], (0,) * len(net.edges)
    fresh = {name: buffer.clone() for name, buffer in norm.named_buffers()}
    net.single(path)
    net(x)
    expected = {name: buffer.clone() for name, buffer in norm.named_buffers()}
    norm.load_state_dict({**norm.state_dict(), **fresh})
    probed = net.probe(path, fused=fused)
    net(x).square().sum().backward(inputs=probed.anchors)
    found = probed.gradients()
    for name, buffer in norm.named_buffers():
        torch.testing.assert_close(buffer, expected[name], rtol=0, atol=0)
    assert int(norm.num_batches_tracked) == 1
    plain = {name: a.requires_grad_() for name, a in net.one_hot(path).items()}
    norm.load_state_dict({**norm.state_dict(), **fresh})
    net.mixture(plain, at=path)
    net(x).square().sum().backward(inputs=list(plain.values()))
    for name, buffer in norm.named_buffers():
        torch.testing.assert_close(buffer, expected[name], rtol=0, atol=0)
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, plain[name].grad, rtol=0, atol=1e-9)


def test_only_what_is_shared_is_found():
    shared, own = block(), block()
    edges = [nasp.Choice({"own": own, "shared": shared}), nasp.Choice({"shared": shared})]
    network = nn.Sequential(block(), *edges, edges[0])
    found = shared_blocks(network, [[edges[0]], [edges[1]]])
    assert [each.module for each in found] == [shared[1]]
    assert not found[0].always
    assert not found[0].is_kept((0, None))
    assert found[0].is_kept((1, None))


def test_a_mixture_refuses_a_candidate_that_changes_what_its_rivals_read():
    edge = nasp.Choice({"first": nn.Sequential(nn.ReLU(inplace=True)), "second": nn.Identity()})
    net = nasp.Supernet(nn.Sequential(nn.Tanh(), edge))
    net.mixture({name: torch.ones_like(a) for name, a in net.alphas.items()})
    with pytest.raises(nasp.UsageError, match="'first' changes its input in place"):
        net(torch.randn(2, 3))
