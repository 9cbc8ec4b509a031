"""The options that every command that searches has, said once."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from nasp.cli import options as o


def asked_search(
    data: Annotated[
        str | None,
        typer.Option(
            help="digits, cifar10, cifar100, fashion-mnist, folder:DIR; of text pydoc, ptb,"
            " wikitext-2, text:DIR; default digits, with --space recurrent pydoc."
        ),
    ] = None,
    space: Annotated[
        str | None,
        typer.Option(
            help="darts, nasp12, nasbench201, nasbench201-3, recurrent; default darts, on digits"
            " nasbench201, on text recurrent."
        ),
    ] = None,
    strategy: Annotated[
        str,
        typer.Option(
            help="nasp; its rivals darts, darts-second-order, gdas, snas, pc-darts, drnas; its"
            " ablations pa-standard, pa-lazy, nasp-without-c1, nasp-without-c2; the controls"
            " random-sharing, random, synflow, params."
        ),
    ] = "nasp",
    epochs: o.Epochs = None,
    batch_size: o.BatchSize = None,
    channels: o.Channels = None,
    cells: o.Cells = None,
    partial_channels: Annotated[
        int | None,
        typer.Option(min=1, help="K: candidates see 1/K of the channels; pc-darts: 4, else 1."),
    ] = None,
    complexity: Annotated[
        float | None, typer.Option(min=0, help="η: larger finds smaller networks; default 0.")
    ] = None,
    cost: Annotated[
        str | None,
        typer.Option(
            help="What R(A) counts: parameters, flops, macs, latency or memory; default parameters."
        ),
    ] = None,
    normalise: Annotated[
        str | None, typer.Option(help="Costs by edge, as in the paper, or over the network.")
    ] = None,
    at_most: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=AMOUNT",
            help="The found network keeps this: params=3.3M, macs=600M, latency=5ms,"
            " memory=20MB; repeatable.",
        ),
    ] = None,
    bound_at: Annotated[
        str | None,
        typer.Option(
            metavar="channels=N,cells=N",
            help="The size of the network that keeps the bounds; default as nasp train builds it.",
        ),
    ] = None,
    alpha_lr: Annotated[
        float | None, typer.Option(help="Step size of the architecture parameters.")
    ] = None,
    exploration: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Chance that a weight step trains a path one change away."),
    ] = None,
    warmup_epochs: Annotated[
        int | None,
        typer.Option(min=0, help="Epochs on random paths before the alphas move."),
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", help="NAME=VALUE: any other setting of the strategy; repeatable."),
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="paper: the settings of the NASP authors' code.")
    ] = None,
    select: Annotated[
        str | None,
        typer.Option(
            help="How the result is chosen: none (the last architecture), rerank (by the shared"
            " weights), train (after short trainings too); default none."
        ),
    ] = None,
    select_epochs: Annotated[
        int | None,
        typer.Option(min=2, help="Epochs of these trainings together; default 12, on digits 48."),
    ] = None,
    select_setting: Annotated[
        list[str] | None,
        typer.Option(
            "--set-select", help="NAME=VALUE: any other setting of the selection; repeatable."
        ),
    ] = None,
    subset: o.Subset = None,
    cutout: o.Cutout = None,
    data_dir: o.DataDir = None,
    image_size: o.ImageSize = None,
    workers: o.Workers = 2,
    tokens: o.Tokens = None,
    bptt: o.Bptt = None,
    varied: o.Varied = None,
    dropout: o.DropoutRates = None,
    lr: o.Lr = None,
    weight_decay: o.WeightDecay = None,
    accumulate: o.Accumulate = 1,
    seed: o.Seed = 0,
    device: o.Device = "auto",
    deterministic: o.Deterministic = True,
    precision: o.Precision = "32-true",
    minutes: o.Minutes = 5.0,
) -> dict[str, Any]:
    """Return what these options ask for: `job`."""
    from nasp.jobs.options import named_values, preset_settings, search_job

    job = search_job(
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
        space=space,
        size=o.given(
            channels=channels,
            cells=cells,
            partial_channels=partial_channels,
            dropouts=o.rates(dropout),
        ),
        search=o.given(
            strategy=strategy,
            select=select,
            epochs=epochs,
            complexity=complexity,
            cost=cost,
            normalise=normalise,
            at_most=at_most,
            lr=lr,
            weight_decay=weight_decay,
            seed=seed,
            accumulate=accumulate,
            device=device,
            deterministic=deterministic,
            precision=precision,
            checkpoint_minutes=minutes,
        ),
        settings={
            **(preset_settings(preset, strategy) if preset is not None else {}),
            **o.given(lr=alpha_lr, exploration=exploration, warmup_epochs=warmup_epochs),
        },
        pairs=setting or [],
        selection={
            **named_values("--set-select", select_setting or []),
            **o.given(epochs=select_epochs),
        },
        bound_at=bound_at,
    )
    return {"job": job}
