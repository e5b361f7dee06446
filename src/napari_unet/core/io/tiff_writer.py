"""TIFF, ImageJ TIFF, BigTIFF and OME-TIFF, written region by region into place."""

import errno
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_unet.core.io.damage import readable
from napari_unet.core.io.disk import sync_file
from napari_unet.core.io.image import Region
from napari_unet.core.io.layout import Layout, stored
from napari_unet.core.io.ngff import PROVENANCE, STATED_AXES

_IMAGEJ_DTYPES = (np.uint8, np.uint16, np.float32)
_IMAGEJ_LIMIT = 2**32 - 2**25  # beyond it the offsets need BigTIFF, which ImageJ's own reader does not know
_OME_DTYPES = "uint8 uint16 uint32 int8 int16 int32 float32 float64"
_OME_UNITS = ("pm", "Å", "nm", "µm", "mm", "cm", "m", "pixel")
_BLOCK = 2**22


@dataclass(frozen=True)
class TiffSink:
    """Uncompressed pixels in one run of the file, mapped only for a write; synced as a `ZarrSink` is."""

    path: Path
    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    is_synced: bool = False

    @property
    def levels(self) -> tuple[int, ...]:
        """None but the finest: coarser ones would cost their disk space before they are known."""
        return ()

    def write(self, region: Region, array: NDArray[Any]) -> None:
        """Store `array` at `region`."""
        pixels = np.memmap(self.path, self.dtype, "r+", self.offset, self.shape)
        pixels[region] = stored(array, self.dtype.newbyteorder("="))
        if self.is_synced:
            pixels.flush()
            sync_file(self.path)

    def read(self, region: Region) -> NDArray[Any]:
        """Return a copy of `region`."""
        pixels = np.memmap(self.path, self.dtype, "r", self.offset, self.shape)
        return np.array(pixels[region], self.dtype.newbyteorder("="))

    def reduce(self, level: int, task: int) -> None:
        """There is nothing to make."""
        raise IndexError(f"a TIFF has no level {level} with a block {task}")


def check_ome(layout: Layout) -> None:
    """Raise ValueError where an OME-TIFF cannot store the type."""
    if layout.dtype.name not in _OME_DTYPES.split():
        raise ValueError(f"OME-TIFF cannot store {layout.dtype}; choose .tif or .ome.zarr")


def create_tiff(path: Path, layout: Layout, *, ome: bool) -> TiffSink:
    """Write all of a TIFF but its pixels, which read as 0, and take the disk space for them."""
    if ome:
        check_ome(layout)
    imagej = not ome and _suits_imagej(layout)
    metadata = _imagej(layout) if imagej else _ome(layout) if ome else _shaped(layout)
    offset, n_bytes = tifffile.imwrite(  # type: ignore[misc]  # None only without returnoffset
        path,
        shape=layout.shape,
        dtype=layout.dtype,
        byteorder="<",
        imagej=imagej,
        ome=ome,
        photometric="minisblack",
        metadata={"axes": layout.axes, **metadata},
        resolution=(1 / layout.sizes["X"], 1 / layout.sizes["Y"]),
        resolutionunit="NONE",
        returnoffset=True,
    )
    _allocate(path, offset, n_bytes)
    return TiffSink(path, offset, layout.shape, layout.dtype.newbyteorder("<"))


def open_tiff_result(path: Path, layout: Layout) -> TiffSink:
    """Open for writing what `create_tiff` has made; ValueError where it is another."""
    with readable(path), tifffile.TiffFile(path) as tif:
        series = tif.series[0]
        # axes of size 1 are not in every kind of metadata
        offset, there = series.dataoffset, (_squeezed(series.shape), series.dtype)
        ends = (offset or 0) + layout.n_bytes
    if offset is None or there != (_squeezed(layout.shape), layout.dtype) or path.stat().st_size < ends:
        raise ValueError(f"{path} is another result or not whole; remove it and start anew")
    return TiffSink(path, offset, layout.shape, layout.dtype.newbyteorder("<"), is_synced=True)


def _squeezed(shape: Sequence[int]) -> tuple[int, ...]:
    return tuple(size for size in shape if size != 1)


def _suits_imagej(layout: Layout) -> bool:
    """Whether ImageJ's metadata can say it all; it forgets axes of size 1, and tifffile an X of 1."""
    sizes = dict(zip(layout.axes, layout.shape, strict=True))
    thin = any(size == 1 for axis, size in sizes.items() if axis != "Y")
    z_before_c = {"C", "Z"} <= sizes.keys()  # ImageJ's order; ours is C first
    fits = layout.dtype in _IMAGEJ_DTYPES and layout.n_bytes < _IMAGEJ_LIMIT
    return fits and not thin and not z_before_c


def _imagej(layout: Layout) -> dict[str, Any]:
    # ImageJ's description is ASCII, and "micron" is its own word
    metadata: dict[str, Any] = {
        "unit": "micron" if layout.unit == "µm" else layout.unit.replace("Å", "angstrom")
    }
    if "Z" in layout.sizes:
        metadata["spacing"] = layout.sizes["Z"]
    if any(layout.channels) and layout.n_channels > 1:
        planes = layout.shape[: -len("YX")]
        metadata["Labels"] = list(layout.channels) * (int(np.prod(planes)) // layout.n_channels)
    return metadata | _info(layout)


def _shaped(layout: Layout) -> dict[str, Any]:
    metadata = {"spacing": list(layout.spacing), "unit": layout.unit, "channels": list(layout.channels)}
    return metadata | _info(layout)


def _info(layout: Layout) -> dict[str, Any]:
    """Return the text that ImageJ shows: what the layout brings, else where the result comes from."""
    text = layout.info or (json.dumps({PROVENANCE: layout.provenance}) if layout.provenance else "")
    return {"Info": text} if text else {}


def _ome(layout: Layout) -> dict[str, Any]:
    unit = layout.unit if layout.unit in _OME_UNITS else "reference frame"
    metadata: dict[str, Any] = {}
    for axis, size in layout.sizes.items():
        metadata |= {f"PhysicalSize{axis}": size, f"PhysicalSize{axis}Unit": unit}
    if any(layout.channels):
        metadata["Channel"] = {"Name": list(layout.channels)}
    values = {
        key: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for key, value in layout.provenance.items()
    }
    # OME has all of TCZYX; which of those of size 1 are meant, only this says
    metadata["MapAnnotation"] = {"Namespace": PROVENANCE, "Value": {**values, STATED_AXES: layout.axes}}
    # tifffile's default is random, and the same run shall give the same bytes
    return metadata | {"UUID": str(uuid5(NAMESPACE_URL, f"napari-unet:{layout}"))}


def _allocate(path: Path, offset: int, n_bytes: int) -> None:
    """Claim the disk space now: a full disk under a memory map would kill the process."""
    with open(path, "r+b") as file:
        if hasattr(os, "posix_fallocate"):
            try:
                os.posix_fallocate(file.fileno(), offset, n_bytes)
                return
            except OSError as error:
                if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                    raise
        file.seek(offset)
        for start in range(0, n_bytes, _BLOCK):
            file.write(bytes(min(_BLOCK, n_bytes - start)))
