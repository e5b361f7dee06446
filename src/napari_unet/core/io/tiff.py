"""TIFF, BigTIFF, OME-TIFF, ImageJ hyperstacks and LSM, read only where a region needs it."""

import math
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from logging import LogRecord, getLogger
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray
from tifffile import TiffFile, TiffPageSeries

from napari_unet.core.io.axes import AXES
from napari_unet.core.io.damage import readable
from napari_unet.core.io.decoding import check_piece
from napari_unet.core.io.image import ALPHA_DROPPED, ChannelView, Image, LazyArray, Region, make_image
from napari_unet.core.io.mapped import MappedPixels
from napari_unet.core.io.names import TIFF_SUFFIXES, check_position, image_stem
from napari_unet.core.io.ngff import PROVENANCE, STATED_AXES
from napari_unet.core.io.singletons import SingletonView
from napari_unet.core.io.tiff_metadata import known_axes, read_metadata
from napari_unet.core.io.tiff_pixels import PagedTiff, lone_keyframe, read_segments

_CUT_DESCRIPTION = re.compile(r"TiffTag 270 .*invalid value offset")
_SEVERAL = frozenset({"ome", "shaped", "generic"})  # elsewhere further series are thumbnails and labels
_ALPHA = (1, 2)  # TIFF 6.0, tag ExtraSamples: multiplied into the colours, or not
_messages: ContextVar[list[str] | None] = ContextVar("messages of tifffile about the file being read")
_KINDS = {"ome": "OME-TIFF", "imagej": "ImageJ TIFF", "lsm": "LSM"}


@dataclass(frozen=True, eq=False)
class PositionView:
    """One position of an array that has all of them along an axis."""

    data: LazyArray
    axis: int
    position: int

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one position."""
        return (*self.data.shape[: self.axis], *self.data.shape[self.axis + 1 :])

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of all."""
        return self.data.dtype

    def __getitem__(self, region: Region, /) -> NDArray[Any]:
        one = slice(self.position, self.position + 1)
        block = np.asarray(self.data[(*region[: self.axis], one, *region[self.axis :])])
        return block.squeeze(self.axis)


def open_tiff(path: Path, axes: str | None = None, position: int | None = None) -> Image:
    """Open a TIFF file without reading its pixels.

    Parameters
    ----------
    path
        TIFF, BigTIFF, OME-TIFF (of several files too), ImageJ hyperstack, LSM; of a pyramid the finest level.
    axes
        Names of the stored dimensions, where the file's own are wrong or missing.
    position
        Which series of the file; None is the first.

    Returns
    -------
    Image
        With axes, spacing, unit and channel names from OME-XML, ImageJ's, Zeiss' or tifffile's metadata; the
        pages of a TIFF without any are Z.

    Raises
    ------
    ValueError
        Where the file is no TIFF, is damaged or cut short, or names files outside its folder.
    """
    chosen = check_position(position, tiff_positions(path) if position else ("",), path.name)
    with _opened(path) as tif:
        series = tif.series[0 if _position_axis(tif) else chosen]
        data, raw_axes = _lazy_pixels(tif, series, path), series.axes
        metadata = read_metadata(tif, series, image_stem(path))
        if axis := _position_axis(tif):
            data, raw_axes = PositionView(data, raw_axes.index(axis), chosen), raw_axes.replace(axis, "")
        elif stated := _stated_axes(tif, raw_axes):
            data, raw_axes = SingletonView(data, raw_axes, stated), stated
        alpha, is_ignored = _alpha(series), bool(series.keyframe.is_shaped) and not tif.is_shaped
    axes = axes or known_axes(raw_axes, data.shape, path.name)
    name, notes, samples = image_stem(path), metadata.notes, raw_axes.find("S")
    if is_ignored:
        notes = (*notes, f"{name}: what tifffile noted of its shape and axes cannot be used and is ignored")
    if alpha and samples >= 0 and data.shape[samples] > 1:
        data = ChannelView(data, samples, tuple(range(data.shape[samples] - 1)))
        notes = (*notes, f"{name}: {ALPHA_DROPPED}")
    return make_image(data, axes, metadata.sizes, metadata.unit, metadata.channels, name, notes)


def _alpha(series: TiffPageSeries) -> bool:
    """Whether the last sample of a pixel is its opacity, which is no channel of the image."""
    extra = series.keyframe.extrasamples
    return bool(extra) and int(extra[-1]) in _ALPHA


def _stated_axes(tif: TiffFile, axes: str) -> str:
    """Return the axes that a result of ours says it has, with those of size 1; "" where it says none."""
    if PROVENANCE not in (tif.ome_metadata or ""):
        return ""
    entries = f".//{{*}}MapAnnotation[@Namespace='{PROVENANCE}']//{{*}}M[@K='{STATED_AXES}']"
    try:
        found = ElementTree.fromstring(tif.ome_metadata or "").find(entries)
    except ElementTree.ParseError:  # tifffile does without such metadata too
        return ""
    stated = "" if found is None else found.text or ""
    is_more = stated != axes and "".join(axis for axis in stated if axis in axes) == axes
    return stated if is_more and set(stated) <= set(AXES) and len(set(stated)) == len(stated) else ""


