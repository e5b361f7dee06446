"""`napari-unet segment`: a model and images to segmented images."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from napari_unet.cli.arguments import opening_options
from napari_unet.cli.outputs import refuse_outputs

if TYPE_CHECKING:
    from napari_unet.core.io import Image
    from napari_unet.core.modelfile import Model
    from napari_unet.core.stacks import SegmentConfig, StackResult

KindName = Literal["labels", "probabilities", "objects"]


def segment(
    model: Annotated[Path, typer.Argument(help="A model file from `napari-unet train`.")],
    input: Annotated[str, typer.Argument(help="An image, a folder of images, or a quoted glob.")],
    out: Annotated[
        Path, typer.Option(help="Output file (.tif, .ome.tif, .ome.zarr); for many images a folder.")
    ],
    kind: Annotated[
        KindName | None, typer.Option(help="What to write; by default what the model was trained for.")
    ] = None,
    halo: Annotated[str, typer.Option(help="Context around a tile: auto, exact, or pixels.")] = "auto",
    tile: Annotated[int | None, typer.Option(help="Largest side of a tile; by default what fits.")] = None,
    stack: Annotated[bool, typer.Option("--stack", help="Read a folder or glob as one stack.")] = False,
    axes: Annotated[str | None, typer.Option(help="Axes of the files, e.g. ZYX.")] = None,
    spacing: Annotated[str, typer.Option(help="Voxel size of each spatial axis, e.g. 50,4,4.")] = "",
    channels: Annotated[str, typer.Option(help="Channels to use, e.g. 0,2.")] = "",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing outputs.")] = False,
) -> None:
    """Segment an image, a stack, or many of them."""
    from napari_unet.core.devices import choose_device
    from napari_unet.core.io import find_images
    from napari_unet.core.modelfile import load_model
    from napari_unet.core.stacks import SegmentConfig

    config = SegmentConfig(kind, int(halo) if halo.isdecimal() else halo, tile, choose_device(device).type)
    opening = opening_options(axes, spacing, channels)
    paths = find_images(input)
    one = stack or [Path(input).expanduser()] == paths
    outputs = [out] if one else name_outputs(paths, out)
    refuse_outputs(paths, outputs, overwrite=overwrite)
    job = Job(load_model(model), config, opening, overwrite)
    if one:
        typer.echo(job.run(paths, out, stack=stack))
        return
    out.mkdir(parents=True, exist_ok=True)
    n_failed = sum(not job.attempt(path, output) for path, output in zip(paths, outputs, strict=True))
    typer.echo(f"{len(paths) - n_failed} of {len(paths)} images segmented into {out}")
    if n_failed:
        raise typer.Exit(1)


@dataclass(frozen=True, eq=False)
class Job:
    """What is the same for all images."""

    model: "Model"
    config: "SegmentConfig"
    opening: dict[str, Any]
    overwrite: bool

    def attempt(self, path: Path, output: Path) -> bool:
        """Segment one of many images; an image that cannot be is reported, and the rest go on."""
        try:
            typer.echo(self.run([path], output))
        except (OSError, ValueError, MemoryError) as error:
            typer.secho(f"Error: {path}: {error}", fg=typer.colors.RED, err=True)
            return False
        return True

    def run(self, paths: Sequence[Path], output: Path, *, stack: bool = False) -> str:
        """Segment an image, or several files that are one stack; return a summary."""
        from napari_unet.cli.progress import segmenting_shown
        from napari_unet.core.stacks import segment_stack
        from napari_unet.core.training import drain

        start = perf_counter()
        image = self.open(paths, stack)
        with segmenting_shown(image.name) as show:
            work = segment_stack(self.model, image, output, self.config, overwrite=self.overwrite)
            result = drain(work, show)
        return f"{output}: {summary(result, perf_counter() - start)}"

    def open(self, paths: Sequence[Path], stack: bool) -> "Image":
        """Open the files as the options say."""
        from napari_unet.core.io import open_image, open_stack

        return open_stack(paths, **self.opening) if stack else open_image(paths[0], **self.opening)


def name_outputs(paths: Sequence[Path], folder: Path) -> list[Path]:
    """Return `<stem>.tif` in the folder for each image."""
    from napari_unet.core.io import image_stem
    from napari_unet.core.io.names import IMAGE_SUFFIXES

    if folder.suffix.lower() in IMAGE_SUFFIXES:
        raise ValueError(f"{folder} is the name of one image: many images need a folder as --out, or --stack")
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file: many images need a folder as --out")
    names: dict[str, Path] = {}
    for path in paths:
        if (stem := image_stem(path)) in names:
            raise ValueError(f"{names[stem]} and {path} would both become {stem}.tif: rename one")
        names[stem] = path
    return [folder / f"{stem}.tif" for stem in names]


def summary(result: "StackResult", seconds: float) -> str:
    """Say in one line what was done and how."""
    from napari_unet.core.devices import describe_device

    plan, grid = result.plan, result.plan.grid
    line = (
        f"{result.n_voxels:,} voxels in {seconds:.1f} s ({result.n_voxels / seconds:,.0f} voxels/s), "
        f"tile {_times(grid.tile_shape)}, halo {_times(grid.halo)}, {plan.precision}, "
        f"{describe_device(result.device)}"
    )
    if result.n_nonfinite:
        line += f"; {result.n_nonfinite:,} pixels were NaN or infinite and read as 0"
    return line


def _times(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))
