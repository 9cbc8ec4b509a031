"""The first batch, before the first step: what is wrong has a name, and nothing has moved."""

import copy
import random
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import nasp
from nasp.runs.random_state import random_states
from nasp.strategies import strategy_names
from nasp.supernet.checked import check_candidates
from nasp.supernet.derive import derive
from nasp.supernet.leaves import Leaves
from nasp.training.events import Stepped, Warned
from nasp.training.learner import Learner

STRATEGIES = [name for name in strategy_names() if "toy" not in name]


def batches(count=4, size=8, width=6, classes=3):
    generator = torch.Generator().manual_seed(1)
    return [
        (
            torch.randn(size, width, generator=generator),
            torch.randint(classes, (size,), generator=generator),
        )
        for _ in range(count)
    ]


def searched(network, count=4, **settings):
    data = batches(2 * count)
    return nasp.search(network, data[:count], data[count:], **{"epochs": 1, **settings})


def around(choice, width=6):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 6), choice, nn.Linear(width, 3))


class Function(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *args):
        return self.function(*args)


# A wrong candidate


def wrong(name):
    return {
        "shape": nn.Linear(6, 7),
        "nested shape": nn.Sequential(nn.Linear(6, 6), Function(lambda x: x[:4])),
        "no tensor": Function(lambda x: x.tolist()),
        "several": Function(lambda x: (x, x)),
        "type": Function(lambda x: x.double()),
        "input": nn.Linear(5, 6),
        "error": Function(lambda x: {}["key"]),
        "in place": nn.Sequential(nn.ReLU(inplace=True), nn.Linear(6, 6)),
    }[name]


SAID = {
    "shape": "'1'.*'big' gives \\(8, 6\\) and 'odd' gives \\(8, 7\\)",
    "nested shape": "'1'.*'odd' gives \\(4, 6\\)",
    "no tensor": "'1'.*'odd' must return a tensor.*gave a list",
    "several": "'1'.*'odd' gives \\(8, 6\\), \\(8, 6\\)",
    "type": "'1'.*'odd' gives torch.float64",
    "input": "'odd' of edge '1' fails.*\\[8, 6\\].*shapes cannot be multiplied",
    "error": "'odd' of edge '1' fails.*'key'",
    "in place": "'1'.*'odd' changes its input in place",
}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_names_a_candidate_of_another_width_before_its_first_step(strategy):
    """The case late_error: the smaller candidate is the wrong one, so it comes late."""
    steps = []
    big = nn.Sequential(nn.Linear(6, 32), nn.Linear(32, 6))
    network = around(nasp.Choice({"big": big, "odd": wrong("shape")}))
    before = copy.deepcopy(network.state_dict())
    with pytest.raises(nasp.UsageError, match=SAID["shape"]) as refused:
        searched(
            network,
            strategy=strategy,
            observe=lambda e: steps.append(e) if isinstance(e, Stepped) else None,
        )
    assert "\n" not in str(refused.value)
    assert not steps
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name])


@pytest.mark.parametrize("kind", SAID)
def test_a_wrong_candidate_is_named_with_its_edge(kind):
    big = nn.Sequential(nn.Linear(6, 32), nn.Linear(32, 6))
    with pytest.raises(nasp.UsageError, match=SAID[kind]):
        searched(around(nasp.Choice({"big": big, "odd": wrong(kind)})))


def test_a_wrong_candidate_inside_of_a_candidate_has_the_inner_edges_name():
    inner = nasp.Choice([nn.Linear(6, 6), nn.Linear(6, 7)])
    with pytest.raises(nasp.UsageError) as refused:
        searched(around(nasp.Choice({"a": nn.Tanh(), "b": nn.Sequential(nn.Tanh(), inner)})))
    assert str(refused.value).startswith("Edge '1.candidates.b.1': All candidates")


def test_edges_of_a_node_that_do_not_fit_are_named():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            edges = [nasp.Choice([nn.Linear(6, w), nn.Linear(6, w)]) for w in (6, 7)]
            self.node = nasp.Node(edges, keep=1)

        def forward(self, x):
            return self.node(x, x)

    with pytest.raises(nasp.UsageError, match=r"'1.node.edges.0' gives .*'1.node.edges.1' gives"):
        searched(around(Two()))


