"""Habits of people's own modules and losses: each works wherever a search asks for it."""

import copy
import math
import pickle

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import nasp
from nasp.supernet.copies import copied
from nasp.training.evaluation import measured_loss


def batches(count=4, size=8):
    generator = torch.Generator().manual_seed(1)
    return [
        (
            torch.randn(size, 6, generator=generator),
            torch.randint(3, (size,), generator=generator),
        )
        for _ in range(count)
    ]


def searched(network, **settings):
    data = batches(8)
    return nasp.search(network, data[:4], data[4:], **{"epochs": 2, **settings})


def around(*layers):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 6), *layers, nn.Linear(6, 3))


# Modules that keep a tensor of their forward pass


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.l, self.last = nn.Linear(6, 6), None

    def forward(self, x):
        self.last = self.l(x).softmax(-1)
        return self.last * x


class History(Attention):
    """Keeps it where only a deep copy looks."""

    def __init__(self):
        super().__init__()
        self.maps = {"all": []}

    def forward(self, x):
        y = super().forward(x)
        self.maps["all"] = [*self.maps["all"][-2:], (y, y.detach())]
        return y


KEEPERS = {
    "attention map": Attention,
    "history": History,
    "spectral_norm": lambda: torch.nn.utils.spectral_norm(nn.Linear(6, 6)),
    "weight_norm": lambda: torch.nn.utils.weight_norm(nn.Linear(6, 6)),
    "new spectral_norm": lambda: torch.nn.utils.parametrizations.spectral_norm(nn.Linear(6, 6)),
}


@pytest.mark.filterwarnings("ignore:.*weight_norm.*is deprecated:FutureWarning")
@pytest.mark.parametrize("select", ["none", "rerank", "train"])
@pytest.mark.parametrize("kind", KEEPERS)
def test_a_module_may_keep_a_tensor_of_its_forward_pass(kind, select):
    """The case kept_tensor."""
    torch.manual_seed(0)
    network = around(nasp.Choice({"a": KEEPERS[kind](), "b": nn.Tanh()}), nn.Dropout(0.1))
    found = searched(network, select=select, selection={"epochs": 2} if select == "train" else {})
    supernet, x = found.supernet.eval(), batches(1)[0][0]
    architecture = nasp.Architecture({"1": "a"})
    supernet.single(supernet.path(architecture))
    expected = supernet(x)
    from nasp.supernet.derive import derive

    child = derive(supernet, architecture)
    torch.testing.assert_close(child.eval()(x), expected, rtol=0, atol=0)
    assert all(not tensor.requires_grad for tensor in vars(child[1]).values() if tensor is expected)
    child.train()(x).sum().backward()
    assert all(weight.grad is not None for weight in child[0].parameters())
    if "norm" not in kind:
        pickle.dumps(copied(child))


def test_a_copy_holds_one_tensor_once_and_without_a_graph():
    x = torch.ones(2, requires_grad=True)
    y = x * 2
    thing = {"y": y, "again": [y], "x": x}
    with pytest.raises(RuntimeError):
        copy.deepcopy(thing)
    other = copied(thing)
    assert other["y"] is other["again"][0]
    assert other["y"].grad_fn is None
    assert other["x"].requires_grad
    assert other["x"] is not x


# Lazy modules


LAZY = {
    "inside": lambda: around(nasp.Choice({"a": nn.LazyLinear(6), "b": nn.LazyBatchNorm1d()})),
    "buffers": lambda: around(nasp.Choice([nn.Tanh(), nn.LazyBatchNorm1d(affine=False)])),
    "around": lambda: nn.Sequential(
        nn.LazyLinear(5), nasp.Choice([nn.LazyLinear(7), nn.LazyLinear(7)]), nn.LazyLinear(3)
    ),
    "nested": lambda: around(
        nasp.Choice([nn.Tanh(), nn.Sequential(nasp.Choice([nn.LazyLinear(6), nn.ReLU()]))])
    ),
}


