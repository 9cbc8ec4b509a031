"""Losses that differentiate on their own: equal to the plain graph, or refused."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import nasp
from nasp.supernet.leaves import Leaves
from nasp.supernet.probe.passes import SECOND_ORDER
from nasp.training.device import make_fabric
from nasp.training.learner import Learner

PROBES = ("unfused", "fused", "fixed")


def convolution(kernel, has_norm):
    layers = [nn.ReLU(), nn.Conv2d(6, 6, kernel, padding=kernel // 2, groups=6)]
    return nn.Sequential(*layers, *([nn.BatchNorm2d(6)] if has_norm else []))


def images(has_norm):
    torch.manual_seed(0)
    choice = nasp.Choice(
        {"c3": convolution(3, has_norm), "c1": convolution(1, has_norm), "skip": nn.Identity()}
    )
    layers = nn.Conv2d(3, 6, 1), choice, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4)
    return nn.Sequential(*layers), (torch.randn(6, 3, 7, 7).double(), torch.randint(4, (6,)))


def vectors():
    torch.manual_seed(0)
    choice = nasp.Choice({"c3": nn.Linear(6, 6), "t": nn.Tanh(), "skip": nn.Identity()})
    batch = torch.randn(6, 3).double(), torch.randint(4, (6,))
    return nn.Sequential(nn.Linear(3, 6), choice, nn.Tanh(), nn.Linear(6, 4)), batch


KINDS = {
    "chains": lambda: images(has_norm=False),
    "chains with BatchNorm": lambda: images(has_norm=True),
    "vectors": vectors,
}


def attack(network, batch):
    """The gradient by the input alone is asked for."""
    x, y = batch
    a = x.clone().requires_grad_()
    (g,) = torch.autograd.grad(F.cross_entropy(network(a), y), a)
    return F.cross_entropy(network((a + 0.05 * g.sign()).detach()), y)


def attack_by_backward(network, batch):
    """The inner pass leaves its gradient at every leaf there is."""
    x, y = batch
    a = x.clone().requires_grad_()
    F.cross_entropy(network(a), y).backward()
    return F.cross_entropy(network((a + 0.05 * a.grad.sign()).detach()), y)


def weighed_by_gradient(network, batch):
    """The same graph is gone through twice."""
    x, y = batch
    a = x.clone().requires_grad_()
    loss = F.cross_entropy(network(a), y)
    (g,) = torch.autograd.grad(loss, a, retain_graph=True)
    return loss * (1 + g.norm())


def gradient_penalty(network, batch):
    x, y = batch
    a = x.clone().requires_grad_()
    loss = F.cross_entropy(network(a), y)
    (g,) = torch.autograd.grad(loss, a, create_graph=True)
    return loss + g.square().sum()


def equation(network, batch):
    """As a network that solves a differential equation is trained: u'' + u = 0."""
    a = batch[0].clone().requires_grad_()
    u = network(a).sum()
    (du,) = torch.autograd.grad(u, a, create_graph=True)
    return (du + a).square().mean()


def functional(network, batch):
    x, y = batch
    return torch.func.grad(lambda a: F.cross_entropy(network(a), y))(x).norm()


def forward_mode(network, batch):
    return torch.func.jvp(network, (batch[0],), (batch[0],))[1].square().sum()


class Task:
    def __init__(self, loss):
        self._loss = loss

    def loss(self, network, batch):
        return self._loss(network, batch), {}


def gradient(kind, how, loss, through_learner):
    network, batch = KINDS[kind]()
    supernet = nasp.Supernet(network).double()
    path = (0,) * len(supernet.edges)
    if how == "plain":
        found = Leaves(supernet.one_hot(path), supernet.device)
        supernet.mixture(found.tables)
    else:
        found = supernet.probe(path, fused=how != "unfused", fixed_weights=how == "fixed")
    if through_learner:
        fabric = make_fabric("cpu", "64-true")
        learner = Learner(fabric, supernet, Task(loss), supernet.weights(), torch.optim.SGD)
        learner.gradients(batch, found)
    else:
        loss(supernet, batch).backward(inputs=list(found.anchors))
    return torch.cat([row.flatten() for row in found.gradients().values()])


@pytest.mark.parametrize("through_learner", [False, True])
@pytest.mark.parametrize("loss", [attack, attack_by_backward, weighed_by_gradient])
@pytest.mark.parametrize("kind", KINDS)
def test_a_backward_pass_of_the_losss_own_is_as_it_is_in_the_plain_graph(
    kind, loss, through_learner
):
    plain = gradient(kind, "plain", loss, through_learner)
    for how in PROBES:
        found = gradient(kind, how, loss, through_learner)
        torch.testing.assert_close(found, plain, rtol=0, atol=1e-10)


@pytest.mark.parametrize("loss", [gradient_penalty, equation, functional, forward_mode])
@pytest.mark.parametrize("kind", ["chains", "vectors"])
def test_derivatives_of_derivatives_are_refused_by_probes_and_exact_in_the_plain_graph(kind, loss):
    for how in PROBES:
        with pytest.raises(nasp.UsageError) as refused:
            gradient(kind, how, loss, through_learner=True)
        assert str(refused.value) == SECOND_ORDER
    plain = gradient(kind, "plain", loss, through_learner=True)
    network, batch = KINDS[kind]()
    supernet = nasp.Supernet(network).double()
    values = []
    for k in range(2):
        for step in (1e-5, -1e-5):
            weights = supernet.one_hot((0,))
            next(iter(weights.values()))[0, k] += step
            supernet.mixture(weights)
            values.append(loss(supernet, batch).item())
    slopes = [(values[i] - values[i + 1]) / 2e-5 for i in (0, 2)]
    torch.testing.assert_close(plain[:2].tolist(), slopes, rtol=1e-5, atol=1e-7)


def test_a_backward_pass_of_the_losss_own_leaves_the_weight_step_alone():
    """Its gradient by the weights is no part of the loss's."""

    def moved(loss):
        network, batch = vectors()
        fabric = make_fabric("cpu", "64-true")
        supernet = nasp.Supernet(network)
        learner = Learner(fabric, supernet, Task(loss), supernet.weights(), torch.optim.SGD)
        supernet.single((0,))
        learner.weight_step(batch)
        return [weight.detach().clone() for weight in supernet.weights()]

    for one, other in zip(moved(attack), moved(attack_by_backward), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


def test_complex_values_have_the_gradient_of_the_plain_graph():
    class Spectrum(nn.Module):
        def __init__(self):
            super().__init__()
            self.filter = nn.Parameter(torch.randn(6, dtype=torch.complex128))

        def forward(self, x):
            return x * self.filter

    class Turn(nn.Module):
        def forward(self, x):
            return (0.5 + 1j) * x

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.choice = nasp.Choice(
                {"filter": Spectrum(), "turn": Turn(), "conjugate": Conjugate(), "off": nasp.Zero()}
            )

        def forward(self, x):
            return torch.fft.ifft(self.choice(torch.fft.fft(x, dim=1))).real.sin()

    class Conjugate(nn.Module):
        def forward(self, x):
            return x.conj()

    torch.manual_seed(0)
    network, x, found = Network(), torch.randn(5, 6).double(), {}
    for how in ("plain", "probe"):
        supernet = nasp.Supernet(network).double()
        path = (0,)
        if how == "plain":
            leaves = Leaves(supernet.one_hot(path), supernet.device)
            supernet.mixture(leaves.tables)
        else:
            leaves = supernet.probe(path)
        supernet(x).square().sum().backward(inputs=list(leaves.anchors))
        found[how] = leaves.gradients()["choice"]
    assert found["plain"].abs().min() == 0  # none
    assert found["plain"][0, :3].abs().min() > 1e-3
    torch.testing.assert_close(found["probe"], found["plain"], rtol=0, atol=1e-10)
