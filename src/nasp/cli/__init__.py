"""The command line: parse, call, print."""

from __future__ import annotations

import logging
import sys
import warnings
from typing import Annotated, Any

import typer

from nasp.cli.bench import cost, scale
from nasp.cli.bench_epoch import epoch
from nasp.cli.bench_fidelity import fidelity
from nasp.cli.bench_quality import quality
from nasp.cli.bench_table import table
from nasp.cli.compare import compare
from nasp.cli.encoding import write_any_text
from nasp.cli.evaluate import evaluate
from nasp.cli.export import export
from nasp.cli.fields import ASKED, columns, help_style
from nasp.cli.predict import predict
from nasp.cli.repeat import repeat
from nasp.cli.report import report
from nasp.cli.resume import resume
from nasp.cli.search import search
from nasp.cli.show import show
from nasp.cli.sweep import sweep
from nasp.cli.train import train

app = typer.Typer(
    name="nasp",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=help_style(),
    context_settings={**ASKED, "terminal_width": columns()},
    help="Search for a network's architecture, discrete at every step (NASP, AAAI 2020).",
    epilog="First: nasp search searches on embedded images, in about a minute.",
)
for each in (
    *(search, repeat, resume, train, evaluate, predict, show, compare, report, sweep, export),
):
    each.add_to(app)
bench = typer.Typer(
    name="bench",
    no_args_is_help=True,
    rich_markup_mode=help_style(),
    help="Measure what a search costs, beside its rivals, on this machine.",
)
for each in (cost, scale, epoch, quality, fidelity, table):
    each.add_to(bench)
app.add_typer(bench)


def _print_version(wanted: bool) -> None:
    if wanted:
        from nasp import __version__

        typer.echo(f"nasp {__version__}")
        raise typer.Exit


@app.callback()
def options_before_a_command(
    version: Annotated[
        bool,
        typer.Option(
            "--version", "-V", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Take the options that stand before a command."""
    del version


def main() -> None:
    """Run the command line; a user's mistake ends in one sentence, never in a traceback."""
    from nasp.errors import CaptureWarning, NaspError, UsageError

    write_any_text()
    logging.getLogger("lightning_fabric").setLevel(logging.ERROR)
    logging.getLogger("lightning.fabric").setLevel(logging.ERROR)
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", CaptureWarning)
        warnings.showwarning = _warn
    try:
        _run()
    except UsageError as error:
        _fail(str(error), 2)
    except NaspError as error:
        _fail(str(error), 1)
    except KeyboardInterrupt:
        _fail("Stopped at once; what the last checkpoint holds is safe: nasp resume goes on.", 1)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        _fail(f"The system refused: {error.strerror or error}{where}.", 1)
    except RuntimeError as error:
        if "out of memory" not in str(error).lower() and "allocate memory" not in str(error):
            raise
        _fail("There is too little memory: give a smaller --batch-size, or --accumulate 2.", 1)


def _run() -> None:
    try:
        app()
    except SystemExit as error:
        if error.code == 130:  # how typer ends on Ctrl-C, without a word
            raise KeyboardInterrupt from error
        raise


def _warn(message: Warning | str, *_: Any, **__: Any) -> None:
    typer.echo(f"warning: {message}", err=True)


def _fail(message: str, code: int) -> None:
    typer.echo(f"nasp: {message}", err=True)
    sys.exit(code)
