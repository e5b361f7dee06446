"""TIFF, BigTIFF, OME-TIFF and ImageJ hyperstacks, read only where a region needs it."""

import itertools
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from logging import LogRecord, getLogger
from pathlib import Path
from typing import Any, BinaryIO
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray
from tifffile import TiffFile, TiffFrame, TiffPage, TiffPageSeries

from napari_unet.core.io.damage import readable
from napari_unet.core.io.image import Image, LazyArray, Region, make_image
from napari_unet.core.io.names import TIFF_SUFFIXES, image_stem
from napari_unet.core.io.tiff_metadata import known_axes, read_metadata

_CUT_DESCRIPTION = re.compile(r"TiffTag 270 .*invalid value offset")


@dataclass(frozen=True, eq=False)
class ContiguousTiff:
    """Pixels in one uncompressed run, mapped for the time of a read only, so that memory stays flat."""

    path: Path
    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]  # in the file's byte order

    def __getitem__(self, region: Region, /) -> NDArray[Any]:
        with readable(self.path):
            pixels = np.memmap(self.path, self.dtype, "r", self.offset, self.shape)
        return np.array(pixels[region])


@dataclass(frozen=True, eq=False)
class PagedTiff:
    """Pages of strips or tiles, each decoded only where a region needs it."""

    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    pages: tuple[TiffPage | TiffFrame, ...]

    @cached_property
    def _keyframe(self) -> TiffPage:
        keyframe = self.pages[0].keyframe
        assert keyframe is not None  # tifffile's own invariant for loaded pages
        return keyframe

    def __getitem__(self, region: Region, /) -> NDArray[Any]:
        n_leading = len(self.shape) - len(self._keyframe.shape)
        leading = [range(self.shape[i])[region[i]] for i in range(n_leading)]
        inside = _in_page(self._keyframe, region[n_leading:])
        shape = tuple(part.stop - part.start for part in inside)  # S, D, Y, X, s
        out = np.zeros((*map(len, leading), *shape), self.dtype)
        for target, source in zip(
            np.ndindex(out.shape[:n_leading]), itertools.product(*leading), strict=True
        ):
            page = int(np.ravel_multi_index(source, self.shape[:n_leading])) if source else 0
            self._paste(self.pages[page], inside, out[target])
        kept = [part.stop - part.start for part in region[n_leading:]]
        return out.reshape(*map(len, leading), *kept)

    def _paste(self, page: TiffPage | TiffFrame, region: Region, out: NDArray[Any]) -> None:
        """Decode the segments that touch `region` of the page's (S, D, Y, X, s) pixels into `out`."""
        if 0 in out.shape:
            return
        chunk = _chunk_shape(self._keyframe)
        counts = _segment_counts(self._keyframe)
        touched = [range(p.start // c, -(-p.stop // c)) for p, c in zip(region, chunk, strict=True)]
        with readable(self.path), open(page.parent.filehandle.path, "rb") as file:
            for place in itertools.product(*touched):
                segment = _decode(file, page, int(np.ravel_multi_index(place, counts)))
                if segment is None:  # a sparse file: never written means 0
                    continue
                origin = tuple(p * c for p, c in zip(place, chunk, strict=True))
                source, target = _overlap(region, origin, segment.shape)
                out[target] = segment[source]


def open_tiff(path: Path, axes: str | None = None) -> Image:
    """Open a TIFF file without reading its pixels.

    Parameters
    ----------
    path
        TIFF, BigTIFF, OME-TIFF (of several files too), ImageJ hyperstack, LSM; of a pyramid the finest level.
    axes
        Names of the stored dimensions, where the file's own are wrong or missing.

    Returns
    -------
    Image
        With axes, spacing, unit and channel names from OME-XML, ImageJ's or tifffile's metadata; the pages of
        a TIFF without any are Z.

    Raises
    ------
    ValueError
        Where the file is no TIFF, is damaged or cut short, or names files outside its folder.
    """
    with readable(path), _unlogged(), TiffFile(path) as tif:
        _refuse_foreign_files(tif, path)
        series = tif.series[0]
        data = _lazy_pixels(tif, series, path)
        metadata = read_metadata(tif, series)
        raw_axes = series.axes
    axes = axes or known_axes(raw_axes, data.shape, path.name)
    return make_image(data, axes, metadata.sizes, metadata.unit, metadata.channels, image_stem(path))


def read_info(path: Path) -> str:
    """Return the text that a TIFF keeps beside its pixels as ImageJ does; "" where it is none or has none."""
    if path.suffix.lower() not in TIFF_SUFFIXES or not path.is_file():
        return ""
    with readable(path), _unlogged(), TiffFile(path) as tif:
        metadata = tif.imagej_metadata or next(iter(tif.shaped_metadata or ()), {})
        return str(metadata.get("Info", ""))


def _lazy_pixels(tif: TiffFile, series: TiffPageSeries, path: Path) -> LazyArray:
    if not _ends_properly(tif):
        raise ValueError("its list of pages breaks off")
    if series.transform is not None or series.dtype.kind not in "buif":
        raise ValueError(f"{series.kind} pixels of type {series.dtype} are not supported")
    if series.dataoffset is not None and not series.is_multifile:
        if series.dataoffset + series.nbytes > path.stat().st_size:
            raise ValueError("its pixels are cut off")
        return ContiguousTiff(path, series.dataoffset, series.shape, series.dtype.newbyteorder(tif.byteorder))
    pages = tuple(page for page in series if page is not None)
    if len(pages) < len(series) or math.prod(series.shape) != len(pages) * math.prod(series.keyframe.shape):
        raise ValueError(f"only {len(pages)} of its planes are there")
    for page in pages:
        _check_segments(page)
    return PagedTiff(path, series.shape, series.dtype, pages)


def _check_segments(page: TiffPage | TiffFrame) -> None:
    assert page.keyframe is not None  # tifffile's own invariant for loaded pages
    n_segments = math.prod(_segment_counts(page.keyframe))
    if len(page.dataoffsets) != n_segments or len(page.databytecounts) != n_segments:
        raise ValueError(f"page {page.index} has {len(page.dataoffsets)} strips or tiles, not {n_segments}")
    size = Path(page.parent.filehandle.path).stat().st_size
    if max(map(sum, zip(page.dataoffsets, page.databytecounts, strict=True))) > size:
        raise ValueError(f"the pixels of page {page.index} are cut off")


def _ends_properly(tif: TiffFile) -> bool:
    """Whether the chain of pages ends in 0, as it does in every complete TIFF; tifffile only logs it."""
    len(tif.pages)  # walks the chain
    tif.filehandle.seek(tif.pages.next_page_offset or 0)
    pointer = tif.filehandle.read(tif.tiff.offsetsize)
    return pointer == bytes(tif.tiff.offsetsize)


def _refuse_foreign_files(tif: TiffFile, path: Path) -> None:
    """OME-XML may name other files: none outside the folder is opened."""
    if not tif.is_ome or tif.ome_metadata is None:
        return
    folder = path.parent.resolve()
    try:
        root = ElementTree.fromstring(tif.ome_metadata)
    except ElementTree.ParseError:  # tifffile does without such metadata too
        return
    for element in root.iter():
        name = element.get("FileName")
        if name is not None and not (folder / name).resolve().is_relative_to(folder):
            raise ValueError(f"its metadata names {name!r}, outside its folder")


def _chunk_shape(keyframe: TiffPage) -> tuple[int, ...]:
    """Shape of a strip or tile within the page's (S, D, Y, X, s) pixels."""
    _, _, length, width, samples = keyframe.shaped
    if keyframe.is_final:
        return keyframe.shaped
    if keyframe.is_tiled:
        return 1, max(keyframe.tiledepth, 1), keyframe.tilelength, keyframe.tilewidth, samples
    return 1, 1, max(1, min(keyframe.rowsperstrip, length)), width, samples


def _segment_counts(keyframe: TiffPage) -> tuple[int, ...]:
    chunk = _chunk_shape(keyframe)
    return tuple(-(-size // step) for size, step in zip(keyframe.shaped, chunk, strict=True))


def _in_page(keyframe: TiffPage, region: Region) -> Region:
    """Spell a region of the page's own axes out in tifffile's (S, D, Y, X, s)."""
    slots = {"Z": 1, "Y": 2, "X": 3, "S": 0 if keyframe.shaped[0] > 1 else 4}
    full = [slice(0, size) for size in keyframe.shaped]
    for axis, part in zip(keyframe.axes, region, strict=True):
        full[slots[axis]] = part
    return tuple(full)


def _decode(file: BinaryIO, page: TiffPage | TiffFrame, index: int) -> NDArray[Any] | None:
    """Return one segment as (1, D, Y, X, s)."""
    keyframe = page.keyframe
    assert keyframe is not None  # tifffile's own invariant for loaded pages
    offset, n_bytes = page.dataoffsets[index], page.databytecounts[index]
    if not offset or not n_bytes:
        return None
    if keyframe.is_final:  # nothing to decode: mapped, so that a region reads no more than itself
        dtype = np.dtype(keyframe.dtype).newbyteorder(keyframe.parent.byteorder)
        return np.memmap(file, dtype, "r", offset, keyframe.shaped)
    file.seek(offset)
    stored = file.read(n_bytes)
    if len(stored) < n_bytes:
        raise ValueError(f"page {page.index} is cut off")
    tables = {"jpegtables": page.jpegtables, "jpegheader": keyframe.jpegheader}
    segment, _, _ = keyframe.decode(stored, index, **tables)
    return None if segment is None else segment[np.newaxis]


def _overlap(region: Region, origin: tuple[int, ...], shape: tuple[int, ...]) -> tuple[Region, Region]:
    """Where the block of `shape` at `origin` and the region meet: within the block, within the region."""
    source, target = [], []
    for part, start, size in zip(region, origin, shape, strict=True):
        low, high = max(part.start, start), min(part.stop, start + size)
        source.append(slice(low - start, high - start))
        target.append(slice(low - part.start, high - part.start))
    return tuple(source), tuple(target)


@contextmanager
def _unlogged() -> Iterator[None]:
    """Raise what tifffile would only log: a description that is cut off, and with it axes and spacing."""
    messages: list[str] = []

    def collect(record: LogRecord) -> bool:
        messages.append(record.getMessage())
        return False

    logger = getLogger("tifffile")
    logger.addFilter(collect)
    try:
        yield
    finally:
        logger.removeFilter(collect)
    if any(_CUT_DESCRIPTION.search(message) for message in messages):
        raise ValueError("its description is cut off")