def test_a_run_that_never_began_leaves_no_folder(tmp_path):
    with pytest.raises(nasp.UsageError):
        searched(around(nasp.Choice([nn.Linear(6, 6), nn.Linear(6, 7)])), run=tmp_path / "run")
    assert not (tmp_path / "run").exists()


# Values that are not finite


def not_finite(kind):
    return {
        "nan": Function(torch.log),
        "infinity": Function(lambda x: x / torch.zeros(6)),
        "overflow": Function(lambda x: x.square() * 1e38 * 1e38),
    }[kind]


@pytest.mark.parametrize("strategy", ["nasp", "darts", "random-sharing"])
@pytest.mark.parametrize("kind", ["nan", "infinity", "overflow"])
def test_a_candidate_that_is_not_finite_is_named(kind, strategy):
    """The case nan_candidate."""
    choice = nasp.Choice({"relu": nn.ReLU(), "zero": nasp.Zero(), "log": not_finite(kind)})
    with pytest.raises(nasp.UsageError, match=r"Candidate 'log' of edge '1' gives .* not finite"):
        searched(around(choice), strategy=strategy)


class Later(nn.Module):
    """Finite on so many calls of a training, and then no more."""

    def __init__(self, calls):
        super().__init__()
        self.calls = calls

    def forward(self, x):
        self.calls -= 1
        return x if self.calls >= 0 else x / 0


@pytest.mark.parametrize("strategy", ["nasp", "darts", "nasp-without-c2"])
def test_one_that_is_finite_at_first_is_named_at_its_step_and_no_alpha_has_moved(strategy):
    choice = nasp.Choice({"relu": nn.Linear(6, 6), "late": Later(3), "tanh": nn.Tanh()})
    network, seen = around(choice), []
    with pytest.raises(nasp.NaspError, match=r"'late' (on|of) edge '1'") as refused:
        searched(
            network,
            count=10,
            strategy=strategy,
            observe=lambda e: seen.append(e) if isinstance(e, Stepped) else None,
        )
    assert not isinstance(refused.value, nasp.UsageError)
    assert 0 < len(seen) < 4


class Steep(nn.Module):
    """Finite, with a slope that is not."""

    def forward(self, x):
        return (x * 0).sqrt() + x


def test_a_slope_that_is_not_finite_is_no_candidates_fault():
    choice = nasp.Choice({"relu": nn.Linear(6, 6), "tanh": nn.Tanh(), "none": nasp.Zero()})
    with pytest.raises(nasp.NaspError, match=r"gradient of the candidates on edge '1.0' is not f"):
        searched(around(nn.Sequential(choice, Steep())))


def test_a_gradient_that_is_not_finite_moves_no_alpha():
    from nasp.strategies import Horizon, Problem, make_strategy
    from nasp.training.device import make_fabric
    from nasp.training.supervised import Supervised

    choice = nasp.Choice({"relu": nn.Linear(6, 6), "log": not_finite("nan")})
    supernet = nasp.Supernet(around(choice))
    fabric = make_fabric("cpu", "32-true")
    learner = Learner(fabric, supernet, Supervised(), supernet.weights(), torch.optim.SGD)
    problem = Problem(supernet, learner, Horizon(1, 1), 0, lambda _: torch.zeros(()))
    strategy = make_strategy("nasp", problem, {})
    before = {name: a.clone() for name, a in supernet.alphas.items()}
    with pytest.raises(nasp.NaspError, match="candidate 'log' on edge '1' is not finite"):
        strategy.arch_step(batches(1)[0])
    for name, a in supernet.alphas.items():
        assert torch.equal(a, before[name])


# In place


