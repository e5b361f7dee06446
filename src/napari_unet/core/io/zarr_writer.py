"""OME-Zarr, written block by block; the zarr library is imported only where a store is touched."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_unet.core.io.axes import AXES
from napari_unet.core.io.disk import sync_files
from napari_unet.core.io.image import Region
from napari_unet.core.io.labels import store_format
from napari_unet.core.io.layout import Layout, stored
from napari_unet.core.io.ngff import attributes
from napari_unet.core.io.pyramid import Level, mean, pieces, pyramid, sources, strided

if TYPE_CHECKING:
    import zarr

_LARGEST = 512  # side of a chunk, where the block can be divided so
_VOXELS = 2**20  # in a chunk: one plane where it is large, some planes where it is small
_MANY = 4096  # chunk files in one level, above which those of a block share a file


@dataclass(frozen=True, eq=False)
class ZarrSink:
    """One array; blocks that are all 0 have no file.

    Where it is synced, a write returns when its bytes are on the disk: a journal may name it then.
    """

    array: "zarr.Array[Any]"
    is_synced: bool = False

    def write(self, region: Region, array: NDArray[Any]) -> None:
        """Store `array` at `region`."""
        self.array[region] = stored(array, self.array.dtype)
        if self.is_synced:
            sync_files(self._files(region), self._folder)

    @property
    def _folder(self) -> Path:
        return Path(self.array.store.root, self.array.path)  # type: ignore[attr-defined]  # of a LocalStore

    def _files(self, region: Region) -> Iterator[Path]:
        """Files of the chunks, or of the shards, that the region touches."""
        sides = self.array.shards or self.array.chunks
        touched = (range(at.start // n, -(-at.stop // n)) for at, n in zip(region, sides, strict=True))
        return (self._folder / self.array.metadata.encode_chunk_key(place) for place in product(*touched))

    def read(self, region: Region) -> NDArray[Any]:
        """Return a copy of `region`."""
        return np.asarray(self.array[region])


@dataclass(frozen=True, eq=False)
class ZarrResult:
    """A multiscale image: level 0 is written, the others are made from it."""

    path: Path
    sinks: tuple[ZarrSink, ...]
    pyramid: tuple[Level, ...]
    is_labels: bool

    @property
    def levels(self) -> tuple[int, ...]:
        """Number of blocks of each level but the finest."""
        return tuple(len(level) for level in self.pyramid[1:])

    def write(self, region: Region, array: NDArray[Any]) -> None:
        """Store `array` at `region` of the finest level."""
        self.sinks[0].write(region, array)

    def read(self, region: Region) -> NDArray[Any]:
        """Return a copy of `region` of the finest level."""
        return self.sinks[0].read(region)

    def reduce(self, level: int, task: int) -> None:
        """Make a block of `level` out of the level before, a chunk at a time: memory holds the block once."""
        finer, coarser, geometry = self.sinks[level - 1], self.sinks[level], self.pyramid[level]
        shrunk = strided if self.is_labels else mean
        region = geometry.block(task)
        block = np.empty([part.stop - part.start for part in region], coarser.array.dtype)
        for piece in pieces(region, coarser.array.chunks):
            source = finer.read(sources(piece, geometry.factors, finer.array.shape))
            inside = tuple(
                slice(p.start - r.start, p.stop - r.start) for p, r in zip(piece, region, strict=True)
            )
            block[inside] = shrunk(source, geometry.factors)
        coarser.write(region, block)


def create_zarr(path: Path, layout: Layout, name: str) -> ZarrResult:
    """Create the group and its empty levels; what is never written reads as 0."""
    import zarr

    form = store_format(layout.image_store)
    levels = pyramid(layout, _block_shape(layout), form.shifts)
    described = attributes(layout, levels, name, form.zarr_format)
    group = zarr.create_group(str(path), zarr_format=form.zarr_format, attributes=described)
    for number, level in enumerate(levels):
        _create_array(group, str(number), level, layout, form.separator)
    return open_zarr_result(path, layout)


def open_zarr_result(path: Path, layout: Layout, *, is_synced: bool = False) -> ZarrResult:
    """Open for writing what `create_zarr` has made; ValueError where it is another."""
    import zarr

    group = zarr.open_group(str(path), mode="r+")
    levels = pyramid(layout, _block_shape(layout))
    sinks = []
    for number, level in enumerate(levels):
        array = group.get(str(number))
        if not isinstance(array, zarr.Array) or (array.shape, array.dtype) != (level.shape, layout.dtype):
            raise ValueError(f"{path} is another result or not whole; remove it and start anew")
        sinks.append(ZarrSink(array, is_synced))
    return ZarrResult(path, tuple(sinks), levels, layout.is_labels)


def create_parts(
    path: Path, shape: Sequence[int], block_shape: Sequence[int], dtype: str = "uint32"
) -> ZarrSink:
    """Create an array for what is joined later, a file for each block.

    Parameters
    ----------
    path
        Of the new store.
    shape, block_shape
        Of the whole, and of what is written at once.
    dtype
        "uint32" or "uint8".

    Returns
    -------
    ZarrSink
        Zeros.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     parts = create_parts(Path(folder) / "parts.zarr", (8, 8), (4, 8))
    ...     parts.write((slice(4, 8), slice(0, 8)), np.full((4, 8), 7, np.uint32))
    ...     parts.read((slice(3, 5), slice(0, 2))).tolist()
    [[0, 0], [7, 7]]
    """
    import zarr

    chunks, shards = _chunking(AXES[-len(shape) :], shape, block_shape)
    return ZarrSink(
        zarr.create_array(str(path), shape=tuple(shape), dtype=dtype, chunks=chunks, shards=shards)
    )


def open_parts(path: Path) -> ZarrSink:
    """Open again what `create_parts` has made; what is written there is synced."""
    import zarr

    return ZarrSink(zarr.open_array(str(path), mode="r+"), is_synced=True)


def _create_array(group: "zarr.Group", name: str, level: Level, layout: Layout, separator: str) -> None:
    chunks, shards = _chunking(layout.axes, level.shape, level.block_shape)
    n_chunks = math.prod(-(-size // side) for size, side in zip(level.shape, chunks, strict=True))
    options: dict[str, Any] = {"dimension_names": list(layout.axes.lower())}
    if n_chunks > _MANY and shards != chunks:
        options["shards"] = shards
    if group.metadata.zarr_format == 2:  # has neither, and the bytes of its usual codec depend on threads
        key = {"name": "v2", "separator": separator}
        options = {"compressors": {"id": "zstd", "level": 0}, "chunk_key_encoding": key}
    group.create_array(name, shape=level.shape, dtype=layout.dtype, chunks=chunks, **options)


def _block_shape(layout: Layout) -> tuple[int, ...]:
    """Return what is written at once; the chunks of a plane where writes may be anywhere."""
    return layout.block_shape or tuple(_LARGEST if axis in "YX" else 1 for axis in layout.axes)


def _chunking(
    axes: str, shape: Sequence[int], block_shape: Sequence[int]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the shape of a chunk, and that of the chunks of one block together."""
    y, x = (_chunk_side(block_shape[i], shape[i], _LARGEST) for i in (-2, -1))
    largest = {"Z": max(1, _VOXELS // (y * x)), "Y": y, "X": x}
    chunks = tuple(
        _chunk_side(block, size, largest.get(axis, 1))
        for axis, block, size in zip(axes, block_shape, shape, strict=True)
    )
    together = tuple(
        -(-min(block, size) // side) * side
        for block, size, side in zip(block_shape, shape, chunks, strict=True)
    )
    return chunks, together


def _chunk_side(block: int, size: int, largest: int) -> int:
    """Divide a block into the fewest equal chunks; only one that is alone along its axis may end unevenly."""
    n_chunks = -(-min(block, size) // largest)
    if block >= size:
        return -(-size // n_chunks)
    smallest = max(1, largest // 8)
    return next((block // n for n in range(n_chunks, block // smallest + 1) if block % n == 0), block)
