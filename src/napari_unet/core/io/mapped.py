"""Pixels that lie in a file as they are in memory."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from napari_unet.core.io.damage import readable
from napari_unet.core.io.image import Region


@dataclass(frozen=True, eq=False)
class MappedPixels:
    """Pixels in one uncompressed run, mapped for the time of a read only, so that memory stays flat."""

    path: Path
    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]  # in the file's byte order
    order: Literal["C", "F"] = "C"

    def __getitem__(self, region: Region, /) -> NDArray[Any]:
        with readable(self.path):
            pixels = np.memmap(self.path, self.dtype, "r", self.offset, self.shape, self.order)
        return np.array(pixels[region])