class Block(nn.Module):
    def __init__(self, behind, skip):
        super().__init__()
        linear = nn.Linear(6, 6)
        is_pair = isinstance(skip(torch.ones(1, 6)), tuple)
        other = Function(lambda x: (linear(x), x.sin())) if is_pair else linear
        self.c = nasp.Choice({"conv": other, "skip": skip})
        self.behind = behind

    def forward(self, x):
        return x + self.behind(self.c(x))


class AddToIt(nn.Module):
    def forward(self, x):
        x += 1
        return x


IN_PLACE = {
    "relu": lambda: Block(nn.ReLU(inplace=True), nn.Identity()),
    "dropout": lambda: Block(nn.Dropout(0.9, inplace=True), nn.Identity()),
    "view": lambda: Block(AddToIt(), Function(lambda x: x.view(-1, 6))),
    "second output": lambda: Block(
        Function(lambda pair: pair[0] + pair[1].relu_()), Function(lambda x: (x * 1, x))
    ),
}


@pytest.mark.parametrize("strategy", ["nasp", "darts", "random"])
@pytest.mark.parametrize("kind", IN_PLACE)
def test_a_layer_that_changes_what_a_skip_hands_on_is_refused(kind, strategy):
    """The case inplace_after_skip: steps and built network would compute different functions."""
    with pytest.raises(nasp.UsageError, match=r"'skip' of edge '1.c'.*in place"):
        searched(around(IN_PLACE[kind]()), strategy=strategy)


def test_a_batch_that_would_be_changed_for_ever_is_refused():
    network = nn.Sequential(
        nasp.Choice({"skip": nn.Identity(), "conv": nn.Linear(6, 6)}),
        nn.ReLU(inplace=True),
        nn.Linear(6, 3),
    )
    with pytest.raises(nasp.UsageError, match=r"'skip' of edge '0'.*in place"):
        searched(network)


@pytest.mark.parametrize("behind", [nn.ReLU(inplace=True), nn.ReLU6(inplace=True), AddToIt()])
def test_where_nobody_else_reads_it_steps_mixture_and_built_network_agree(behind):
    choice = nasp.Choice({"conv": nn.Linear(6, 6), "skip": nn.Identity()})
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(6, 6), choice, behind, nn.Linear(6, 3))
    searched(network)
    supernet, x = nasp.Supernet(network), torch.randn(4, 6)
    architecture = nasp.Architecture({"1": "skip"})
    path = supernet.path(architecture)
    outputs = []
    for run in ("probe", "mixture", "single"):
        if run == "mixture":
            supernet.mixture(Leaves(supernet.one_hot(path), supernet.device).tables)
        else:
            getattr(supernet, run)(path)
        outputs.append(supernet(x.clone()))
    outputs.append(derive(supernet, architecture)(x.clone()))
    for output in outputs[1:]:
        torch.testing.assert_close(output, outputs[0], rtol=0, atol=0)


# Hooks and subclasses


class Doubling(nasp.Choice):
    def forward(self, x):
        return 2 * super().forward(x)


class Sum(nasp.Node):
    def forward(self, *inputs):
        return -super().forward(*inputs)


def lost(kind):
    choice = nasp.Choice({"a": nn.Linear(6, 6), "t": nn.Tanh()})
    if kind == "subclass":
        return Doubling({"a": nn.Linear(6, 6), "t": nn.Tanh()})
    if kind == "node subclass":
        return Sum([choice], keep=1)
    if kind == "own module":
        choice = nasp.Choice({"a": nn.Linear(6, 6), "t": nasp.Zero()})
        choice.operations[1].register_forward_hook(lambda _module, _x, y: y + 1)
        return choice
    if kind == "node hook":
        choice = nasp.Node([choice], keep=1)
    if kind == "pre-hook":
        choice.register_forward_pre_hook(lambda _module, x: 2 * x[0])
    else:
        choice.register_forward_hook(lambda _module, _x, y: 2 * y)
    return choice