def tiff_positions(path: Path) -> tuple[str, ...]:
    """Return the names of the series that a TIFF holds."""
    with _opened(path) as tif:
        series = tif.series
        if axis := _position_axis(tif):
            return tuple(map(str, range(series[0].shape[series[0].axes.index(axis)])))
        if len(series) == 1 or series[0].kind not in _SEVERAL:
            return ("",)
        return tuple(one.name or str(i) for i, one in enumerate(series))


def tiff_format(path: Path) -> str:
    """Return what kind of TIFF it is."""
    with _opened(path) as tif:
        kind = _KINDS.get(tif.series[0].kind, "TIFF")
        return f"{kind} (BigTIFF)" if tif.is_bigtiff else kind


def companions(path: Path) -> list[Path]:
    """Return the file and, of an OME-TIFF of several files, the others that it names and that are there."""
    with _opened(path) as tif:
        others = [path.parent / name for name in _named_files(tif)]
    return sorted({path, *(other for other in others if other.is_file())})  # itself, if it was renamed


def read_info(path: Path) -> str:
    """Return the text that a TIFF keeps beside its pixels as ImageJ does; "" where it is none or has none."""
    if path.suffix.lower() not in TIFF_SUFFIXES or not path.is_file():
        return ""
    with _opened(path) as tif:
        metadata = tif.imagej_metadata or next(iter(tif.shaped_metadata or ()), {})
        return str(metadata.get("Info", ""))


def _position_axis(tif: TiffFile) -> str:
    """Return the axis of positions: P of Zeiss' LSM, R of Micro-Manager; "" where there is none."""
    return next((axis for axis in "PR" if axis in tif.series[0].axes), "")


@contextmanager
def _opened(path: Path) -> Iterator[TiffFile]:
    with readable(path), _unlogged(), ExitStack() as files:
        tif = files.enter_context(TiffFile(path))
        _refuse_foreign_files(tif, path)
        yield files.enter_context(TiffFile(path, is_shaped=False)) if _misleads(tif) else tif


def _misleads(tif: TiffFile) -> bool:
    """Tell whether tifffile's own JSON in a file keeps it from seeing the pages: nobody needs that JSON."""
    if not tif.is_shaped:
        return False
    try:
        return not all(isinstance(series.axes, str) for series in tif.series)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        return True


def _lazy_pixels(tif: TiffFile, series: TiffPageSeries, path: Path) -> LazyArray:
    if not _ends_properly(tif):
        raise ValueError("its list of pages breaks off")
    if series.transform is not None or series.dtype.kind not in "buif":
        raise ValueError(f"{series.kind} pixels of type {series.dtype} are not supported")
    if series.dataoffset is not None and not series.is_multifile:
        if series.dataoffset + series.nbytes > path.stat().st_size:
            raise ValueError("its pixels are cut off")
        return MappedPixels(path, series.dataoffset, series.shape, series.dtype.newbyteorder(tif.byteorder))
    pages = [page for page in series if page is not None]
    if len(pages) < len(series) or math.prod(series.shape) != len(pages) * math.prod(series.keyframe.shape):
        raise ValueError(f"only {len(pages)} of its planes are there")
    if not series.keyframe.is_final:  # else nothing is decoded
        check_piece(
            path, series.keyframe.chunks, series.dtype, "tile" if series.keyframe.is_tiled else "strip"
        )
    return PagedTiff(series.shape, series.dtype, lone_keyframe(pages[0]), read_segments(pages))


def _ends_properly(tif: TiffFile) -> bool:
    """Whether the chain of pages ends in 0, as it does in every complete TIFF; tifffile only logs it."""
    len(tif.pages)  # walks the chain
    tif.filehandle.seek(tif.pages.next_page_offset or 0)
    pointer = tif.filehandle.read(tif.tiff.offsetsize)
    return pointer == bytes(tif.tiff.offsetsize)


def _refuse_foreign_files(tif: TiffFile, path: Path) -> None:
    """OME-XML may name other files: none outside the folder is opened."""
    folder = path.parent.resolve()
    for name in _named_files(tif):
        if not (folder / name).resolve().is_relative_to(folder):
            raise ValueError(f"its metadata names {name!r}, outside its folder")


def _named_files(tif: TiffFile) -> set[str]:
    if not tif.is_ome or tif.ome_metadata is None:
        return set()
    try:
        root = ElementTree.fromstring(tif.ome_metadata)
    except ElementTree.ParseError:  # tifffile does without such metadata too
        return set()
    return {name for element in root.iter() if (name := element.get("FileName")) is not None}


@contextmanager
def _unlogged() -> Iterator[None]:
    """Raise what tifffile would only log: a description that is cut off, and with it axes and spacing."""
    messages: list[str] = []
    before = _messages.set(messages)  # of this thread only: others read other files
    try:
        yield
    finally:
        _messages.reset(before)
    if any(_CUT_DESCRIPTION.search(message) for message in messages):
        raise ValueError("its description is cut off")


def _collect(record: LogRecord) -> bool:
    messages = _messages.get(None)
    if messages is None:
        return True
    messages.append(record.getMessage())
    return False


# once and for good: removing a filter while another thread logs makes its record skip the next one
getLogger("tifffile").addFilter(_collect)
