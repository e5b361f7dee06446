"""`napari-unet measure`: objects to a table."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_unet.cli.arguments import floats, numbers_or_names
from napari_unet.cli.outputs import refuse_outputs

if TYPE_CHECKING:
    from napari_unet.core.io import Image
    from napari_unet.core.measuring import MeasureUpdate, Table

SCATTERED = 0.1
"""Share of a bounding box; few objects fill so little of theirs, but each grey value of an image does."""


def measure(
    objects: Annotated[Path, typer.Argument(help="Labels: one value per object, 0 is background.")],
    out: Annotated[Path, typer.Option(help="Table to write: .csv or .tsv.")],
    image: Annotated[Path | None, typer.Argument(help="Image, for the intensities of the objects.")] = None,
    planes: Annotated[
        bool, typer.Option("--planes", help="Measure each plane of a stack by itself, in 2D.")
    ] = False,
    axes: Annotated[str | None, typer.Option(help="Axes of the objects, e.g. TYX.")] = None,
    image_axes: Annotated[str | None, typer.Option(help="Axes of the image, e.g. TCYX.")] = None,
    spacing: Annotated[
        str, typer.Option(help="Size of a pixel along each axis, such as 50,4,4; else the file's.")
    ] = "",
    channels: Annotated[
        str, typer.Option(help="Channels to measure, by number or name, e.g. 2,DAPI; by default all.")
    ] = "",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing table.")] = False,
) -> None:
    """Measure objects: position, size, shape and intensity, a row for each object and time point."""
    from napari_unet.cli.running import INTERRUPTED
    from napari_unet.core.draining import drain
    from napari_unet.core.io import open_image, open_labels
    from napari_unet.core.measuring import check_table_path, measure_objects, write_table

    if image is None and (channels or image_axes):
        raise ValueError("--channels and --image-axes are about an image: give one after OBJECTS")
    refuse_outputs([objects] if image is None else [objects, image], [out], may_exist=overwrite)
    check_table_path(out, overwrite=overwrite)
    labels = open_labels(objects, axes=axes, spacing=floats("--spacing", spacing))
    intensities = None
    if image is not None:
        intensities = open_image(image, axes=image_axes, channels=numbers_or_names(channels))
    try:
        with _shown(labels.name) as show:
            table = drain(measure_objects(labels, intensities, planes=planes), show)
        if not len(table["label"]):
            raise ValueError(f"{objects} holds no object, all its values are 0: give the labels of objects")
        write_table(table, out, overwrite=overwrite)
    except KeyboardInterrupt:
        typer.secho("Stopped: nothing is written", fg=typer.colors.RED, err=True)
        raise typer.Exit(INTERRUPTED) from None
    typer.echo(f"{out}: {summary(table, labels)}")
    for note in dict.fromkeys((*labels.notes, *(intensities.notes if intensities else ()))):
        typer.echo(note, err=True)
    for hint in hints(table):
        typer.echo(hint, err=True)


def summary(table: "Table", labels: "Image") -> str:
    """Count the objects."""
    import numpy as np

    n_objects = len(table["label"])
    if labels.n_timepoints == 1:
        return f"{n_objects:,} objects"
    counts = np.bincount(table["timepoint"].astype(int), minlength=labels.n_timepoints)
    each = f"{counts.min():,} to {counts.max():,} each"
    return f"{n_objects:,} objects in {labels.n_timepoints:,} time points, {each}"


def hints(table: "Table") -> list[str]:
    """Say what is not measured, and what might have been meant."""
    import numpy as np

    n_large = int(np.isnan(table["feret_diameter_max"].astype(float)).sum())
    scattered = np.median(table["extent"].astype(float)) < SCATTERED
    flat = "volume" in table and (table["bbox_z_stop"] == table["bbox_z_start"].astype(int) + 1).all()
    found = {
        f"{n_large:,} objects are too large for solidity and Feret diameter: their cells are empty": n_large,
        "every object lies in one plane: --planes measures areas and perimeters instead of volumes": flat,
        "most objects fill little of their boxes: if OBJECTS is the image, give its labels first": scattered,
        "no perimeters: they need pixels that are square": (
            "perimeter" in table and np.isnan(table["perimeter"].astype(float)).sum() > n_large
        ),
    }
    return [hint for hint, holds in found.items() if holds]


@contextmanager
def _shown(name: str) -> "Iterator[Callable[[MeasureUpdate], None]]":
    """Show a bar until the table is there; on a terminal only."""
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(escape(name), total=1.0)

        def show(update: "MeasureUpdate") -> None:
            share = update.n_done / update.n_pixels
            description = f"{escape(name)}: {update.phase}"
            bar.update(task, completed=(update.scene + share) / update.n_scenes, description=description)

        yield show