@pytest.mark.parametrize(
    "kind", ["hook", "pre-hook", "node hook", "own module", "subclass", "node subclass"]
)
def test_what_a_built_network_would_lose_is_refused(kind):
    """The case hook_on_choice."""
    said = r"(Choice|Node|Zero) at '1.*' has a (hook|forward of its own), which a built network"
    with pytest.raises(nasp.UsageError, match=said):
        searched(around(lost(kind)))
    supernet = nasp.Supernet(around(lost(kind)))
    with pytest.raises(nasp.UsageError, match=said):
        derive(supernet, supernet.architecture((0,)))


def test_a_hook_on_a_candidate_or_around_a_choice_stays():
    choice = nasp.Choice({"a": nn.Linear(6, 6), "t": nn.Tanh()})
    network = around(nn.Sequential(choice))
    network[1].register_forward_hook(lambda _module, _x, y: 2 * y)
    for candidate in choice.operations:
        candidate.register_forward_hook(lambda _module, _x, y: 3 * y)
    found = searched(network)
    found.supernet.eval().single(found.supernet.path(found.architecture))
    x = batches(1)[0][0]
    assert torch.equal(found.build().eval()(x), found.supernet(x))


# Edges that are never run


class Unused(nn.Module):
    def __init__(self, when):
        super().__init__()
        self.used = nasp.Choice([nn.Linear(6, 6), nn.Tanh()])
        self.unused = nasp.Choice([nn.Linear(6, 6), nn.Tanh()])
        self.when = when

    def forward(self, x):
        x = self.used(x)
        if self.when == "never":
            return x
        is_now = {
            "large": len(x) > 100,
            "testing": not self.training,
            "training": self.training,
            "positive": bool((x.sum() > 1e9).item()),
        }
        return self.unused(x) if is_now[self.when] else x


@pytest.mark.parametrize("when", ["never", "large", "positive"])
def test_a_choice_that_the_first_batch_does_not_run_is_said(when):
    said = []
    searched(
        around(Unused(when)), observe=lambda e: said.append(e) if isinstance(e, Warned) else None
    )
    assert "ran none of the candidates of edge '1.unused'" in said[0].message


@pytest.mark.parametrize("strategy", ["nasp", "darts", "random"])
def test_a_network_that_calls_no_choice_is_refused(strategy):
    network = around(Unused("never"))
    network[1].used = nn.Tanh()
    with pytest.raises(nasp.UsageError, match="ran none of the network's Choices"):
        searched(network, strategy=strategy)


@pytest.mark.parametrize("when", ["testing", "training"])
def test_one_that_runs_in_one_mode_alone_is_none_of_those(when):
    said = []
    searched(
        around(Unused(when)), observe=lambda e: said.append(e) if isinstance(e, Warned) else None
    )
    assert not any("ran none" in each.message for each in said)


# Without a trace


