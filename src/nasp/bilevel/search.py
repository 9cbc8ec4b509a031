"""The bilevel loop: half the data moves the alphas, half the weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial

from torch import Generator, Tensor

from nasp.bilevel.decision import decide, is_left_to_trainings, searched
from nasp.bilevel.first_batch import (
    check_first_batch,
    initialise_lazy_modules,
    refuse_or_warn,
    take_step,
)
from nasp.bilevel.found import Found
from nasp.bilevel.health import HealthMonitor
from nasp.bilevel.history import ALPHAS, AlphaHistory, keep_choices
from nasp.bilevel.larger import Larger
from nasp.bilevel.minutes import within_minutes
from nasp.bilevel.search_costs import Bounded, make_complexity
from nasp.bilevel.selection import (
    Beside,
    ByScores,
    Selector,
    Visits,
    with_batch_statistics,
)
from nasp.bilevel.settings import SearchConfig, selecting
from nasp.complexity.control import Complexity
from nasp.complexity.costs import Cost
from nasp.runs.checkpoints import Checkpointer
from nasp.runs.folder import RunFolder
from nasp.strategies import (
    Averages,
    Horizon,
    Problem,
    Proposes,
    Rests,
    current_architecture,
    find_strategy,
    make_strategy,
)
from nasp.strategies.average import Average, MeanGain
from nasp.supernet.architecture import Architecture
from nasp.supernet.path import Path
from nasp.supernet.supernet import Supernet
from nasp.training.accumulation import check_parts
from nasp.training.batches import fingerprint
from nasp.training.callbacks import Watchers
from nasp.training.events import Observer, Warned, nobody
from nasp.training.figures import figures
from nasp.training.loop import EpochReport, StepReport, run_epochs
from nasp.training.meter import Meter
from nasp.training.passes import EndlessPasses, SamePass, epoch_length, pass_length
from nasp.training.recalibration import Recalibration
from nasp.training.recipe import computing_as_set
from nasp.training.start import start_from
from nasp.training.supervised import Supervised
from nasp.training.task import Batch, Metrics, Task, detached
from nasp.training.together import say_ranks


@computing_as_set
def run_search(
    supernet: Supernet,
    train_loader: Iterable[Batch],
    val_loader: Iterable[Batch],
    task: Task,
    config: SearchConfig,
    run: RunFolder | None = None,
    observe: Observer = nobody,
    selection_loader: Iterable[Batch] | None = None,
    bounded: Bounded | None = None,
    own_cost: Cost | None = None,
    beside: Beside | None = None,
) -> Found:
    """Search a supernet; a run that was stopped goes on. See `search`.

    Args:
        supernet: its weights and alphas are trained.
        train_loader: batches for the weights.
        val_loader: batches for the alphas.
        task: the task.
        config: settings.
        run: keeps the run.
        observe: is told what happens.
        selection_loader: batches that the selection measures on; default `val_loader`.
        bounded: makes the network that bounds are about; default the searched one.
        own_cost: the cost that the settings call ``"own"``.
        beside: runs the trainings of a selection beside one another; default here, in turn.
    """
    mode = selecting(config)
    supernet.train()
    initialise_lazy_modules(supernet, task, val_loader, config.seed)
    start_from(supernet.network, config.init, run, observe)
    config.ranks.alike([*supernet.network.parameters(), *supernet.network.buffers()])
    registration = find_strategy(config.strategy)
    is_iterative = registration.iterative
    shares = task, config.ranks if is_iterative and not registration.keeps_batches else None
    weight_batches = EndlessPasses(train_loader, "The training loader", *shares)
    arch_batches = EndlessPasses(val_loader, "The validation loader", *shares)
    steps = config.epoch_steps or epoch_length(train_loader)
    config = within_minutes(config, supernet, task, weight_batches, arch_batches, steps, run)
    epoch_steps = config.steps_of_epoch(config.epoch_steps or steps)
    epochs, steps = (config.epochs, epoch_steps) if is_iterative else (1, 1)
    until = run.epochs(epochs) if run is not None and is_iterative else epochs
    val_steps = pass_length(val_loader) or steps  # it may never end
    initial_weights = {
        k: v.detach().cpu().clone() for k, v in supernet.network.state_dict().items()
    }
    fresh_task = detached(task)
    learner = config.learner(supernet, task, supernet.weights())
    learner.steps_per_epoch = steps
    # Closed forms know nothing of the other processes' examples.
    supernet.fuses = not (config.sync_bn and learner.ranks.size > 1)
    schedule = config.rates(learner)
    seen = check_first_batch(supernet, learner, arch_batches.peek(), is_iterative)
    say_ranks(run, learner.ranks, observe)
    if learner.parts > 1:
        supernet.single(supernet.random_path(Generator()))
        for batches in (arch_batches, weight_batches):
            for batch in SamePass(batches, config.seed, count=1):  # it begins no pass of theirs
                learner.ranks.agree("first batch", fingerprint(batch))
                check_parts(learner, batch)
    complexity = make_complexity(
        supernet, config, learner, arch_batches, steps, run, bounded, own_cost
    )
    horizon, penalty = Horizon(epochs, steps), complexity.penalty
    problem = Problem(supernet, learner, horizon, config.seed, penalty, complexity.prices())
    strategy = make_strategy(config.strategy, problem, config.settings)
    refuse_or_warn(seen, strategy, observe)
    average = strategy.average if isinstance(strategy, Averages) else None
    start = strategy.derive()
    monitor = HealthMonitor(supernet, start, average)
    visits = Visits(supernet, epochs * steps)
    history = AlphaHistory(supernet, average)
    meter = Meter()
    checkpointer = Checkpointer(
        run,
        {
            "supernet": supernet,
            "learner": learner,
            "schedule": schedule,
            "strategy": strategy,
            "complexity": complexity,
            "monitor": monitor,
            "visits": visits,
            "history": history,
            "meter": meter,
            "weight_batches": weight_batches,
            "arch_batches": arch_batches,
            **({"watchers": observe} if isinstance(observe, Watchers) else {}),
        },
        config.checkpoint_minutes,
    )

    take = partial(take_step, supernet, learner)

    def step() -> StepReport:
        rests = isinstance(strategy, Rests) and strategy.rests
        on_val = None if rests else take(strategy.arch_step, next(arch_batches))
        on_train = take(strategy.weight_step, next(weight_batches)) if is_iterative else {}
        architecture = current_architecture(strategy, supernet)
        path = supernet.path(architecture)
        if on_val is not None:
            complexity.step(path)
        if average is None:
            visits.step(path)
        changed = monitor.step(architecture)
        return StepReport(
            {**_prefixed("train_", on_train), **_prefixed("val_", on_val or {})},
            changed,
            architecture,
        )

    def end_epoch(epoch: int) -> EpochReport:
        lr = schedule.last
        if is_iterative:
            schedule.end_epoch(meter.means())
        history.add()
        architecture = strategy.derive()
        path = supernet.path(architecture)
        learner.ranks.agree("architecture parameters", supernet.named_alphas())
        learner.ranks.agree("architecture", dict(architecture.edges))
        visits.end_epoch(path)
        health = monitor.end_epoch(architecture, complexity.gives_size)
        warnings = [health.collapse_warning(bool(complexity.bounds))]
        is_last = epoch == until or (
            mode == "none"
            and is_left_to_trainings(config, health.knows, epoch, until)
            and has_larger(architecture)
        )
        if is_last and mode == "none" and not isinstance(strategy, Proposes):
            unsettled = health.unsettled_warning(is_average=average is not None)
            warnings += [unsettled, health.tie_warning()]
            warnings.append(health.ignorance_warning(config.fallback))
            warnings.append(monitor.stillness_warning())
        elif epoch == until and mode == "rerank":
            warnings.append(health.ignorance_warning())
        if run is not None:
            run.discard_selection()  # one of before, that a search went on from
        line = {
            "lr": lr,
            **measured(path),
            **health.as_dict(),
            **complexity.line(path),
            "architecture": dict(architecture.edges),
        }
        said = tuple(warning for warning in warnings if warning is not None)
        return EpochReport(line, said, architecture, supernet.named_alphas(), is_last)

    def has_larger(foremost: Architecture) -> bool:
        assert average is not None  # without one a search cannot say that it does not know
        scores = average.scores()
        proposed = _ranked(average, scores, complexity)
        found = searched(foremost, proposed, complexity, scores)
        return Larger(complexity, scores, found).is_any

    def measured(path: Path) -> Metrics:
        if not (isinstance(task, Supervised) and task.metrics):
            return {}
        here = with_batch_statistics(supernet)
        here.single(path)
        running = learner.fabric.setup_module(here.network)
        batches = SamePass(arch_batches, config.seed, val_steps)
        found = learner.ranks.share(lambda: figures(running, batches, task, learner.fabric.device))
        return _prefixed("val_", {name: found[name] for name in task.metrics})

    if run is not None:
        keep_choices(run, supernet)
    lines = run_epochs(
        until,
        steps,
        step,
        end_epoch,
        checkpointer,
        meter,
        run,
        observe,
        can_be_stopped=isinstance(observe, Watchers),
        ranks=learner.ranks,
    )
    learner.ranks.alike(list(supernet.buffers()))
    scores = supernet.alphas if average is None else average.scores()
    proposed: Proposes = visits if average is None else _ranked(average, scores, complexity)
    metrics = lines if run is None else run.metrics()
    selector = Selector(
        supernet,
        initial_weights,
        task,
        fresh_task,
        weight_batches,
        arch_batches if selection_loader is None else EndlessPasses(selection_loader),
        epoch_steps,
        config,
        config.selection,
        run,
        observe,
        partial(complexity.settle, scores=scores),
        beside,
    )
    knows = metrics[-1].get("knows")
    decision = decide(
        mode, config, knows, strategy, proposed, complexity, scores, selector, is_iterative
    )
    for remark in complexity.conclude(decision.foremost, decision.result):
        observe(Warned(remark))
    found = Found(
        decision.result,
        supernet,
        initial_weights,
        metrics,
        None if run is None or run.is_copy else run.path,
        decision.selection,
        complexity.reached(decision.result),
        {name: score.detach().clone() for name, score in scores.items()},
        start if is_iterative else None,
        Recalibration(weight_batches, task, config),
        decision.decided_by,
    )
    if run is not None:
        run.save_tensors(ALPHAS, history.tensors())
        run.save_tensors("weights.safetensors", supernet.network.state_dict())
        found.architecture.save(run.architecture_path, decision.decided_by)
    return found


def _ranked(average: Average, scores: Mapping[str, Tensor], complexity: Complexity) -> ByScores:
    """Return what an average ranks: at a given cost, by what candidates gain together."""
    fit = average.fit() if isinstance(average, MeanGain) and complexity.bounds else None
    return ByScores(complexity, scores if fit is None else fit.scores(), fit)


def _prefixed(prefix: str, metrics: Metrics) -> Metrics:
    return {prefix + name: value for name, value in metrics.items()}
