"""Segment an image or a stack of any size, a tile at a time: read, normalise, predict, crop, write."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from os import PathLike
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from napari_unet.core.calibration import check_tiling, choose_grid
from napari_unet.core.devices import choose_device
from napari_unet.core.examples import image_intensity
from napari_unet.core.inference import Predictor, read_mirrored
from napari_unet.core.io import Image, create_output
from napari_unet.core.io.image import make_image
from napari_unet.core.io.layout import Sink
from napari_unet.core.modelfile import Model
from napari_unet.core.normalise import Intensity, count_nonfinite, normalise
from napari_unet.core.results import ArraySink, Kind, ObjectWriter, ResultLayout, ResultWriter
from napari_unet.core.tiling import Region, Tile, TileGrid


@dataclass(frozen=True)
class SegmentConfig:
    """How to segment.

    Parameters
    ----------
    kind : {"labels", "probabilities", "objects"}, optional
        Output values of the classes, one float32 channel per class, or numbered connected parts of the
        foreground; by default what the model was trained for.
    halo : {"auto", "exact"} or int
        See `napari_unet.core.calibration.choose_grid`.
    tile : int, optional
        Largest side of a tile; by default as large as the memory allows.
    device : {"auto", "cpu", "cuda", "mps"}
        Where to compute.
    precision : {"auto", "fp32", "bf16"}
        "auto" is bf16 where the hardware computes it.

    Raises
    ------
    ValueError
        If the kind is unknown, or halo or tile are no sizes.
    """

    kind: Kind | None = None
    halo: str | int = "auto"
    tile: int | None = None
    device: str = "auto"
    precision: str = "auto"

    def __post_init__(self) -> None:
        if self.kind is not None and self.kind not in get_args(Kind):
            raise ValueError(f"kind is {self.kind!r}: choose one of {', '.join(get_args(Kind))}")
        check_tiling(self.halo, self.tile)


@dataclass(frozen=True, eq=False)
class StackPlan:
    """What is decided once for a whole stack: network, intensities and tiles."""

    predictor: Predictor
    intensity: Intensity
    grid: TileGrid


@dataclass(frozen=True)
class StackUpdate:
    """How far it is: tiles, pixels of all planes and time points, and where it has just written.

    The region is one of the result, in its axes; None where nothing was written: objects appear only when
    their plane or volume is whole.
    """

    n_tiles_done: int
    n_tiles: int
    n_voxels_done: int
    n_voxels: int
    region: Region | None = None


@dataclass(frozen=True, eq=False)
class StackResult:
    """What was done, and the pixels that were not finite and were read as 0."""

    plan: StackPlan
    n_voxels: int
    n_nonfinite: int


def segment_stack(
    model: Model,
    image: Image,
    output_path: str | PathLike[str],
    config: SegmentConfig | None = None,
    *,
    overwrite: bool = False,
) -> Generator[StackUpdate, None, StackResult]:
    """Segment an image into a file; whatever stops it leaves nothing under that name.

    Parameters
    ----------
    model : Model
        2D models see a stack plane by plane.
    image : Image
        Opened lazily; as many channels as the model's.
    output_path : path-like
        Its suffix sets the format: .tif, .ome.tif or .ome.zarr. Axes and spacing are the image's; the classes
        of probabilities are its channels.
    config : SegmentConfig, optional
        How to segment.
    overwrite : bool, optional
        Whether an existing file may be replaced.

    Yields
    ------
    StackUpdate
        After each tile.

    Returns
    -------
    StackResult
        What was decided and counted.

    Raises
    ------
    ValueError
        If image and model do not fit, before anything is written.
    OSError
        If the output exists or cannot be written.
    """
    config = config or SegmentConfig()
    layout = result_layout(model, image, config)
    names = [label.name for label in model.classes] if layout.kind == "probabilities" else ()
    output = create_output(
        Path(output_path),
        layout.shape,
        layout.dtype,
        axes=layout.axes,
        spacing=image.spacing,
        unit=image.unit,
        channels=names,
        overwrite=overwrite,
    )
    with output:
        result = yield from segment_into(model, image, output, config)
    return result


def segment(
    model: Model,
    image: Image | NDArray[Any],
    *,
    kind: Kind | None = None,
    halo: str | int = "auto",
    tile: int | None = None,
    device: str = "auto",
    precision: str = "auto",
) -> NDArray[Any]:
    """Segment an image that fits in memory.

    Parameters
    ----------
    model : Model
        2D models see a stack plane by plane.
    image : Image or ndarray (Y, X) or (Z, Y, X)
        As many channels as the model's; other axes need an `Image`.
    kind, halo, tile, device, precision : optional
        As of `SegmentConfig`.

    Returns
    -------
    ndarray
        Labels (T, Z, Y, X) in the smallest unsigned type, probabilities (T, C, Z, Y, X) of float32, or
        objects of uint32; without the axes that the image does not have.

    Raises
    ------
    ValueError
        If image and model do not fit.

    Examples
    --------
    >>> from napari_unet.core.networks.unet import UNet, UNetConfig
    >>> from napari_unet.core.targets import ClassLabel
    >>> classes = (ClassLabel(1, 0, "background"), ClassLabel(2, 1, "nucleus"))
    >>> model = Model(UNet(UNetConfig(width=4, depth=1)), "unet", "classes", classes, "YX", (1.0, 1.0),
    ...               "pixel", ("",), "percentile", {}, "0.1.0")
    >>> labels = segment(model, np.zeros((3, 20, 30), np.uint16))
    >>> labels.shape, labels.dtype
    ((3, 20, 30), dtype('uint8'))
    """
    if not isinstance(image, Image):
        if image.ndim not in (2, 3):
            raise ValueError(f"the array has {image.ndim} axes: name them with an Image")
        if image.ndim == 3 and image.shape[-1] in (3, 4):
            raise ValueError(
                f"the array has the shape {image.shape}, as colours have: name its axes with an Image"
            )
        image = make_image(image, "ZYX"[-image.ndim :], {}, "pixel", (), "the array")
    config = SegmentConfig(kind, halo, tile, device, precision)
    layout = result_layout(model, image, config)
    sink = ArraySink(np.zeros(layout.shape, layout.dtype))
    for _ in segment_into(model, image, sink, config):
        pass
    return sink.array


def segment_into(
    model: Model,
    image: Image,
    sink: Sink,
    config: SegmentConfig | None = None,
    intensity: Intensity | None = None,
) -> Generator[StackUpdate, None, StackResult]:
    """Segment an image into whatever takes arrays at regions.

    Parameters
    ----------
    model : Model
        2D models see a stack plane by plane.
    image : Image
        As many channels as the model's.
    sink : Sink
        Is handed the result in pieces that cover it once; see `result_layout` for its axes and type.
    config : SegmentConfig, optional
        How to segment.
    intensity : Intensity, optional
        That of the whole image, where it is known already; else it is measured.

    Yields
    ------
    StackUpdate
        After each tile.

    Returns
    -------
    StackResult
        What was decided and counted.

    Raises
    ------
    ValueError
        If image and model do not fit, before anything is written.
    """
    config = config or SegmentConfig()
    layout = result_layout(model, image, config)
    return (yield from _segment(plan_stack(model, image, config, intensity), layout, sink))


def plan_stack(
    model: Model, image: Image, config: SegmentConfig, intensity: Intensity | None = None
) -> StackPlan:
    """Decide what holds for the whole stack; every worker and every resumed run has to use the same."""
    shape = (image.n_timepoints, *image.spatial_shape)
    predictor = Predictor(model.network, choose_device(config.device), config.precision)
    intensity = replace(intensity or image_intensity(image), method=model.normalisation)

    def read(region: Region) -> NDArray[np.float32]:
        block = _read(image, region)
        ndim = predictor.network.config.ndim
        return normalise(block.reshape(len(block), *block.shape[-ndim:]), intensity)

    return StackPlan(
        predictor, intensity, choose_grid(predictor, read, shape, halo=config.halo, tile=config.tile)
    )


def result_layout(model: Model, image: Image, config: SegmentConfig) -> ResultLayout:
    """Check that image and model fit, and return what the result will be.

    Raises
    ------
    ValueError
        If they differ in channels, or the model is 3D and the image is not.
    """
    n_channels = model.network.config.in_channels
    if image.n_channels != n_channels:
        raise ValueError(
            f"{image.name} has {image.n_channels} channels and the model was trained with {n_channels}: "
            "choose them with --channels, or name the axes with --axes"
        )
    if model.axes == "ZYX" and image.spatial_axes == "YX":
        raise ValueError(f"{image.name} has no Z axis and the model is 3D: name the axes with --axes")
    kind: Kind = config.kind or ("labels" if model.task == "classes" else "objects")
    return ResultLayout(image, kind, model.classes, len(model.axes))


def _segment(plan: StackPlan, layout: ResultLayout, sink: Sink) -> Generator[StackUpdate, None, StackResult]:
    image, grid = layout.image, plan.grid
    outers = list(np.ndindex(layout.outer_shape))
    n_tiles, n_voxels = len(outers) * len(grid), len(outers) * prod(grid.shape)
    n_done = n_voxels_done = n_nonfinite = 0
    write = ObjectWriter(layout, grid, sink) if layout.kind == "objects" else ResultWriter(layout, sink)
    for outer in outers:
        for tile in grid:
            block = read_mirrored(partial(_read_inner, image, outer), tile.read, grid.shape)
            result = layout.encode(plan.predictor.predict_tile(normalise(block, plan.intensity), tile.crop))
            region = write(outer, tile, result)
            n_done += 1
            n_nonfinite += count_nonfinite(block[:, *_own_pixels(tile, grid)])
            n_voxels_done += prod(part.stop - part.start for part in tile.write)
            yield StackUpdate(n_done, n_tiles, n_voxels_done, n_voxels, region)
    return StackResult(plan, n_voxels, n_nonfinite)


def _own_pixels(tile: Tile, grid: TileGrid) -> Region:
    """Where a tile's write region lies in what it has read."""
    return tuple(
        slice(part.start + lost, part.stop + lost) for part, lost in zip(tile.crop, grid.margin, strict=True)
    )


def _read(image: Image, region: Region) -> NDArray[Any]:
    """Read (C, …) of a region whose first axis is time."""
    blocks = [image.read(region[1:], t=t) for t in range(region[0].start, region[0].stop)]
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks, axis=1)


def _read_inner(image: Image, outer: Sequence[int], inner: Region) -> NDArray[Any]:
    """Read (C, *inner) of one time point and, for a 2D network, one plane."""
    block = image.read((*(slice(z, z + 1) for z in outer[1:]), *inner), t=outer[0])
    return block.reshape(len(block), *block.shape[-len(inner) :])