class Busy(nn.Module):
    """Whatever a module can do to itself, its neighbours and the world in a forward pass."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(6)
        self.calls, self.seen, self.table, self.last = 0, [], {"inner": []}, None
        self.register_buffer("mean", torch.zeros(6))
        self.weight = nn.Parameter(torch.ones(6))

    def forward(self, x):
        self.calls += 1
        self.seen.append(self.calls)
        self.table["inner"].append(1)
        self.table[self.calls] = x
        self.mean += x.detach().mean(0)
        self.mean = self.mean * 2
        self.weight.data.mul_(0.5)
        self.last = x * self.weight
        random.random(), np.random.rand(), torch.rand(())
        return self.norm(F.dropout(self.last, 0.5, self.training))


class Counting:
    def __init__(self):
        self.calls, self.log = 0, []

    def loss(self, network, batch):
        self.calls += 1
        self.log.append(self.calls)
        x, y = batch
        x.add_(1)
        loss = F.cross_entropy(network(x), y)
        loss.backward(retain_graph=True)
        return loss, {}


def test_the_check_leaves_no_trace():
    from nasp.bilevel.first_batch import check_first_batch
    from nasp.training.device import make_fabric

    supernet = nasp.Supernet(around(nasp.Choice({"busy": Busy(), "skip": nn.Identity()})))
    task, batch = Counting(), batches(1)[0]
    fabric = make_fabric("cpu", "32-true")
    learner = Learner(fabric, supernet, task, supernet.weights(), torch.optim.SGD)
    supernet.single((1,))
    x, state = batch[0].clone(), copy.deepcopy(supernet.state_dict())
    before, busy = random_states(), supernet.network[1].operations[0]
    run = supernet.network[1].run
    seen = check_first_batch(supernet, learner, batch)
    assert seen.has_inner_passes
    assert not seen.is_second_order
    after = random_states()
    assert before["python"] == after["python"]
    assert torch.equal(before["torch"], after["torch"])
    assert torch.equal(before["numpy"][1], after["numpy"][1])
    assert torch.equal(batch[0], x)
    for name, value in supernet.state_dict().items():
        assert torch.equal(value, state[name]), name
    assert (busy.calls, busy.seen, busy.table, busy.last) == (0, [], {"inner": []}, None)
    assert (task.calls, task.log) == (0, [])
    assert all(weight.grad is None for weight in supernet.weights())
    assert supernet.training
    assert supernet.network[1].run is run


def test_a_choice_that_is_called_often_is_checked_once_for_each_form_of_its_input():
    ran = []

    class Count(nn.Module):
        def forward(self, x):
            ran.append(len(x))
            return x * 1

    class Loop(nn.Module):
        def __init__(self):
            super().__init__()
            self.edge = nasp.Choice({"one": nn.Linear(6, 6), "two": Count()})

        def forward(self, x):
            for _ in range(10):
                x = self.edge(x)
            return self.edge(x[:2])

    supernet = nasp.Supernet(Loop())
    check_candidates(supernet, lambda: supernet(torch.randn(8, 6)).sum())
    assert ran == [8, 2]


# A weight's end of a graph remembers the stream of its pass: a later one, that is captured on
# another stream of a GPU, would wait for it, and could not be captured.


def ends_of(weights):
    views = [weight.view_as(weight) for weight in weights]
    return [view.grad_fn.next_functions[0][0] for view in views]


def test_the_check_keeps_no_graph():
    supernet = nasp.Supernet(
        around(nasp.Choice({"linear": nn.Linear(6, 6), "skip": nn.Identity()}))
    )

    def run():
        loss = supernet(torch.randn(8, 6)).sum()
        for end in ends_of(supernet.weights()):
            end.metadata["of"] = "the check"
        return loss

    check_candidates(supernet, run)
    supernet.single((0,))
    left = [end.metadata for end in ends_of(supernet.weights())]
    assert left == [{}] * len(supernet.weights())


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_no_step_of_a_search_keeps_a_graph(strategy, monkeypatch):
    kept, weight_step = [], Learner.weight_step

    def watched(self, batch):
        ends = ends_of(self.weights)
        kept.extend(end for end in ends if end.metadata)
        for end in ends:  # one that nothing keeps is gone by the next step
            end.metadata["of"] = "a step"
        del ends, end
        return weight_step(self, batch)

    monkeypatch.setattr(Learner, "weight_step", watched)
    edge = nasp.Choice({"linear": nn.Linear(6, 6), "tanh": nn.Tanh(), "skip": nn.Identity()})
    searched(around(edge), epochs=2, strategy=strategy)
    assert not kept


def test_candidates_in_a_list_have_their_positions_as_names():
    for candidates in (
        [nn.Linear(6, 6), nn.Tanh()],
        (nn.Linear(6, 6), nn.Tanh()),
        nn.ModuleList([nn.Linear(6, 6), nn.Tanh()]),
    ):
        choice = nasp.Choice(candidates)
        assert choice.names == ("0", "1")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for told in ("changed nothing", "collapses", "does not know", "has not settled"):
                warnings.filterwarnings("ignore", f".*{told}")
            found = searched(around(choice))
        assert found.architecture["1"] in ("0", "1")
        assert nasp.Architecture.from_json(found.architecture.to_json()) == found.architecture
    with pytest.raises(nasp.UsageError, match="at least one candidate"):
        nasp.Choice([])
    with pytest.raises(nasp.UsageError, match="must be a module, not None"):
        nasp.Choice([nn.Tanh(), None])