@pytest.mark.parametrize("select", ["none", "train"])
@pytest.mark.parametrize("kind", LAZY)
def test_lazy_modules_are_initialised_by_one_batch(kind, select, tmp_path):
    def search(run):
        torch.manual_seed(0)
        selection = {"epochs": 2} if select == "train" else {}
        return searched(
            LAZY[kind](), select=select, selection=selection, seed=3, run=run, at_most="params=1M"
        )

    found, again = search(None), search(tmp_path / "run")
    assert found.architecture == again.architecture
    x = batches(1)[0][0]
    for weights in ("inherit", "fresh"):
        one, other = found.build(weights).eval(), again.build(weights).eval()
        assert one(x).shape == (8, 3)
        assert torch.equal(one(x), other(x))
    resumed = search(tmp_path / "run")
    assert torch.equal(resumed.build("fresh").eval()(x), found.build("fresh").eval()(x))


def test_a_wrong_candidate_among_lazy_ones_is_named():
    with pytest.raises(nasp.UsageError, match="'1' of edge '1' fails"):
        searched(around(nasp.Choice([nn.LazyLinear(6), nn.Linear(5, 6)])))


def test_a_lazy_module_that_is_never_reached_is_named():
    class Aside(nn.Module):
        def __init__(self):
            super().__init__()
            self.choice, self.aside = nasp.Choice([nn.Tanh(), nn.ReLU()]), nn.LazyLinear(3)

        def forward(self, x):
            return self.choice(x)

    with pytest.raises(nasp.UsageError, match=r"lazy '1\.aside\.weight' has no shape"):
        searched(around(Aside()))


# Complex values


class Filter(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, dtype=torch.complex64))

    def forward(self, x):
        return x * self.weight


class Spectral(nn.Module):
    def __init__(self):
        super().__init__()
        self.choice = nasp.Choice({"filter": Filter(), "skip": nn.Identity(), "none": nasp.Zero()})

    def forward(self, x):
        return torch.fft.irfft(self.choice(torch.fft.rfft(x, dim=1)), n=6, dim=1)


@pytest.mark.parametrize("strategy", ["nasp", "darts", "gdas", "random-sharing", "params"])
def test_complex_values_are_searched(strategy):
    found = searched(around(Spectral()), strategy=strategy, select="train", at_most="params=1M")
    assert found.build()(batches(1)[0][0]).shape == (8, 3)


# Losses that need autograd


class Attacked:
    """The case loss_needs_autograd."""

    def loss(self, network, batch):
        x, y = batch
        a = x.clone().requires_grad_()
        (g,) = torch.autograd.grad(F.cross_entropy(network(a), y), a)
        return F.cross_entropy(network((a + 0.1 * g.sign()).detach()), y), {}


class AttackedByBackward:
    def loss(self, network, batch):
        x, y = batch
        a = x.clone().requires_grad_()
        F.cross_entropy(network(a), y).backward()
        return F.cross_entropy(network((a + 0.1 * a.grad.sign()).detach()), y), {}


def smooth(output, target):
    """A loss of output and target that takes a gradient by the output."""
    loss = F.cross_entropy(output, target)
    (g,) = torch.autograd.grad(loss, output, retain_graph=True)
    return loss + (g.detach() * output).sum()


class Penalised:
    def loss(self, network, batch):
        x, y = batch
        a = x.clone().requires_grad_()
        loss = F.cross_entropy(network(a), y)
        (g,) = torch.autograd.grad(loss, a, create_graph=True)
        return loss + g.square().sum(), {}


TASKS = {"attack": Attacked(), "backward": AttackedByBackward(), "criterion": smooth}
SETTINGS = {
    "defaults": {},
    "rerank": {"select": "rerank"},
    "train": {"select": "train", "selection": {"epochs": 2}},
    "random-sharing": {"strategy": "random-sharing"},
    "darts": {"strategy": "darts"},
    "darts-second-order": {"strategy": "darts-second-order"},
    "synflow": {"strategy": "synflow", "select": "train", "selection": {"epochs": 2}},
    "flops": {"complexity": 0.1, "cost": "flops"},
    "bound": {"at_most": "flops=1G"},
    "accumulate": {"accumulate": 2},
}


@pytest.mark.parametrize("kind", SETTINGS)
@pytest.mark.parametrize("task", TASKS)
def test_a_loss_that_needs_autograd_runs_wherever_it_is_asked_for(task, kind):
    network = around(nasp.Choice({"t": nn.Tanh(), "l": nn.Linear(6, 6)}))
    found = searched(network, task=TASKS[task], **SETTINGS[kind])
    assert all(math.isfinite(line["val_loss"]) for line in found.metrics if "val_loss" in line)
    assert found.build()(batches(1)[0][0]).shape == (8, 3)


