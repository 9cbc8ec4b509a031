"""Which fields of which settings are options of which commands."""

from __future__ import annotations

from dataclasses import replace

from nasp.cli.fields import FLAGS, Section

DOMAINS = "nasp.domains:every_domain"
RECIPE = ("epochs", "lr", "weight_decay")

POOL = Section("pool", "nasp.runs.pool:PoolConfig")

DATA = Section("data", DOMAINS, "data", but=["may_shrink"], by_data=["batch_size"])
SIZE = Section(
    "size",
    "nasp.jobs.search_job:SearchJob",
    only=["channels", "cells"],
    by_data=["channels", "cells"],
)

SEARCH_CONFIG = Section(
    "search",
    "nasp.bilevel.settings:SearchConfig",
    but=["lr_min", "momentum", "clip", "epoch_steps"],
    by_data=[*RECIPE, "fallback", "least_steps"],
    defaults={
        "fallback": "train; of texts none",
        "least_steps": "4000; of digits and texts, and with --epochs or --minutes, 0",
    },
    choices={"strategy": "nasp.strategies:strategy_names"},
    flags={**FLAGS, "minutes": "minutes"},
)
SEARCH = (
    replace(DATA, defaults={"name": "digits; in a space for text pydoc"}),
    Section(
        "job",
        "nasp.jobs.search_job:SearchJob",
        only=["space"],
        defaults={
            "space": "darts; on digits nasbench201; on files from 128 pixels on mobile; on a text"
            " recurrent"
        },
        choices={"space": "nasp.spaces:space_names"},
    ),
    SIZE,
    Section("size", DOMAINS, "supernet", defaults={"partial_channels": "1; of pc-darts 4"}),
    SEARCH_CONFIG,
    Section(
        "settings",
        "nasp.strategies.nasp:NASPConfig",
        only=["lr", "uniform", "average"],
        by_data=["lr"],
        flags={"lr": "alpha-lr"},
    ),
    Section(
        "selection",
        "nasp.bilevel.selection:SelectConfig",
        only=["epochs"],
        by_data=["epochs"],
        flags={"epochs": "select-epochs"},
    ),
)
SHARED = ("devices", "nodes", "sync_bn")
"""What several searches at once have no place for."""
REPEAT = (
    *(
        replace(each, but=[*each.but, *SHARED]) if each is SEARCH_CONFIG else each
        for each in SEARCH[:-1]
    ),
    Section(
        "repeat",
        "nasp.jobs.repeat:RepeatJob",
        only=["seeds", "random", "budget"],
        flags={"budget": "select-epochs"},
        defaults={"random": "one a seed", "budget": "as many as the searches had"},
    ),
    POOL,
)
SWEEP = (
    *(
        replace(each, but=[*each.but, *SHARED, "complexity", "at_most", "target"])
        if each is SEARCH_CONFIG
        else each
        for each in SEARCH
    ),
    Section(
        "sweep",
        "nasp.bench.contests.sweep.job:SweepJob",
        only=["error", "train_epochs", "table", "random"],
        defaults={"random": "50; to train 6; of a table 500"},
    ),
    POOL,
)

TRAIN = (
    replace(
        DATA,
        by_data=["batch_size", "cutout", "varied"],
        defaults={"name": "what was searched on", "workers": "the search's, else {}"},
    ),
    SIZE,
    Section(
        "train",
        DOMAINS,
        "train",
        but=["lr_min", "momentum", "clip"],
        by_data=[*RECIPE, "auxiliary", "drop_path"],
        defaults={"seed": "the search's, else {}"},
    ),
)

NETWORK = Section(
    "size",
    DOMAINS,
    "network",
    but=["stem", "partial_channels", "drop_path", "as_derived", "dropouts"],
    defaults=dict.fromkeys(
        ("channels", "cells", "image_size", "in_channels", "classes", "vocabulary"),
        "the run's, else {}",
    ),
)

STEPS = (
    Section("settings", "nasp.bench.steps.settings:BenchSettings", but=["path_candidates"]),
    Section("repetition", "nasp.bench.steps.rounds:Repetition"),
)

EPOCH = Section("settings", "nasp.bench.steps.epoch:EpochSettings")

IMAGES = Section(
    "data",
    "nasp.domains.images.data:ImageConfig",
    but=["may_shrink"],
    by_data=["batch_size"],
)
TABLE = (
    replace(IMAGES, by_data=["batch_size", "subset"], defaults={"name": "digits"}),
    Section(
        "table",
        "nasp.bench.tables.making:TableSettings",
        but=["data"],
        by_data=["channels", "epochs"],
    ),
    POOL,
)

BUDGET = Section("budget", "nasp.bench.contests.settings:Budget")
FIDELITY = (
    Section("contestants", "nasp.cli.contest:Contestants"),
    replace(IMAGES, defaults={"name": "the table's"}),
    Section(
        "contest",
        "nasp.bench.contests.settings:ContestSettings",
        only=["channels", "cells", "threads", "device"],
        defaults={"channels": "the table's", "cells": "the table's"},
    ),
    replace(BUDGET, only=["epochs"]),
    POOL,
)
QUALITY = (*FIDELITY[:-2], BUDGET, POOL)
