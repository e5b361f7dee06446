"""`napari-unet …`: a module a verb; torch is imported only inside commands, so that --help is quick."""

from collections.abc import Sequence
from typing import Annotated

import typer

from napari_unet import __version__
from napari_unet.cli.demo import demo
from napari_unet.cli.evaluate import evaluate
from napari_unet.cli.info import info
from napari_unet.cli.measure import measure
from napari_unet.cli.segment import segment
from napari_unet.cli.train import train
from napari_unet.cli.weights import weights

app = typer.Typer(
    name="napari-unet", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
)
for command in (train, segment, measure, weights, evaluate, info, demo):
    app.command()(command)


def show_version(wanted: bool) -> None:
    """Print the version and end."""
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Train a U-Net on a few annotated slices and segment whole stacks."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; bad input is one sentence and exit code 2, anything else that fails is a bug."""
    try:
        app(arguments)
    except (OSError, ValueError, MemoryError) as error:
        typer.secho(f"Error: {error}", fg=typer.colors.RED, err=True)
        raise SystemExit(2) from None
