"""``nasp export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nasp.cli import options as o
from nasp.cli.fields import Given, command
from nasp.cli.sections import NETWORK
from nasp.errors import UsageError

EXAMPLES = """
  nasp export runs/first                          RUN/network.py and its weights
  nasp export runs/first --to onnx --out digits.onnx
  nasp export runs/first --to onnx --dynamic 2,3 --opset 18 --input-names image
  nasp export runs/first --to torch --raw        takes the bytes of images as they are
  nasp export runs/first/train --to torch --weights last
  nasp export architecture.json --channels 36 --cells 20 --out net.py
"""


@command(NETWORK, examples=EXAMPLES)
def export(
    given: Given,
    target: Annotated[
        str,
        typer.Argument(
            metavar="RUN|ARCH",
            help="A run folder, an architecture.json, or a genotype's text.",
        ),
    ],
    to: Annotated[
        str | None,
        typer.Option(help="python, onnx or torch; default by the ending of --out, else python."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="The file; default network.py, .onnx or .pt2 in the run folder."),
    ] = None,
    weights: o.Weights = None,
    tokens: Annotated[
        int, typer.Option(min=1, help="Tokens a call of a language model; fixed in onnx and torch.")
    ] = 35,
    batch: Annotated[
        int | None, typer.Option(min=1, help="Fix the batch in onnx and torch; default any batch.")
    ] = None,
    dynamic: Annotated[
        str | None,
        typer.Option(
            help="Dimensions whose size is free in onnx and torch, such as 2,3: an image's height"
            " and width; default only the batch's."
        ),
    ] = None,
    opset: Annotated[int | None, typer.Option(min=1, help="Of ONNX; default torch's.")] = None,
    input_names: Annotated[
        str | None, typer.Option(help="Of an ONNX model, comma-separated; default forward's.")
    ] = None,
    output_names: Annotated[
        str | None, typer.Option(help="Of an ONNX model, comma-separated; default torch's.")
    ] = None,
    raw: Annotated[
        bool,
        typer.Option(
            "--raw", help="In torch, take the raw bytes of files, uint8 [B,H,W,C], of any size."
        ),
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of fresh weights.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Overwrite what is there.")] = False,
    as_json: o.AsJson = False,
) -> None:
    """Write a network to a file that needs nothing of nasp, and check what was written.

    Sizes are for fresh weights: a run's own weights have the run's.
    """
    from nasp.exporters import export as write
    from nasp.exporters import format_of, refuse_existing, written_files
    from nasp.jobs.rebuild import rebuild
    from nasp.jobs.targets import target_of
    from nasp.supernet.architecture import Architecture
    from nasp.training.progress import Watch

    found = target_of(target)
    chosen = format_of(out, to)
    folder = Path() if isinstance(found, Architecture) else found.path
    file = out or written_files(folder / "network", chosen)[0]
    refuse_existing(written_files(file, chosen), force)
    with Watch(quiet=as_json) as watch:
        rebuilt = rebuild(found, weights, given["size"], seed, tokens, watch)
        watch.say(f"Writing {file} and checking it")
        exported = write(
            rebuilt.network,
            file,
            example=rebuilt.example,
            to=chosen,
            about=rebuilt.about,
            service=rebuilt.service,
            raw=raw,
            batch=batch,
            dynamic=_dimensions(dynamic),
            opset=opset,
            input_names=_listed(input_names),
            output_names=_listed(output_names),
            force=force,
        )
    files = [str(path) for path in exported.files]
    is_trained = rebuilt.weights in ("best", "last")
    summary = {
        "to": exported.to,
        "files": files,
        "weights": rebuilt.weights,
        "run": None if rebuilt.run is None else str(rebuilt.run),
        "trained": is_trained,
        "max_difference": exported.difference,
        "next": f"python {files[0]}" if exported.to == "python" else None,
    }
    if as_json:
        o.print_json(summary)
        return
    typer.echo(f"Wrote {' and '.join(files)}")
    batches = "batches of 1 and 5" if batch is None else f"a batch of {batch}"
    typer.echo(_CHECKED[exported.to].format(batches, exported.difference))
    typer.echo(_WEIGHTS[rebuilt.weights].format(rebuilt.run))
    if exported.to == "python":
        typer.echo(f"Next: python {files[0]}")
    if not is_trained:
        typer.echo(f"To train it first: nasp train {target if len(target) < 60 else 'ARCH'}")


def _listed(text: str | None) -> list[str]:
    return [] if text is None else [item.strip() for item in text.split(",")]


def _dimensions(text: str | None) -> list[int]:
    items = _listed(text)
    if not all(item.isdigit() for item in items):
        raise UsageError(f"--dynamic {text} names no dimensions: give numbers, such as 2,3.")
    return [int(item) for item in items]


_CHECKED = {
    "python": "Its outputs equal the network's bit by bit, in evaluation and in training.",
    "onnx": "Largest difference of its outputs in onnxruntime, {}: {:.1e}",
    "torch": "Largest difference of its outputs when loaded, {}: {:.1e}",
}
_WEIGHTS = {
    "best": "Weights: those of the best epoch of the training in {}.",
    "last": "Weights: those of the last epoch of the training in {}.",
    "inherit": "Weights: the supernet's of the search in {}, not trained on their own.",
    "fresh": "Weights: newly drawn, not trained.",
}
