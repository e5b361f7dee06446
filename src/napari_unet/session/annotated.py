"""One image with its annotation layer: what is painted on it, and the examples that this makes."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import numpy as np
from napari.layers import Labels
from numpy.typing import NDArray

from napari_unet.core.annotated_regions import Corner, Region, cell_pixels, cells_in, example_regions
from napari_unet.core.io import Image
from napari_unet.core.io.names import composed
from napari_unet.core.normalise import Intensity, normalise
from napari_unet.core.rims import Annotation
from napari_unet.core.targets import Example, Task
from napari_unet.session.images import ImageChoice, Index, open_layers
from napari_unet.session.strokes import Cell, Strokes


@dataclass(frozen=True)
class _Where:
    """A region of one time point that a network of `ndim` spatial axes learns from.

    Its first pixel and its shape are along the image's spatial axes.
    """

    ndim: int
    t: int
    start: tuple[int, ...]
    shape: tuple[int, ...]

    @property
    def region(self) -> Region:
        return tuple(slice(at, at + size) for at, size in zip(self.start, self.shape, strict=True))


@dataclass(frozen=True, eq=False)
class Unread:
    """A region that is to be read and brought to a common scale; that may take its time, in any thread."""

    image: Image
    where: _Where
    intensity: Intensity

    def read(self) -> "Pixels":
        """Read it."""
        raw = self.image.read(self.where.region, t=self.where.t)
        missing = ~np.isfinite(raw).all(axis=0)
        values = normalise(raw, self.intensity)
        values.flags.writeable = False
        return Pixels(self, values, missing if missing.any() else None)


@dataclass(frozen=True, eq=False)
class Pixels:
    """What was read of a region."""

    of: Unread
    values: NDArray[np.float32]  # (C, *spatial), normalised
    missing: NDArray[np.bool_] | None  # (*spatial), where a pixel is not finite


@dataclass(frozen=True, eq=False)
class _Learnt:
    """What a region teaches, None if nothing, and what that was made of."""

    pixels: Pixels
    cells: tuple[Cell, ...]
    complete: frozenset[Index]
    example: Example | None


class Annotated:
    """An image, its annotation layer, and which of its planes are annotated completely."""

    def __init__(self, choice: ImageChoice, layer: Labels, task: Task) -> None:
        if layer.multiscale:
            raise ValueError(f"{layer.name} is multiscale and takes no paint: press Annotate for a new layer")
        self.choice, self.layer, self.task = choice, layer, task
        self.complete: set[Index] = set()
        self._background = 1
        self.key = image_key(choice)
        self._strokes = Strokes(layer)
        self._image: Image | None = None
        self._pixels: dict[_Where, Pixels] = {}
        self._learnt: dict[_Where, _Learnt] = {}
        self._has_other_pixels = False
        for each in choice.layers:
            each.events.data.connect(self._on_image)

    @property
    def image(self) -> Image:
        """The image that is annotated, as it is now."""
        if self._image is None:
            self._image = open_layers(self.choice)
        return self._image

    @property
    def source(self) -> str:
        """What tells its examples from those of other images, whatever these are called now or later."""
        return f"{self.choice.layers[0].unique_id} {self.choice.axes}"

    @property
    def fits(self) -> bool:
        """Whether the layer covers the image pixel by pixel; either may have been given other data."""
        same_axes = self.layer.ndim == self.choice.layers[0].ndim
        return same_axes and tuple(self.layer.data.shape) == self.choice.annotation_shape

    def look_at(self, choice: ImageChoice) -> None:
        """Go on with other channels of the same image."""
        if choice is self.choice:
            return
        for each in set(choice.layers) - set(self.choice.layers):
            each.events.data.connect(self._on_image)
        self.choice = choice
        self._on_image()

    @property
    def planes(self) -> tuple[Index, ...]:
        """Planes that are annotated or complete, in order."""
        return tuple(sorted(self._strokes.cells.keys() | self.complete))

    @property
    def cells(self) -> dict[Index, dict[Corner, Cell]]:
        """What is painted, as read-only copies by plane and by place on it; this follows no later strokes."""
        return {index: dict(cells) for index, cells in self._strokes.cells.items()}

    def changed_planes(self) -> set[Index]:
        """Take over what was painted since the last call; return the planes that teach something else now."""
        shape, wanted = tuple(self.layer.data.shape), self.choice.annotation_shape
        if shape != wanted:
            raise ValueError(
                f"{self.layer.name} has the shape {shape} and {self.choice.name} needs {wanted}: "
                "give it data of that shape, or delete it and press Annotate"
            )
        changed = self._strokes.take()
        if self._has_other_pixels:
            self._has_other_pixels = False
            changed.update(self.planes)
        return changed

    def fill(self, cells: Iterable[tuple[Index, dict[Corner, Cell]]]) -> None:
        """Write cells of planes wherever nothing is painted."""
        for index, on_plane in cells:
            for corner, cell in on_plane.items():
                self._strokes.fill(index, corner, cell)
        self.layer.refresh()

    def erase(self, values: set[int]) -> None:
        """Make the strokes of some values unlabelled; it can be undone in the layer."""
        for index in self.planes if values else ():
            rows, columns = np.nonzero(np.isin(self.plane(index), list(values)))
            self.paint(index, rows, columns, 0)

    def paint(
        self, index: Index, rows: NDArray[np.int64], columns: NDArray[np.int64], values: int | NDArray[Any]
    ) -> None:
        """Paint pixels of a plane, as one step that can be undone in the layer."""
        self._check(np.max(values, initial=0))
        outer = tuple(np.full_like(rows, at) for at in index)
        self.layer.data_setitem((*outer, rows, columns), np.asarray(values, self.layer.dtype))

    def select(self, value: int) -> None:
        """Let the brush paint with a value."""
        self._check(value)
        self.layer.selected_label = value

    def _check(self, value: int) -> None:
        """Raise a ValueError for a value that is too high for the layer."""
        if value > (highest := np.iinfo(self.layer.dtype).max):
            raise ValueError(
                f"{self.layer.name} has objects up to number {highest:,} and none can be higher: "
                "fill (F) the highest one with a lower number that is free, and try again"
            )

    def values(self, index: Index) -> set[int]:
        """Return the annotation values that are painted on a plane."""
        return self._strokes.values(index)

    def set_background(self, value: int) -> None:
        """Say which annotation value unlabelled pixels of complete planes have."""
        if value != self._background:
            self._background, self._learnt = value, {}

    def mark_complete(self, index: Index, on: bool) -> None:
        """Say whether unlabelled means background on a plane."""
        (self.complete.add if on else self.complete.discard)(index)

    def plane(self, index: Index) -> NDArray[Any]:
        """Return the annotation of a plane (Y, X), as it is in the layer now."""
        return np.asarray(self.layer.data[index])

    def beside(self, index: Index) -> list[NDArray[Any]]:
        """Return the annotation of the slices below and above a plane, as far as there are any."""
        axis = self.choice.plane_axes.find("Z")
        steps = (-1, 1) if axis >= 0 else ()
        near = ((*index[:axis], index[axis] + step, *index[axis + 1 :]) for step in steps)
        return [self.plane(each) for each in near if 0 <= each[axis] < self.choice.annotation_shape[axis]]

    def unread(self, ndim: Literal[2, 3], intensity: Intensity) -> tuple[Unread, ...]:
        """Return what `examples` would have to read: once it is read and kept, they are quickly made."""
        wanted = (Unread(self.image, where, intensity) for where, _ in self._places(ndim))
        return tuple(each for each in wanted if self._known(each) is None)

    def keep(self, pixels: Pixels) -> None:
        """Keep what was read, unless the image has been given other pixels meanwhile."""
        if pixels.of.image is self._image:
            self._pixels[pixels.of.where] = pixels

    def _known(self, wanted: Unread) -> Pixels | None:
        known = self._pixels.get(wanted.where)
        return known if known is not None and known.of.intensity == wanted.intensity else None

    def examples(self, ndim: Literal[2, 3], intensity: Intensity) -> tuple[Example, ...]:
        """Return the annotated regions; one that has not changed is the same object as before."""
        places = self._places(ndim)
        wanted = [Unread(self.image, where, intensity) for where, _ in places]
        # regions that are gone are forgotten with their pixels
        self._pixels = {each.where: self._known(each) or each.read() for each in wanted}
        self._learnt = {where: self._learn(where, planes) for where, planes in places}
        return tuple(each.example for each in self._learnt.values() if each.example is not None)

    def _places(self, ndim: Literal[2, 3]) -> list[tuple[_Where, tuple[Index, ...]]]:
        if ndim > len(self.image.spatial_axes):
            raise ValueError(f"{self.image.name} has no Z axis: choose 2D in the advanced options")
        return list(self._regions(ndim))

    def _regions(self, ndim: int) -> Iterator[tuple[_Where, tuple[Index, ...]]]:
        """Yield where a network trains, and the planes there that are annotated; others are unlabelled."""
        *_, height, width = self.choice.annotation_shape
        every = cells_in((slice(0, height), slice(0, width)))
        shape = self.image.spatial_shape
        for t in sorted({self._along("T", index) for index in self.planes}):
            planes = {self._along("Z", i): i for i in self.planes if self._along("T", i) == t}
            cells = {
                z: every if index in self.complete else self._strokes.cells[index].keys()
                for z, index in planes.items()
            }
            for region in example_regions(cells, shape, ndim):
                inside = range(region[0].start, region[0].stop) if len(shape) == 3 else range(1)
                yield _where(ndim, t, region), tuple(planes[z] for z in sorted(planes) if z in inside)

    def _learn(self, where: _Where, planes: tuple[Index, ...]) -> _Learnt:
        """Return what a region teaches; the same as before, where nothing has changed."""
        cells = {index: self._cells_inside(index, where) for index in planes}
        now = tuple(cell for inside in cells.values() for cell in inside.values())
        complete = frozenset(self.complete.intersection(planes))
        known, pixels = self._learnt.get(where), self._pixels[where]
        if known and (known.pixels, known.complete) == (pixels, complete) and _are_same(known.cells, now):
            return known
        example = self._example(where, planes, pixels, self._annotation(where, cells, complete))
        return _Learnt(pixels, now, complete, example)

    def _cells_inside(self, index: Index, where: _Where) -> dict[Corner, Cell]:
        """Cells of a plane in a region; none lies across its border."""
        rows, columns = where.region[-2:]
        found = self._strokes.cells.get(index, {})
        inside = set(cells_in((rows, columns)))
        return {corner: cell for corner, cell in sorted(found.items()) if corner in inside}

    def _annotation(
        self, where: _Where, cells: dict[Index, dict[Corner, Cell]], complete: frozenset[Index]
    ) -> Annotation:
        annotation = np.zeros(where.shape, np.dtype(self.layer.dtype).newbyteorder("="))
        planes = annotation.reshape(-1, *where.shape[-2:])
        first = where.start[0] if len(where.start) > 2 else 0
        for index, inside in cells.items():
            plane = planes[self._along("Z", index) - first]
            for corner, cell in inside.items():
                part = zip(cell_pixels(corner), where.start[-2:], cell.shape, strict=True)
                plane[tuple(slice(p.start - at, p.start - at + size) for p, at, size in part)] = cell
            if index in complete:
                plane[plane == 0] = self._background
        return annotation

    def _example(
        self, where: _Where, planes: tuple[Index, ...], pixels: Pixels, values: Annotation
    ) -> Example | None:
        shape = where.shape[-where.ndim :]  # one plane of a stack loses its Z
        values = values.reshape(shape)
        values.flags.writeable = False
        place = (*planes[0], *where.start[-2:]) if where.ndim == 2 else (where.t, *where.start)
        image = pixels.values.reshape(-1, *shape)
        missing = None if pixels.missing is None else pixels.missing.reshape(shape)
        example = Example(image, values, self.image.spacing[-where.ndim :], self.source, place, missing)
        return example if example.known.any() else None

    def _along(self, axis: str, index: Index) -> int:
        return index[self.choice.plane_axes.index(axis)] if axis in self.choice.plane_axes else 0

    def _on_image(self) -> None:
        self._image, self._pixels, self._learnt = None, {}, {}
        self._has_other_pixels = True


def image_key(choice: ImageChoice) -> str:
    """Return what tells this image from others, today and tomorrow: where it is from, its name, its kind."""
    layer = choice.layers[0]
    path = layer.source.path
    is_file = path is not None and "://" not in str(path)
    # one file may hold several images of the same shape: the name tells them apart
    parts = (
        str(Path(path).resolve()) if is_file else str(path),
        choice.name,
        tuple(map(int, layer.level_shapes[0])),
        str(layer.dtype),
        choice.axes,
    )
    return sha256(composed(repr(parts)).encode()).hexdigest()[:16]


def _where(ndim: int, t: int, region: Region) -> _Where:
    starts, shape = zip(*((part.start, part.stop - part.start) for part in region), strict=True)
    return _Where(ndim, t, starts, shape)


def _are_same(cells: tuple[Cell, ...], others: tuple[Cell, ...]) -> bool:
    """Tell whether these are the same objects: a changed cell is always a new one."""
    return len(cells) == len(others) and all(a is b for a, b in zip(cells, others, strict=True))
