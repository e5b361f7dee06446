"""PNG and JPEG."""

import warnings
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from napari_unet.core.io.damage import Unreadable, readable
from napari_unet.core.io.decoding import check_piece
from napari_unet.core.io.image import ALPHA_DROPPED, Image, Region, make_image
from napari_unet.core.io.names import image_stem

_GREY = {"1": "1", "L": "L", "LA": "L", "La": "L", "I;16": "I;16", "I;16B": "I;16", "I": "I"}
_WITH_ALPHA = ("LA", "La", "PA", "RGBA", "RGBa")
_PNG_GREY_ALPHA = 4
_DTYPES = {"1": np.bool_, "L": np.uint8, "P": np.uint8, "RGB": np.uint8, "I;16": np.uint16, "I": np.int32}


@dataclass(frozen=True, eq=False)
class RasterPixels:
    """Pixels of a PNG or JPEG, decoded whole at the first read: these formats have no smaller piece."""

    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    mode: str  # Pillow's mode to decode to

    @cached_property
    def _decoded(self) -> NDArray[Any]:
        with readable(self.path):
            if self.dtype == np.uint16 and self.mode != "I;16":  # Pillow would halve the depth
                import imagecodecs  # where such a file is touched: the rest does without

                deep = imagecodecs.png_decode(self.path.read_bytes())
                return np.asarray(deep[..., : 3 if self.mode == "RGB" else 1]).reshape(self.shape)
            with _open_picture(self.path) as picture:
                return np.asarray(picture.convert(self.mode) if picture.mode != self.mode else picture)

    def __getitem__(self, region: Region, /) -> NDArray[Any]:
        return self._decoded[region]


def open_raster(path: Path, axes: str | None = None, *, indices: bool = False) -> Image:
    """Open a PNG or JPEG file.

    Parameters
    ----------
    path
        8 or 16 bit, grey, RGB or with a palette. Transparency (alpha) is dropped.
    axes
        Names of the stored dimensions, where they are not YX or YXC.
    indices
        Of a palette, give the indices (labels) rather than the colours.

    Returns
    -------
    Image
        Axes YX, or YXC for colours; the spacing is unknown.

    Raises
    ------
    ValueError
        Where the file is damaged, is something else, or is too large to be decoded whole.
    """
    with readable(path), _open_picture(path) as picture:
        mode = _target_mode(picture, indices=indices)
        size = (picture.height, picture.width)
        has_alpha = picture.mode in _WITH_ALPHA
        depth, colour_type = _png_header(path)
    if depth == 16 and colour_type == _PNG_GREY_ALPHA:
        mode = "L"  # Pillow calls these RGBA
    dtype = np.dtype(np.uint16 if depth == 16 and mode in ("L", "RGB") else _DTYPES[mode])
    shape = (*size, 3) if mode == "RGB" else size
    check_piece(path, shape, dtype, "picture")
    pixels = RasterPixels(path, shape, dtype, mode)
    notes = [f"{image_stem(path)}: {ALPHA_DROPPED}"] * has_alpha
    return make_image(pixels, axes or "YXC"[: len(shape)], {}, "pixel", (), image_stem(path), notes)


def _open_picture(path: Path) -> Pillow.Image:
    """Open without Pillow's warning of many pixels, meant for servers; twice as many it refuses."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Pillow.DecompressionBombWarning)
            return Pillow.open(path)
    except Pillow.DecompressionBombError as error:
        raise Unreadable(
            f"{path.name} has too many pixels to be decoded whole, as PNG and JPEG must be; save it as TIFF"
        ) from error


def _target_mode(picture: Pillow.Image, *, indices: bool) -> str:
    if picture.mode != "P":
        return _GREY.get(picture.mode, "RGB")
    if indices:
        return "P"
    palette = np.array(picture.getpalette("RGB")).reshape(-1, 3)
    return "L" if (palette == palette[:, :1]).all() else "RGB"


def _png_header(path: Path) -> tuple[int, int]:
    """Bits per sample and colour type, zeros where it is no PNG; Pillow hides what it would convert."""
    with open(path, "rb") as file:
        header = file.read(26)
    return (header[24], header[25]) if header[:4] == b"\x89PNG" and len(header) == 26 else (0, 0)
