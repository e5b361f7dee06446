"""From an image in memory to probabilities: in tiles with mirrored borders, in pieces where others wait."""

from collections.abc import Generator, Sequence
from math import prod

import numpy as np
from numpy.typing import NDArray

from napari_unet.core.draining import drain
from napari_unet.core.inference import Predictor
from napari_unet.core.tiling import Region, TileGrid, read_mirrored

QUICK_PIXELS, QUICK_TILE = {2: 832**2, 3: 1_500_000}, {2: 768, 3: 64}
"""While something else waits: pixels that are read at once, and the longest side of a tile of what is larger,
by the number of spatial axes. Either is a fraction of a second on a CPU, or about one second."""


def predict(
    predictor: Predictor, image: NDArray[np.float32], grid: TileGrid | None = None
) -> NDArray[np.float32]:
    """Predict an image that is in memory.

    Borders are mirrored, as in the paper [1]_.

    Parameters
    ----------
    predictor : Predictor
        A network made ready.
    image : ndarray (C, *spatial) of float32
        Normalised.
    grid : TileGrid, optional
        Tiles, from `Predictor.grid`; by default with the exact halo.

    Returns
    -------
    ndarray (n_classes, *spatial) of float32
        Probabilities.

    References
    ----------
    .. [1] Ronneberger, Fischer, Brox, U-Net: Convolutional Networks for Biomedical Image Segmentation, 2015.

    Examples
    --------
    >>> from napari_unet.core.networks.unet import UNet, UNetConfig
    >>> predictor = Predictor(UNet(UNetConfig(width=4, depth=2)))
    >>> predict(predictor, np.zeros((1, 30, 1), np.float32)).shape
    (2, 30, 1)
    """
    grid = predictor.grid(image.shape[1:]) if grid is None else grid
    return drain(predict_in_tiles(predictor, image, grid))


def predict_in_tiles(
    predictor: Predictor, image: NDArray[np.float32], grid: TileGrid, start: Sequence[int] = ()
) -> Generator[None, None, NDArray[np.float32]]:
    """Predict a part of an image and yield between tiles, so that others can work meanwhile.

    Parameters
    ----------
    predictor : Predictor
    image : ndarray (C, *spatial) of float32
    grid : TileGrid
        Tiles of the part.
    start : sequence of int
        First pixel of the part, multiples of the stride; by default that of the image.

    Returns
    -------
    ndarray (n_classes, *grid.shape) of float32
        Probabilities.
    """
    shape = image.shape[1:]
    start = start or (0,) * len(shape)
    result = np.empty((predictor.network.config.n_classes, *grid.shape), np.float32)
    for index, tile in enumerate(grid):
        if index:
            yield
        read = tuple(
            slice(part.start + at, part.stop + at) for part, at in zip(tile.read, start, strict=True)
        )
        block = read_mirrored(lambda region: image[:, *region], read, shape)
        result[:, *tile.write] = predictor.predict_tile(block, tile.crop)
    return result


def predict_part(
    predictor: Predictor, image: NDArray[np.float32], part: Region | None = None
) -> Generator[None, None, NDArray[np.float32]]:
    """Predict a part of an image in tiles that take a fraction of a second each on a CPU.

    Tiles have the exact halo, so that no seam shows; an image that is one tile has one stride of mirrored
    border, which is quicker.

    Parameters
    ----------
    predictor : Predictor
    image : ndarray (C, *spatial) of float32
    part : tuple of slice, optional
        By default the whole image.

    Returns
    -------
    ndarray (n_classes, *part) of float32
        Probabilities.

    Examples
    --------
    >>> from napari_unet.core.networks.unet import UNet, UNetConfig
    >>> predictor = Predictor(UNet(UNetConfig(width=4, depth=2)))
    >>> drain(predict_part(predictor, np.zeros((1, 30, 50), np.float32), (slice(3, 20), slice(0, 50)))).shape
    (2, 17, 50)
    """
    shape, stride = image.shape[1:], predictor.network.stride
    whole = predictor.grid(shape, stride)
    if len(whole) == 1 and prod(whole.read_shape) <= QUICK_PIXELS[len(shape)]:
        probabilities = yield from predict_in_tiles(predictor, image, whole)
        return probabilities if part is None else probabilities[:, *part]
    part = tuple(slice(0, size) for size in shape) if part is None else part
    start = [at.start // step * step for at, step in zip(part, stride, strict=True)]
    sizes = [at.stop - first for at, first in zip(part, start, strict=True)]
    grid = predictor.grid(sizes, tile=QUICK_TILE[len(shape)])
    probabilities = yield from predict_in_tiles(predictor, image, grid, start)
    inner = tuple(slice(at.start - first, None) for at, first in zip(part, start, strict=True))
    return probabilities[:, *inner]
