"""Objects to a table, block by block; objects that cross blocks are read again at the end."""

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_unet.core.io import Image
from napari_unet.core.io.axes import UNKNOWN_UNIT
from napari_unet.core.io.image import named
from napari_unet.core.io.opening import check_labels
from napari_unet.core.io.singletons import with_axes_of
from napari_unet.core.measuring.columns import Table, make_table
from napari_unet.core.measuring.scenes import Region, Scene, block_shape, blocks_of
from napari_unet.core.measuring.shapes import Shape, measure_shape
from napari_unet.core.measuring.sums import Floats, Sums, join_parts, sum_parts

LARGEST = 2**24
"""Pixels of the box of an object, above which what needs all of its pixels at once is not measured."""

_ROWS = 2**16  # parts of objects that are kept apart before they are joined


@dataclass(frozen=True)
class MeasureUpdate:
    """How far it is: which time point or plane, and of its pixels; then of objects that cross blocks."""

    scene: int
    n_scenes: int
    phase: str
    n_done: int
    n_pixels: int


Told = Callable[[str, int, int], MeasureUpdate]


def measure_objects(
    objects: Image | NDArray[Any], image: Image | NDArray[Any] | None = None, *, planes: bool = False
) -> Generator[MeasureUpdate, None, Table]:
    """Measure objects: where they are, how large, of which shape, how bright.

    Parameters
    ----------
    objects : Image or ndarray (Y, X) or (Z, Y, X)
        Labels, 0 is background; as `open_labels` or `segment` gives them. Where they do not say how large a
        pixel is, the image does.
    image : Image or ndarray (Y, X) or (Z, Y, X), optional
        Intensities, of the same spatial shape and number of time points, with any number of channels.
    planes : bool
        Measure each plane of a stack by itself, in 2D. Stacks of one plane are always measured so.

    Yields
    ------
    MeasureUpdate
        After each block, and after each group of objects that cross blocks. Memory does not grow with the
        image, but with the number of objects: about 500 bytes each.

    Returns
    -------
    dict of str to ndarray (n_objects,)
        A row for each object, time point and (with `planes`) plane, by time point, plane and label. Lengths,
        areas and volumes are in the unit of the column "unit"; what ends in "_px" and the boxes in pixels.
        Shapes equal those of scikit-image's `regionprops_table`. NaN where something is not measured:
        perimeters of pixels that are not square; perimeter, solidity and largest diameter of objects whose
        box has more than 2²⁴ pixels.

    Raises
    ------
    ValueError
        Where labels are no labels, image and labels differ in shape, or intensities of objects are not
        finite.

    Examples
    --------
    >>> from napari_unet.core.io.image import make_image
    >>> labels = make_image(np.array([[0, 1, 1], [0, 0, 7]]), "YX", {"Y": 0.5, "X": 0.5}, "µm", (), "cells")
    >>> work = measure_objects(labels)
    >>> next(work)
    MeasureUpdate(scene=0, n_scenes=1, phase='blocks', n_done=6, n_pixels=6)
    >>> try:
    ...     next(work)
    ... except StopIteration as end:
    ...     table = end.value
    >>> table["label"].tolist(), table["area"].tolist(), table["centroid_x"].tolist()
    ([1, 7], [0.5, 0.25], [0.75, 1.0])
    """
    objects = named(objects)
    check_labels(objects)
    if image is not None:
        image = named(image)
        image = with_axes_of(image, objects)
        _check_alike(objects, image)
        objects = _with_spacing_of(objects, image)
    scenes = _scenes(objects, image, planes)
    tables = []
    for number, scene in enumerate(scenes):
        tables.append((yield from _measure_scene(scene, partial(MeasureUpdate, number, len(scenes)))))
    return {name: np.concatenate([table[name] for table in tables]) for name in tables[0]}


def _scenes(objects: Image, image: Image | None, planes: bool) -> list[Scene]:
    """List time points, or their planes."""
    depth = objects.spatial_shape[0] if objects.spatial_axes == "ZYX" else 0
    places: Sequence[int | None] = range(depth) if depth == 1 or (planes and depth) else [None]
    return [Scene(objects, image, t, z) for t in range(objects.n_timepoints) for z in places]


def _check_alike(objects: Image, image: Image) -> None:
    extents = [(each.n_timepoints, *each.spatial_shape) for each in (objects, image)]
    if extents[0] != extents[1]:
        raise ValueError(
            f"labels {objects.name} are {objects.axes} {objects.data.shape} but image {image.name} is "
            f"{image.axes} {image.data.shape}; give the image of these objects, or say the axes of both"
        )


