"""How much memory decoding a piece of a file takes: a small file may promise a huge one."""

from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from napari_unet.core.io.damage import Unreadable
from napari_unet.core.memory import available_memory

SHARE = 8
"""A decoded piece may take one part in so many of the free memory: several are held at once."""


def check_piece(path: Path, shape: Sequence[int], dtype: "np.dtype[Any]", piece: str = "chunk") -> None:
    """Refuse a file whose pieces are too large to be decoded here.

    Parameters
    ----------
    path
        For the message.
    shape, dtype
        Of a piece that is decoded as a whole: a chunk, a tile or strip, a picture.
    piece
        What it is called.

    Raises
    ------
    ValueError
        Where it takes more than an eighth of the free memory.
    """
    n_bytes, free = prod(map(int, shape)) * np.dtype(dtype).itemsize, available_memory()
    if n_bytes > free / SHARE:
        raise Unreadable(
            f"{path.name}: one {piece} of {'x'.join(map(str, shape))} pixels takes {n_bytes / 1e9:.3g} GB "
            f"when it is decoded, more than an eighth of the {free / 1e9:.3g} GB that are free; "
            "save the image with smaller chunks or tiles, or use a machine with more memory"
        )
