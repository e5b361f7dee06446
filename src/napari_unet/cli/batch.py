"""Segment many images: one that cannot be is reported, the rest go on, and a table tells about all."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from napari_unet.cli.inputs import Input
from napari_unet.cli.running import Job, Outcome

LOG_WIDTH = 160
"""Columns of the table where it goes to a file rather than a terminal."""


@dataclass(frozen=True)
class Row:
    """What the table says about an image; `output` is empty where there is none."""

    image: str
    output: str
    outcome: Outcome

    @property
    def cells(self) -> tuple[str, ...]:
        """Image, result, voxels, seconds, note."""
        done = self.outcome
        counts = (f"{done.n_voxels:,}", f"{done.seconds:.1f}") if done.how else ("", "")
        return (self.image, self.output or "failed", *counts, "; ".join(done.notes))


def run_batch(job: Job, inputs: Sequence[Input], outputs: Sequence[Path | None]) -> None:
    """Segment all images and print a table; exit code 1 if one could not be segmented."""
    from napari_unet.core.io.files import listed

    rows = [attempt(job, source, output) for source, output in zip(inputs, outputs, strict=True)]
    print_table(rows)
    failed = [row.image for row in rows if not row.output]
    counts = f"{len(rows) - len(failed)} of {len(rows)} images segmented"
    typer.echo(f"{counts}; failed: {listed(failed)}" if failed else counts)
    if failed:
        raise typer.Exit(1)


def attempt(job: Job, source: Input, output: Path | None) -> Row:
    """Segment one of many images; an image that cannot be is reported."""
    image = source.paths[0].name + (f" ({source.label})" if source.label else "")
    try:
        request = job.request(source, output)
        warning = job.warning(request)
        outcome = job.run(request)
        outcome = replace(outcome, notes=(*outcome.notes, *filter(None, [warning])))
    except typer.Exit:  # Ctrl-C; it is a RuntimeError too
        raise
    except (OSError, ValueError, MemoryError, RuntimeError) as error:  # the last one of CUDA, or of Dask
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        typer.secho(f"Error: {source}: {reason}", fg=typer.colors.RED, err=True)
        return Row(image, "", Outcome(notes=(reason,)))
    typer.echo(f"{request.path}: {outcome}")
    return Row(image, request.path.name, outcome)


def print_table(rows: Sequence[Row]) -> None:
    """Print a row for each image."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=LOG_WIDTH)
    table = Table("image", "result")
    table.add_column("voxels", justify="right")
    table.add_column("seconds", justify="right")
    table.add_column("note")
    for row in rows:
        table.add_row(*map(Text, row.cells))  # names are no markup
    console.print(table)