def _with_spacing_of(objects: Image, image: Image) -> Image:
    """Take the image's voxel size where the labels have none."""
    is_known = objects.unit != UNKNOWN_UNIT or set(objects.spacing) != {1.0}
    return objects if is_known else replace(objects, spacing=image.spacing, unit=image.unit)


def _measure_scene(scene: Scene, update: Told) -> Generator[MeasureUpdate, None, Table]:
    sides = block_shape(scene)
    n_done, n_joined = 0, 0
    parts: list[Sums] = []
    early: list[tuple[NDArray[np.generic], Floats]] = []
    for region in blocks_of(scene.shape, sides):
        labels = scene.labels(region)
        origin = [part.start for part in region]
        sums = sum_parts(labels, scene.values(region, labels), origin)
        inside = sums[_is_inside(sums, region, scene.shape)]
        early.append((inside.label, _shapes(inside, labels, origin, scene.spacing)))
        parts.append(sums)
        if sum(map(len, parts)) > 2 * n_joined + _ROWS:
            parts = [join_parts(parts)]
            n_joined = len(parts[0])
        n_done += labels.size
        yield update("blocks", n_done, prod(scene.shape))
    sums = join_parts(parts)
    shapes = _collected(sums, early)
    yield from _measure_crossing(scene, sums, shapes, sides, update)
    return make_table(scene, sums, shapes)


def _is_inside(sums: Sums, region: Region, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Whether no other block can hold more of an object, unless that is in several pieces."""
    start, stop = (np.array([getattr(part, end) for part in region]) for end in ("start", "stop"))
    inside: NDArray[np.bool_] = (
        ((sums.start > start) | (start == 0)) & ((sums.stop < stop) | (stop == shape))
    ).all(axis=1)
    return inside


def _shapes(sums: Sums, labels: NDArray[np.generic], origin: list[int], spacing: tuple[float, ...]) -> Floats:
    """Measure the shapes (n, 3) of objects that lie whole in what was read."""
    shapes = np.full((len(sums), len(Shape._fields)), np.nan)
    for row, (label, start, stop) in enumerate(
        zip(sums.label, (sums.start - origin).tolist(), (sums.stop - origin).tolist(), strict=True)
    ):
        shapes[row] = measure_shape(labels[tuple(map(slice, start, stop))] == label, spacing)
    return shapes


def _collected(sums: Sums, early: list[tuple[NDArray[np.generic], Floats]]) -> Floats:
    """Put shapes that were measured block by block in the order of the objects; NaN for the others."""
    shapes = np.full((len(sums), len(Shape._fields)), np.nan)
    for label, found in early:
        shapes[np.searchsorted(sums.label, label)] = found
    return shapes


def _measure_crossing(
    scene: Scene, sums: Sums, shapes: Floats, sides: tuple[int, ...], update: Told
) -> Generator[MeasureUpdate, None, None]:
    """Measure the shapes of objects that lie in several blocks, or touch a face of theirs."""
    spans = (sums.start // sides != (sums.stop - 1) // sides).any(axis=1)
    shapes[spans] = np.nan
    small = sums.shape.prod(axis=1) <= LARGEST
    todo = np.flatnonzero(small & np.isnan(shapes[:, 1]))
    n_done = 0
    for rows in _groups(sums, todo, sides):
        some = sums[rows]
        low, high = some.start.min(axis=0).tolist(), some.stop.max(axis=0).tolist()
        labels = scene.labels(tuple(map(slice, low, high)))
        shapes[rows] = _shapes(some, labels, low, scene.spacing)
        n_done += int(some.n_pixels.sum())
        yield update("crossing", n_done, int(sums.n_pixels[todo].sum()))


def _groups(sums: Sums, rows: NDArray[np.intp], sides: tuple[int, ...]) -> Iterator[NDArray[np.intp]]:
    """Group objects that cross the same faces: one read gives them all, unless that is too much."""
    if not len(rows):
        return
    places = np.hstack((sums.start[rows] // sides, (sums.stop[rows] - 1) // sides))
    _, group = np.unique(places, axis=0, return_inverse=True)
    order = np.argsort(group, kind="stable")
    for some in np.split(rows[order], np.flatnonzero(np.diff(group[order])) + 1):
        extent = sums.stop[some].max(axis=0) - sums.start[some].min(axis=0)
        yield from [some] if extent.prod() <= LARGEST else some[:, None]
