"""Whatever an installed reader of bioio opens; bioio is optional and imported only for such a file."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_unet.core.io.axes import UNKNOWN_UNIT, common_unit, unit_symbol
from napari_unet.core.io.damage import Unreadable, readable, shown
from napari_unet.core.io.decoding import check_piece
from napari_unet.core.io.image import Image, Region, make_image
from napari_unet.core.io.names import check_position, image_stem

_FORMATS = "give a TIFF, PNG, JPEG, NumPy, HDF5 or Zarr file"


@dataclass(frozen=True, eq=False)
class BioioPixels:
    """A dask array of bioio's, of which a read computes only the chunks that it needs."""

    path: Path
    array: Any  # of dask
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def __getitem__(self, region: Region, /) -> NDArray[Any]:
        with readable(self.path, place=shown(region)):
            return np.asarray(self.array[region])


def open_bioio(path: Path, axes: str | None = None, position: int | None = None) -> Image:
    """Open a file through bioio.

    Parameters
    ----------
    path
        Whatever a reader is installed for.
    axes
        Names of the dimensions that bioio gives and that are not of size 1, Y and X apart.
    position
        Which scene; None is the first.

    Raises
    ------
    ValueError
        Where bioio or a reader for such a file is not installed, or the file is damaged.
    """
    container = _container(path)
    with readable(path):
        container.set_scene(check_position(position, container.scenes, path.name))
        pixels = container.xarray_dask_data
        kept = pixels.squeeze([d for d in pixels.dims if d not in ("Y", "X") and pixels.sizes[d] == 1])
        stored = "".join(map(str, kept.dims))
        sizes, unit = _sizes(container)
        names = [str(name) for name in container.channel_names or ()] if "S" not in stored else []
        check_piece(path, kept.data.chunksize, np.dtype(kept.dtype))
        lazy = BioioPixels(path, kept.data, kept.shape, np.dtype(kept.dtype))
    return make_image(lazy, axes or stored, sizes, unit, names, image_stem(path))


def bioio_positions(path: Path) -> tuple[str, ...]:
    """Return the names of the scenes."""
    with readable(path):
        scenes = tuple(map(str, _container(path).scenes))
    return scenes if len(scenes) > 1 else ("",)


def bioio_format(path: Path) -> str:
    """Return which reader of bioio opens it."""
    reader = type(_container(path).reader).__module__.split(".")[0]
    return f"{path.suffix.lower().lstrip('.')} (through {reader})"


def _container(path: Path) -> Any:
    suffix = path.suffix.lower() or "no suffix"
    try:
        from bioio import BioImage
        from bioio_base.exceptions import UnsupportedFileFormatError
    except ImportError as error:
        raise Unreadable(
            f"{path} is no image ({suffix}); {_FORMATS}, "
            "or pip install 'napari-unet[bioio]' and a reader of bioio for it"
        ) from error
    with readable(path):
        try:
            return BioImage(path)
        except UnsupportedFileFormatError as error:
            raise Unreadable(
                f"{path} is no image ({suffix}); {_FORMATS}, or install a reader of bioio for it"
            ) from error


def _sizes(container: Any) -> tuple[dict[str, float], str]:
    """Voxel sizes of the axes that have one; where a reader names no unit, bioio means micrometres."""
    properties, found = container.dimension_properties, container.physical_pixel_sizes
    sizes = {
        axis: (float(size), unit_symbol(str(getattr(properties, axis).unit or "µm")))
        for axis in "ZYX"
        if (size := getattr(found, axis)) and size > 0
    }
    return common_unit(sizes) if sizes else ({}, UNKNOWN_UNIT)
