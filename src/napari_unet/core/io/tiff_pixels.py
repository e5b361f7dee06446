"""The pixels of a TIFF: pages of strips or tiles, each decoded only where a region needs it."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from tifffile import TiffFile, TiffFrame, TiffPage

from napari_unet.core.io.damage import readable
from napari_unet.core.io.image import Region

Page = TiffPage | TiffFrame


@dataclass(frozen=True, eq=False)
class Segments:
    """Where the strips or tiles of all pages are: arrays, because a file may have a million of them."""

    files: tuple[Path, ...]
    file: NDArray[np.uint32]  # (pages,)
    offsets: NDArray[np.uint64]  # (pages, segments)
    counts: NDArray[np.uint64]  # (pages, segments), in bytes
    jpeg_tables: tuple[bytes | None, ...]  # one for each page


@dataclass(frozen=True, eq=False)
class PagedTiff:
    """Pages of strips or tiles, each decoded only where a region needs it."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    keyframe: TiffPage  # says how every page is stored
    segments: Segments

    def __getitem__(self, region: Region, /) -> NDArray[Any]:
        n_leading = len(self.shape) - len(self.keyframe.shape)
        leading = [range(self.shape[i])[region[i]] for i in range(n_leading)]
        inside = _in_page(self.keyframe, region[n_leading:])
        shape = tuple(part.stop - part.start for part in inside)  # S, D, Y, X, s
        out = np.zeros((*map(len, leading), *shape), self.dtype)
        for target, source in zip(
            np.ndindex(out.shape[:n_leading]), itertools.product(*leading), strict=True
        ):
            page = int(np.ravel_multi_index(source, self.shape[:n_leading])) if source else 0
            self._paste(page, inside, out[target])
        kept = [part.stop - part.start for part in region[n_leading:]]
        return out.reshape(*map(len, leading), *kept)

    def _paste(self, page: int, region: Region, out: NDArray[Any]) -> None:
        """Decode the segments that touch `region` of the page's (S, D, Y, X, s) pixels into `out`."""
        if 0 in out.shape:
            return
        chunk = _chunk_shape(self.keyframe)
        counts = segment_counts(self.keyframe)
        touched = [range(p.start // c, -(-p.stop // c)) for p, c in zip(region, chunk, strict=True)]
        path = self.segments.files[self.segments.file[page]]
        with readable(path, place=f"page {page}"), open(path, "rb") as file:
            for place in itertools.product(*touched):
                segment = self._decode(file, page, int(np.ravel_multi_index(place, counts)))
                if segment is None:  # a sparse file: never written means 0
                    continue
                origin = tuple(p * c for p, c in zip(place, chunk, strict=True))
                source, target = _overlap(region, origin, segment.shape)
                out[target] = segment[source]

    def _decode(self, file: BinaryIO, page: int, index: int) -> NDArray[Any] | None:
        """Return one segment as (1, D, Y, X, s)."""
        keyframe = self.keyframe
        offset, n_bytes = (int(a[page, index]) for a in (self.segments.offsets, self.segments.counts))
        if not offset or not n_bytes:
            return None
        if keyframe.is_final:  # nothing to decode: mapped, so that a region reads no more than itself
            dtype = np.dtype(keyframe.dtype).newbyteorder(keyframe.parent.byteorder)
            return np.memmap(file, dtype, "r", offset, keyframe.shaped)
        file.seek(offset)
        stored = file.read(n_bytes)
        if len(stored) < n_bytes:
            raise ValueError("cut off")
        tables = {"jpegtables": self.segments.jpeg_tables[page], "jpegheader": keyframe.jpegheader}
        segment, _, _ = keyframe.decode(stored, index, **tables)
        return None if segment is None else segment[np.newaxis]


def read_segments(pages: Sequence[Page]) -> Segments:
    """Note where the strips or tiles of all pages are; ValueError where some are not there."""
    keyframe = keyframe_of(pages[0])
    n_segments = math.prod(segment_counts(keyframe))
    if n_segments > len(pages[0].dataoffsets):  # before memory is taken for as many as the header claims
        raise _wrong_number(pages[0], n_segments)
    offsets, counts = np.zeros((2, len(pages), n_segments), np.uint64)
    numbers: dict[Path, int] = {}  # of the files
    sizes: list[int] = []
    tables: dict[bytes | None, bytes | None] = {}  # the same object for equal ones
    file = np.zeros(len(pages), np.uint32)
    for i, page in enumerate(pages):
        path = Path(page.parent.filehandle.path)
        if path not in numbers:
            _check_alike(page, keyframe)
            numbers[path] = len(sizes)
            sizes.append(path.stat().st_size)
        file[i] = numbers[path]
        offsets[i], counts[i] = _segments_of(page, n_segments, sizes[file[i]])
        tables.setdefault(page.jpegtables, page.jpegtables)
    return Segments(tuple(numbers), file, offsets, counts, tuple(tables[page.jpegtables] for page in pages))


def keyframe_of(page: Page) -> TiffPage:
    """Return the page that says how this one is stored."""
    assert page.keyframe is not None  # tifffile's own invariant for loaded pages
    return page.keyframe


def lone_keyframe(page: Page) -> TiffPage:
    """Return the keyframe read again: the given one keeps every page of its file in memory."""
    keyframe = keyframe_of(page)
    if not isinstance(keyframe.index, int):
        return keyframe
    with TiffFile(keyframe.parent.filehandle.path) as tif:
        return keyframe_of(tif.pages.get(keyframe.index))


def segment_counts(keyframe: TiffPage) -> tuple[int, ...]:
    """How many strips or tiles a page has along each of (S, D, Y, X, s)."""
    chunk = _chunk_shape(keyframe)
    return tuple(-(-size // step) for size, step in zip(keyframe.shaped, chunk, strict=True))


def _check_alike(page: Page, keyframe: TiffPage) -> None:
    if keyframe_of(page).hash != keyframe.hash:
        raise ValueError("its files are stored in different ways")


def _segments_of(page: Page, n_segments: int, n_bytes: int) -> tuple[Sequence[int], Sequence[int]]:
    """Offsets and byte counts, which must lie within the file's `n_bytes`."""
    offsets, counts = page.dataoffsets, page.databytecounts
    ends = [offset + count for offset, count in zip(offsets, counts, strict=False)]
    if n_segments == 1 and tuple(offsets[1:]) == tuple(ends[:-1]):  # one run in several strips, as in LSM
        offsets, counts = offsets[:1], (sum(counts),)
    if len(offsets) != n_segments or len(counts) != n_segments:
        raise _wrong_number(page, n_segments)
    if max(ends) > n_bytes:
        raise ValueError(f"the pixels of page {page.index} are cut off")
    return offsets, counts


def _wrong_number(page: Page, n_segments: int) -> ValueError:
    return ValueError(f"page {page.index} has {len(page.dataoffsets)} strips or tiles, not {n_segments}")


def _chunk_shape(keyframe: TiffPage) -> tuple[int, ...]:
    """Shape of a strip or tile within the page's (S, D, Y, X, s) pixels."""
    _, _, length, width, samples = keyframe.shaped
    if keyframe.is_final:
        return keyframe.shaped
    if keyframe.is_tiled:
        return 1, max(keyframe.tiledepth, 1), keyframe.tilelength, keyframe.tilewidth, samples
    return 1, 1, max(1, min(keyframe.rowsperstrip, length)), width, samples


def _in_page(keyframe: TiffPage, region: Region) -> Region:
    """Spell a region of the page's own axes out in tifffile's (S, D, Y, X, s)."""
    slots = {"Z": 1, "Y": 2, "X": 3, "S": 0 if keyframe.shaped[0] > 1 else 4}
    full = [slice(0, size) for size in keyframe.shaped]
    for axis, part in zip(keyframe.axes, region, strict=True):
        full[slots[axis]] = part
    return tuple(full)


def _overlap(region: Region, origin: tuple[int, ...], shape: tuple[int, ...]) -> tuple[Region, Region]:
    """Where the block of `shape` at `origin` and the region meet: within the block, within the region."""
    source, target = [], []
    for part, start, size in zip(region, origin, shape, strict=True):
        low, high = max(part.start, start), min(part.stop, start + size)
        source.append(slice(low - start, high - start))
        target.append(slice(low - part.start, high - part.start))
    return tuple(source), tuple(target)