@pytest.mark.parametrize("strategy", ["nasp", "nasp-without-c2"])
def test_a_loss_of_second_derivatives_is_refused_where_a_probe_would_drop_them(strategy):
    steps = []
    with pytest.raises(nasp.UsageError, match="gradient='plain'"):
        searched(
            around(nasp.Choice({"t": nn.Tanh(), "l": nn.Linear(6, 6)})),
            task=Penalised(),
            strategy=strategy,
            observe=lambda event: steps.append(event),
        )
    assert not steps


@pytest.mark.parametrize(
    "settings",
    [
        {"gradient": "plain"},
        {"strategy": "darts"},
        {"strategy": "random-sharing"},
        {"gradient": "plain", "select": "train", "selection": {"epochs": 2}},
    ],
)
def test_and_taken_where_the_graph_is_whole(settings):
    network = around(nasp.Choice({"t": nn.Tanh(), "l": nn.Linear(6, 6)}))
    assert searched(network, task=Penalised(), **settings).build() is not None


class Adapted:
    """Each batch's first half moves a copy of the weights, with which the second is measured."""

    def __init__(self, order):
        self.order = order

    def loss(self, network, batch):
        x, y = batch
        half, weights = len(x) // 2, dict(network.named_parameters())
        inner = F.cross_entropy(network(x[:half]), y[:half])
        slopes = torch.autograd.grad(
            inner, list(weights.values()), create_graph=self.order == 2, allow_unused=True
        )
        moved = {
            name: weight if slope is None else weight - 0.5 * slope
            for (name, weight), slope in zip(weights.items(), slopes, strict=True)
        }
        output = torch.func.functional_call(network, moved, (x[half:],))
        return F.cross_entropy(output, y[half:]), {}


def convolutions(kernel):
    return nn.Sequential(nn.ReLU(), nn.Conv2d(6, 6, kernel, padding=kernel // 2, bias=False))


@pytest.mark.parametrize("kind", ["images", "vectors"])
def test_a_loss_may_ask_for_a_gradient_by_the_weights(kind):
    def alphas(gradient):
        torch.manual_seed(0)
        data = [(x.double(), y) for x, y in batches(8)]
        if kind == "vectors":
            choice = nasp.Choice({"l": nn.Linear(6, 6), "t": nn.Tanh(), "skip": nn.Identity()})
            network = around(nn.Tanh(), choice)
        else:
            data = [(torch.randn(8, 3, 4, 4).double(), y) for _, y in data]
            edge = {"c3": convolutions(3), "c1": convolutions(1), "skip": nn.Identity()}
            network = nn.Sequential(
                nn.Conv2d(3, 6, 1), nasp.Choice(edge), nn.Flatten(), nn.Linear(96, 3)
            )
        found = nasp.search(
            network,
            data[:4],
            data[4:],
            task=Adapted(order=1),
            epochs=2,
            precision="64-true",
            settings={"gradient": gradient},
        )
        weights = found.supernet.weights()
        assert all(weight.is_leaf for weight in weights)
        return [*found.supernet.alphas.values(), *weights]

    plain = alphas("plain")
    for gradient in ("probe", "probe-unfused"):
        for one, other in zip(alphas(gradient), plain, strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=1e-8)


@pytest.mark.parametrize("settings", [{"gradient": "plain"}, {"strategy": "darts"}])
def test_and_through_it(settings):
    network = around(nasp.Choice({"t": nn.Tanh(), "l": nn.Linear(6, 6)}))
    found = searched(network, task=Adapted(order=2), **settings)
    assert all(weight.is_leaf for weight in found.supernet.weights())


def test_an_ordinary_loss_is_measured_without_a_graph_and_its_errors_are_its_own():
    network, (x, y) = nn.Linear(6, 3), batches(1)[0]

    class Watched:
        def loss(self, network, batch):
            assert not torch.is_grad_enabled()
            return F.cross_entropy(network(batch[0]), batch[1]), {}

    loss, _ = measured_loss(Watched(), network, (x, y))
    assert not loss.requires_grad
    loss, _ = measured_loss(Attacked(), network, (x, y))
    assert not loss.requires_grad
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        measured_loss(Attacked(), network, (x[:, :5], y))
