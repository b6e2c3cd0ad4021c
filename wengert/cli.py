"""The command line: `wengert tour`."""

from __future__ import annotations

import io
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"wengert {version('wengert')}")
        raise typer.Exit


@app.callback()
def wengert(
    _: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Differentiate NumPy programs, and see how it is done."""


@app.command()
def tour(
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="A folder with MNIST's IDX files; else scikit-learn's digits.")
    ] = None,
    out: Annotated[Path, typer.Option(metavar="FILE", help="Where to write the report.")] = Path("wengert-tour.html"),
    epochs: Annotated[int, typer.Option(min=1, metavar="N", help="Passes through the training digits.")] = 30,
    seed: Annotated[
        int, typer.Option(min=0, metavar="N", help="Of the split, the first weights and the mini-batches.")
    ] = 0,
) -> None:
    """See five ways to a derivative, a Wengert list, and a network that learns to read; in under a minute."""
    try:
        from rich.console import Console  # with what the tour imports, a second: not for --help to pay

        from wengert.tour.data import TourError
        from wengert.tour.run import run

        try:
            run(data, out, epochs, seed, Console(highlight=False))
        except TourError as error:
            typer.echo(f"Error: {error}", err=True)
            raise typer.Exit(2) from None
    except KeyboardInterrupt:
        typer.echo("\nInterrupted.", err=True)
        raise typer.Exit(130) from None  # 128 + SIGINT, as shells count


def main() -> None:
    """The entry point of the console script."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without ² or ∂ shows ? instead of ending the tour
    app()
