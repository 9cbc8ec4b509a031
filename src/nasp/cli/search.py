"""``nasp search``."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from nasp.cli import options as o
from nasp.cli.fields import Given, command
from nasp.cli.sections import POOL, SEARCH

if TYPE_CHECKING:
    from nasp.jobs.search_job import SearchJob
    from nasp.runs.pool import Pool

EXAMPLES = """
  nasp search                                     on embedded images, then trains the result
  nasp search --data cifar10 --space darts        the paper's search
  nasp search --data cifar10 --at-most params=3.3M --at-most macs=600M
  nasp search --target params=100K --within 3%    the best that costs just so much
  nasp search --data folder:photos --subset 2000 --epochs 20 --complexity 0.1
  nasp search --data cifar10 --devices 4 --sync-bn      each batch shared by 4 GPUs
  nasp search --space recurrent                   a language model's cell, on embedded text
  nasp search --data text:wikitext-2 --channels 300 --batch-size 256
  nasp search --select train --select-epochs 24   the best of all it came by, after short trainings
  nasp search --select train --jobs 4 --cpus-per-job 1    four of these trainings at once
  nasp search --fallback none         no trainings, even where it does not know what size is worth
  nasp search --data fashion-mnist --space nasbench201 --uniform 0.5 --seed 1 --out runs/f1
"""


BoundAt = Annotated[
    str | None,
    typer.Option(
        metavar="channels=N,cells=N",
        help="The size of the network that bounds and targets are about; default as nasp train"
        " builds it.",
    ),
]
Preset = Annotated[
    str | None,
    typer.Option(
        help="paper: the settings of the NASP authors' code; mobile-20m, -60m, -125m or -200m:"
        " networks of mobile of at most so many multiply-adds; default none."
    ),
]


@command(*SEARCH, POOL, examples=EXAMPLES)
def search(
    given: Given,
    bound_at: BoundAt = None,
    preset: Preset = None,
    out: o.Out = None,
    then_train: Annotated[
        bool | None,
        typer.Option(
            "--train/--no-train",
            help="Train what was found afterwards; default: on digits and pydoc only.",
        ),
    ] = None,
    log: o.Log = None,
    as_json: o.AsJson = False,
) -> None:
    """Search for an architecture; what is found lies in the run folder."""
    from nasp.cli.search_report import tell_search
    from nasp.cli.training_report import show_training, training_summary
    from nasp.jobs.job import new_run
    from nasp.jobs.options import train_job
    from nasp.jobs.search import run_search_job
    from nasp.jobs.train import run_train_job
    from nasp.report.tracking import told
    from nasp.training.progress import Watch
    from nasp.training.together import together

    job = asked_search(given, preset, bound_at)
    pool = selection_pool(given, job)
    folder = out or o.new_folder(job.data.name.replace(":", "-").replace("/", "-"), job.space)
    with together(job.search, partial(new_run, folder, job)) as run:
        assert run is not None
        log = None if run.is_copy else log
        with Watch(quiet=as_json) as watch:
            watch.say(f"Searching {job.space} on {job.data.name}; run folder {folder}")
            with told(watch, log, run) as observe:
                found = run_search_job(job, run, observe, pool)
        summary = tell_search(run, found.architecture, as_json)
        if then_train if then_train is not None else job.data.name == job.domain.embedded:
            beside = ["random:1", next(iter(job.domain.by_hand))]
            shared = job.search.model_dump(include={"devices", "nodes", "sync_bn"})
            training = train_job(run, {}, {}, shared, beside=beside)
            with Watch(quiet=as_json) as watch, new_run(run.path / "train", training) as inner:
                inner.is_copy = run.is_copy
                watch.say("\nTraining it, and a random cell and a hand-made network beside it")
                with told(watch, log, inner) as observe:
                    results = run_train_job(training, inner, observe)
            summary["training"] = training_summary(results)
            if not as_json:
                show_training(results, run.path / "train")
        if as_json:
            o.print_json(summary)


def selection_pool(given: Given, job: SearchJob) -> Pool:
    """Return the pool in which a search's selection trains networks.

    Raises:
        UsageError: one was asked for, and there is nothing to run in it.
    """
    from nasp.bilevel.settings import may_train
    from nasp.errors import UsageError

    if asked := next(iter(given["pool"]), "").replace("_", "-"):
        if not may_train(job.search):
            raise UsageError(
                f"--{asked} is for the trainings of a selection, and this search has none: leave it"
                " out, or give --select train."
            )
        if job.search.devices * job.search.nodes > 1:
            raise UsageError(
                f"--{asked} gives each training a process of its own, and --devices one training"
                " several: give one of them."
            )
    pool: Pool = o.pool(given)
    return pool


def asked_search(given: Given, preset: str | None, bound_at: str | None = None) -> SearchJob:
    """Return the search that these options ask for."""
    from nasp.jobs.options import named_values, search_job
    from nasp.jobs.presets import SIZED, of_size, preset_settings

    search, size, space = dict(given["search"]), dict(given["size"]), given["job"].get("space")
    if preset in SIZED:
        sized = of_size(preset, space)
        space, size = sized.space, {**sized.size, **size}
        if not search.keys() & {"at_most", "target"}:
            search["at_most"] = [sized.at_most]
        bound_at = bound_at or ",".join(f"{name}={size[name]}" for name in sized.size)
        preset = None
    pairs, selection = search.pop("settings", ()), search.pop("selection", ())
    if "dropouts" in size:
        size["dropouts"] = named_values("--dropout", size["dropouts"])
    strategy = search.get("strategy", "nasp")
    return search_job(
        data=given["data"],
        space=space,
        size=size,
        search=search,
        settings={
            **(preset_settings(preset, strategy) if preset is not None else {}),
            **given["settings"],
        },
        pairs=pairs,
        selection={**named_values("--set-select", selection), **given.get("selection", {})},
        bound_at=bound_at,
    )
