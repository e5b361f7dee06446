"""NumPy's .npy files, memory-mapped; arrays of Python objects are pickles and never read."""

from pathlib import Path

import numpy as np

from napari_unet.core.io.axes import plain_axes
from napari_unet.core.io.damage import readable
from napari_unet.core.io.image import Image, make_image
from napari_unet.core.io.mapped import MappedPixels
from napari_unet.core.io.names import image_stem


def open_npy(path: Path, axes: str | None = None) -> Image:
    """Open a .npy file without reading its pixels.

    Parameters
    ----------
    path
        Version 1 to 3, in C or Fortran order.
    axes
        Names of the stored dimensions, where they are not YX, ZYX, CZYX or TCZYX.

    Returns
    -------
    Image
        The spacing is unknown.

    Raises
    ------
    ValueError
        Where the file is damaged, cut short, or holds no numbers.
    """
    with readable(path):
        mapped = np.lib.format.open_memmap(path, mode="r")
        order = "C" if mapped.flags.c_contiguous else "F"
        pixels = MappedPixels(path, mapped.offset, mapped.shape, mapped.dtype, order)  # type: ignore[arg-type]
    return make_image(pixels, axes or plain_axes(mapped.shape), {}, "pixel", (), image_stem(path))
