"""`napari-unet weights`: the boundary weight map of a label file."""

from pathlib import Path
from typing import Annotated

import typer

from napari_unet.cli.arguments import floats
from napari_unet.cli.outputs import refuse_outputs


def weights(
    labels: Annotated[Path, typer.Argument(help="Labels: one value per object, 0 is background.")],
    out: Annotated[Path, typer.Option(help="Weight map to write, float32: .tif, .ome.tif or .ome.zarr.")],
    w0: Annotated[float, typer.Option(help="Height of the boundary term in a gap of no width.")] = 10.0,
    sigma: Annotated[float, typer.Option(help="Width of the boundary term, in finest pixels.")] = 5.0,
    spacing: Annotated[
        str, typer.Option(help="Size of a pixel along each axis, such as 50,4,4; else the file's.")
    ] = "",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing weight map.")] = False,
) -> None:
    """Write the boundary weight map of labels: class balance, and narrow gaps between objects weigh more."""
    import numpy as np

    from napari_unet.core.io import create_output, open_labels, read_labels
    from napari_unet.core.weights import boundary_weights

    refuse_outputs([labels], [out], may_exist=overwrite)
    image = open_labels(labels, spacing=floats("--spacing", spacing))
    # Time points are separate scenes; planes of a stack are one, with its spacing.
    scenes = ("T" if "T" in image.axes else "") + image.spatial_axes
    shape = (image.n_timepoints,) * ("T" in image.axes) + image.spatial_shape
    with create_output(
        out, shape, np.float32, axes=scenes, spacing=image.spacing, unit=image.unit, overwrite=overwrite
    ) as output:
        for t in range(image.n_timepoints):
            scene = boundary_weights(read_labels(image, t=t), w0=w0, sigma=sigma, spacing=image.spacing)
            region = tuple(slice(0, size) for size in scene.shape)
            if "T" in image.axes:
                region, scene = (slice(t, t + 1), *region), scene[None]
            output.write(region, scene)
    typer.echo(f"{out}: weights of {image.name}, {' x '.join(map(str, shape))} {scenes}")
