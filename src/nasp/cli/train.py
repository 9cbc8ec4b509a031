"""``nasp train``."""

from __future__ import annotations

from typing import Annotated

import typer

from nasp.cli import options as o

EXAMPLES = """
Examples:

  nasp train runs/first                           what a search found, on the same data

  nasp train runs/first --beside random:3 --beside resnet --epochs 30 --channels 16 --cells 8

  nasp train architecture.json --data cifar10     by the paper's recipe, 600 epochs

  nasp train runs/cell --beside random:2 --beside lstm --budget-minutes 30 --clock cpu

  nasp train '|nor_conv_3x3~0|+|none~0|none~1|+|none~0|none~1|skip_connect~2|' --data digits
"""


def train(
    target: Annotated[
        str,
        typer.Argument(
            metavar="RUN|ARCH",
            help="A search's run folder, an architecture.json, or a genotype's text.",
        ),
    ],
    data: Annotated[
        str | None, typer.Option(help="What to train on; default what was searched on.")
    ] = None,
    epochs: o.Epochs = None,
    budget_minutes: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Begin no epoch once each network has trained so long; --epochs still holds.",
        ),
    ] = None,
    clock: Annotated[
        str | None,
        typer.Option(help="What counts that time: wall (the default), or cpu, the processor's."),
    ] = None,
    batch_size: o.BatchSize = None,
    channels: o.Channels = None,
    cells: o.Cells = None,
    auxiliary: Annotated[
        float | None, typer.Option(min=0, help="Weight of the auxiliary head; 0 for none.")
    ] = None,
    drop_path: Annotated[
        float | None, typer.Option(min=0, max=0.99, help="Drop-path probability at the end.")
    ] = None,
    cutout: o.Cutout = None,
    label_smoothing: Annotated[
        float | None, typer.Option(min=0, max=0.99, help="Of the cross entropy.")
    ] = None,
    beside: Annotated[
        list[str] | None,
        typer.Option(
            help="Train beside it, alike: random:N (N random cells), resnet or, on text, lstm."
        ),
    ] = None,
    subset: o.Subset = None,
    data_dir: o.DataDir = None,
    image_size: o.ImageSize = None,
    workers: Annotated[
        int | None, typer.Option(min=0, help="Processes that read images from disk.")
    ] = None,
    tokens: o.Tokens = None,
    bptt: o.Bptt = None,
    varied: o.Varied = None,
    dropout: o.DropoutRates = None,
    activation: Annotated[
        float | None,
        typer.Option(min=0, rich_help_panel=o.TEXT, help="Weight of activations squared (AR)."),
    ] = None,
    slowness: Annotated[
        float | None,
        typer.Option(min=0, rich_help_panel=o.TEXT, help="Weight of their change squared (TAR)."),
    ] = None,
    patience: Annotated[
        int | None,
        typer.Option(
            min=1, rich_help_panel=o.TEXT, help="Epochs without progress before weights average."
        ),
    ] = None,
    lr: o.Lr = None,
    weight_decay: o.WeightDecay = None,
    accumulate: o.Accumulate = 1,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Fixes the run; default that of the search.")
    ] = None,
    device: o.Device = "auto",
    deterministic: o.Deterministic = True,
    precision: o.Precision = "32-true",
    minutes: o.Minutes = 5.0,
    out: o.Out = None,
    as_json: o.AsJson = False,
) -> None:
    """Train a network from scratch; the defaults are the paper's recipe."""
    from nasp.cli.training_report import show_training, training_summary
    from nasp.cli.watch import Watch
    from nasp.jobs.job import new_run
    from nasp.jobs.options import train_job
    from nasp.jobs.targets import target_of
    from nasp.jobs.train import run_train_job
    from nasp.supernet.architecture import Architecture

    found = target_of(target)
    job = train_job(
        found,
        data=o.given(
            name=data,
            root=data_dir,
            subset=subset,
            image_size=image_size,
            workers=workers,
            batch_size=batch_size,
            cutout=cutout,
            tokens=tokens,
            bptt=bptt,
            varied=varied,
        ),
        size=o.given(channels=channels, cells=cells),
        training=o.given(
            epochs=epochs,
            minutes=budget_minutes,
            clock=clock,
            dropouts=o.rates(dropout),
            activation=activation,
            slowness=slowness,
            patience=patience,
            lr=lr,
            weight_decay=weight_decay,
            auxiliary=auxiliary,
            drop_path=drop_path,
            label_smoothing=label_smoothing,
            accumulate=accumulate,
            seed=seed,
            device=device,
            deterministic=deterministic,
            precision=precision,
            checkpoint_minutes=minutes,
        ),
        beside=beside or [],
    )
    in_run = o.new_folder("train") if isinstance(found, Architecture) else found.path / "train"
    folder = out or in_run
    with Watch(quiet=as_json) as watch, new_run(folder, job) as run:
        watch.say(f"Training on {job.data.name}; folder {folder}")
        results = run_train_job(job, run, watch)
    if as_json:
        o.print_json({"run": str(folder), "results": training_summary(results)})
    else:
        show_training(results, folder)


train.__doc__ = f"{train.__doc__}\n{EXAMPLES}"
