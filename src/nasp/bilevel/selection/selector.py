"""The selection from first to last: re-ranking, stand-alone training, a winner."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from nasp.bilevel.selection.by_scores import ByScores
from nasp.bilevel.selection.config import SelectConfig, Selecting
from nasp.bilevel.selection.halving import Rung, halving_schedule
from nasp.bilevel.selection.neighbours import neighbours
from nasp.bilevel.selection.rerank import rerank
from nasp.bilevel.selection.table import Contender, Selection
from nasp.bilevel.selection.trainings import Beside, Trainings
from nasp.bilevel.selection.visits import Visits
from nasp.errors import UsageError
from nasp.runs.files import write_text_atomic
from nasp.runs.folder import RunFolder
from nasp.runs.random_state import seed_all
from nasp.strategies.strategy import Proposes
from nasp.supernet.architecture import Architecture
from nasp.supernet.supernet import Supernet
from nasp.training.events import Observer, nobody
from nasp.training.passes import EndlessPasses, SamePass, pass_length
from nasp.training.recipe import Recipe
from nasp.training.task import Task


@dataclass(frozen=True)
class Selector:
    """Chooses among paths of a supernet.

    Attributes:
        supernet: left as it is.
        initial_weights: the network's parameters and buffers before the search.
        task: the task, its own weights as the search left them.
        fresh_task: the same with the weights that it had before.
        train_batches: those that networks are trained on, from where these began.
        val_batches: those that they are measured on.
        epoch_steps: of their training.
        recipe: optimiser, device, precision, seed: the search's.
        config: settings.
        run: keeps ``selection.json`` and, in a folder ``selection``, the loops' checkpoints; a
            selection that was stopped goes on from there. None keeps nothing.
        observe: is told what happens.
        admit: from a proposed architecture to one that may be the result, such as one that keeps
            the bounds; default: to itself.
        beside: runs a rung's trainings beside one another, and needs a run; default here, in turn.
    """

    supernet: Supernet
    initial_weights: Mapping[str, Tensor]
    task: Task
    fresh_task: Task
    train_batches: EndlessPasses
    val_batches: EndlessPasses
    epoch_steps: int
    recipe: Recipe
    config: SelectConfig
    run: RunFolder | None = None
    observe: Observer = nobody
    admit: Callable[[Architecture], Architecture] = lambda architecture: architecture
    beside: Beside | None = None

    def select(
        self, mode: Selecting, proposed: Proposes, is_trained: bool = True, stands: bool = False
    ) -> Selection:
        """Return all architectures that were looked at, ranked.

        Args:
            mode: ``"rerank"`` or ``"train"``.
            proposed: says which architectures are candidates: a search's `Visits` or `ByScores`,
                or a strategy.
            is_trained: whether the supernet's weights can tell them apart; otherwise the first
                that are proposed go to the training as they are, as the likeliest always do.
            stands: whether the first of them is only beaten by more than chance.

        Raises:
            NaspError: every network of a rung diverged.
            Interrupted: Ctrl-C; with a run the same call goes on.
        """
        finalists = self._schedule()[0].networks if mode == "train" else 1
        by_weights = is_trained and (mode == "rerank" or not isinstance(proposed, ByScores))
        count = max(self.config.candidates, finalists) if by_weights else finalists
        admitted = dict.fromkeys(map(self.admit, proposed.propose(count)))
        ranked = [_contender(architecture, proposed) for architecture in admitted]
        ranked[0] = replace(ranked[0], stands=stands)
        if by_weights:
            ranked = self._rerank(ranked)
        if isinstance(proposed, Visits) and len(ranked) < finalists:
            # Few were visited: the rest of the budget goes to what is nearest to the last.
            near = map(self.admit, neighbours(self.supernet, next(iter(admitted))))
            others = [
                architecture for architecture in dict.fromkeys(near) if architecture not in admitted
            ]
            ranked += [_contender(a, proposed) for a in others[: finalists - len(ranked)]]
        schedule = self._schedule(len(ranked)) if mode == "train" else []
        return self._selected(mode, ranked, schedule)

    def select_of(self, architectures: Sequence[Architecture]) -> Selection:
        """Return these, ranked by training: every one takes part, whatever the epochs allow else.

        Where they do not suffice for so many first rungs, these are shorter. A single architecture
        is not trained.

        Args:
            architectures: distinct; of equals the earlier wins.

        Raises:
            UsageError: there are fewer epochs than architectures.
            NaspError: every network of a rung diverged.
            Interrupted: Ctrl-C; with a run the same call goes on.
        """
        config, count = self.config, len(architectures)
        if config.epochs < count:
            raise UsageError(
                f"{config.epochs} epochs of the selection do not train {count} networks: give at"
                f" least {count}."
            )
        first_rung = min(config.first_rung, config.epochs // count)
        schedule = halving_schedule(config.epochs, first_rung, config.eta, count, count)
        return self._selected("train", [Contender(each) for each in architectures], schedule)

    def _selected(
        self, mode: Selecting, ranked: list[Contender], schedule: Sequence[Rung]
    ) -> Selection:
        weights = None
        if schedule:
            finalists = schedule[0].networks
            trained, weights = self._train(ranked[:finalists], schedule)
            ranked = trained + ranked[finalists:]
        selection = Selection(mode, tuple(schedule), tuple(ranked), weights)
        if self.run is not None:
            text = json.dumps(selection.as_dict(), indent=2) + "\n"
            write_text_atomic(self.run.selection_path, text)
        return selection

    def _schedule(self, contenders: int | None = None) -> list[Rung]:
        config = self.config
        return halving_schedule(config.epochs, config.first_rung, config.eta, contenders)

    def _rerank(self, contenders: Sequence[Contender]) -> list[Contender]:
        seed_all(self.recipe.seed)
        rows = rerank(
            self.supernet,
            [contender.architecture for contender in contenders],
            self._val_batches(self.config.rerank_batches),
            self.task,
            self.recipe,
            self._part("rerank"),
            self.observe,
        )
        pairs = zip(contenders, rows, strict=True)
        return _best_first([replace(contender, shared=metrics) for contender, metrics in pairs])

    def _train(
        self, finalists: Sequence[Contender], schedule: Sequence[Rung]
    ) -> tuple[list[Contender], dict[str, Tensor]]:
        is_fresh = self.config.weights == "fresh"
        trainings = Trainings(
            self.supernet,
            self.initial_weights if is_fresh else None,
            self.fresh_task if is_fresh else self.task,
            self.train_batches,
            self._val_batches(),
            self.epoch_steps,
            self.config.recipe(self.recipe),
            self._part("train"),
            self.observe,
            self.beside,
        )
        architectures = [each.architecture for each in finalists]
        rows, weights = trainings.contest(architectures, schedule, finalists[0].stands)
        pairs = zip(finalists, rows, strict=True)
        ranked = [replace(contender, rungs=tuple(metrics)) for contender, metrics in pairs]
        return _best_first(ranked), weights

    def _val_batches(self, count: int | None = None) -> SamePass:
        if count is None:
            count = pass_length(self.val_batches.loader) or self.epoch_steps  # it may never end
        return SamePass(self.val_batches, self.recipe.seed, count)

    def _part(self, name: str) -> RunFolder | None:
        return None if self.run is None else self.run.part(f"selection/{name}")


def _contender(architecture: Architecture, proposed: Proposes) -> Contender:
    if not isinstance(proposed, Visits):
        return Contender(architecture)
    return Contender(architecture, proposed.count(architecture), proposed.epochs(architecture))


def _best_first(contenders: Sequence[Contender]) -> list[Contender]:
    return sorted(contenders, key=lambda contender: contender.rank, reverse=True)
