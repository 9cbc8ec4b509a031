"""``nasp train``."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from nasp.cli import options as o
from nasp.cli.fields import Given, command
from nasp.cli.sections import TRAIN

EXAMPLES = """
  nasp train runs/first                           what a search found, on the same data
  nasp train runs/first --beside random:3 --beside resnet --epochs 30 --channels 16 --cells 8
  nasp train architecture.json --data cifar10     by the paper's recipe, 600 epochs
  nasp train runs/cell --beside random:2 --beside lstm --budget-minutes 30 --clock cpu
  nasp train '|nor_conv_3x3~0|+|none~0|none~1|+|none~0|none~1|skip_connect~2|' --data digits
"""


@command(*TRAIN, examples=EXAMPLES)
def train(
    given: Given,
    target: Annotated[
        str,
        typer.Argument(
            metavar="RUN|ARCH",
            help="A search's run folder, an architecture.json, or a genotype's text.",
        ),
    ],
    beside: Annotated[
        list[str] | None,
        typer.Option(
            help="Train beside it, alike: random:N (N random cells), resnet, mobilenet or, on text,"
            " lstm; repeatable."
        ),
    ] = None,
    out: o.Out = None,
    log: o.Log = None,
    as_json: o.AsJson = False,
) -> None:
    """Train a network from scratch; the defaults are the paper's recipe."""
    from nasp.cli.training_report import tell_training
    from nasp.jobs.job import new_run
    from nasp.jobs.options import named_values, train_job
    from nasp.jobs.targets import target_of
    from nasp.jobs.train import run_train_job
    from nasp.report.tracking import told
    from nasp.supernet.architecture import Architecture
    from nasp.training.progress import Watch
    from nasp.training.together import together

    found = target_of(target)
    training = dict(given["train"])
    if "dropouts" in training:
        training["dropouts"] = named_values("--dropout", training["dropouts"])
    job = train_job(found, given["data"], given["size"], training, beside or [])
    in_run = o.new_folder("train") if isinstance(found, Architecture) else found.path / "train"
    folder = out or in_run
    with together(job.train, partial(new_run, folder, job)) as run:
        assert run is not None
        with Watch(quiet=as_json) as watch:
            watch.say(f"Training on {job.data.name}; folder {folder}")
            with told(watch, None if run.is_copy else log, run) as observe:
                results = run_train_job(job, run, observe)
        tell_training(results, folder, as_json)
