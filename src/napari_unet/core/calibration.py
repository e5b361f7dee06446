"""The smallest halo that suffices, measured on samples of the very image that is to be segmented."""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from functools import partial
from math import prod

import numpy as np
from numpy.typing import NDArray

from napari_unet.core.inference import Predictor
from napari_unet.core.normalise import sample_regions
from napari_unet.core.tiling import Region, Shape, TileGrid, read_mirrored, round_up

Read = Callable[[Region], NDArray[np.float32]]

TOLERANCE = 0.02  # largest difference of a probability from the one with the exact halo
N_CANDIDATES, N_SAMPLES = 16, 4  # windows that are read, and those with most contrast that are predicted
CORE_SIDE = {2: 128, 3: 32}


def choose_grid(
    predictor: Predictor,
    read: Read,
    shape: Sequence[int],
    *,
    halo: str | int = "auto",
    tile: int | None = None,
) -> TileGrid:
    """Decide halo and tiles, once for an image or stack.

    Parameters
    ----------
    predictor : Predictor
        A network made ready.
    read : callable
        Takes one slice per axis of ``shape``, those before the spatial axes one pixel long, and returns
        normalised pixels (C, *spatial).
    shape : sequence of int
        Shape of the image without channels; may have axes that are not the network's before the spatial ones.
    halo : {"auto", "exact"} or int
        "exact" makes tiled equal untiled; a number of pixels is rounded up to the stride, and more than the
        exact halo is never used; "auto" measures the smallest that changes no sampled probability by more
        than 0.02, where this costs less than it saves, and is exact elsewhere.
    tile : int, optional
        Largest side of a tile; by default as large as the memory allows.

    Returns
    -------
    TileGrid
        Tiles of the spatial axes.

    Raises
    ------
    ValueError
        If the halo is none of these or the tile is not positive.

    Examples
    --------
    >>> from napari_unet.core.networks.unet import UNet, UNetConfig
    >>> predictor = Predictor(UNet(UNetConfig(width=4, depth=2)))
    >>> image = np.zeros((1, 50, 64, 64), np.float32)
    >>> choose_grid(predictor, lambda region: image[:, region[0].start, *region[1:]], (50, 64, 64)).halo
    (24, 24)
    """
    check_tiling(halo, tile)
    ndim = predictor.network.config.ndim
    spatial_shape, n_planes = tuple(shape[-ndim:]), prod(shape[:-ndim])
    grids = [predictor.grid(spatial_shape, each, tile) for each in _candidates(predictor, halo)]
    if len(grids) == 1:
        return grids[0]
    core_shape = tuple(round_up(CORE_SIDE[ndim], step) for step in predictor.network.stride)
    cost = 3 * N_SAMPLES * prod(predictor.read_shape(core_shape, predictor.exact_halo))
    saved = n_planes * (_work(grids[-1]) - _work(grids[len(grids) // 2]))
    if saved < 2 * cost:
        return grids[-1]
    blocks = _sample_blocks(predictor, read, shape, core_shape)
    if not any(np.ptp(block) for block in blocks):  # blank windows tell nothing of what lies elsewhere
        return grids[-1]
    best = calibrate_halo(predictor, blocks, core_shape, [grid.halo for grid in grids])
    return next(grid for grid in grids if grid.halo == best)


def check_tiling(halo: str | int, tile: int | None) -> None:
    """Raise ValueError if the halo is neither "auto", "exact" nor a size, or the tile is empty."""
    if halo not in ("auto", "exact") and (isinstance(halo, str) or halo < 0):
        raise ValueError(f"halo is {halo!r}: choose auto, exact or a number of pixels")
    if tile is not None and tile < 1:
        raise ValueError(f"tile is {tile}: give a number of pixels from 1")


def calibrate_halo(
    predictor: Predictor, blocks: Sequence[NDArray[np.float32]], core_shape: Shape, halos: Sequence[Shape]
) -> Shape:
    """Return the smallest halo that is as good as the last within the tolerance, on every block.

    Parameters
    ----------
    predictor : Predictor
        A network made ready.
    blocks : sequence of ndarray (C, *read)
        Normalised pixels: the core with the last halo and the margin on each side.
    core_shape : tuple of int
        What is compared; multiples of the stride.
    halos : sequence of tuple of int
        In ascending order; the last one is the exact halo.

    Returns
    -------
    tuple of int
        One of ``halos``.
    """
    exact = halos[-1]
    references = [predictor.predict_tile(block, _middle(core_shape, exact)) for block in blocks]

    def suffices(halo: Shape) -> bool:
        lost = [most - some for most, some in zip(exact, halo, strict=True)]
        part, kept = _middle(predictor.read_shape(core_shape, halo), lost), _middle(core_shape, halo)
        return all(
            np.abs(predictor.predict_tile(block[:, *part], kept) - reference).max() <= TOLERANCE
            for block, reference in zip(blocks, references, strict=True)
        )

    # more halo is never worse, so that half of the candidates can be left out at each step
    return halos[bisect_left(halos, True, hi=len(halos) - 1, key=suffices)]


def _candidates(predictor: Predictor, halo: str | int) -> list[Shape]:
    exact, stride = predictor.exact_halo, predictor.network.stride
    if halo == "exact":
        return [exact]
    if halo == "auto":
        n_steps = max(-(-most // step) for most, step in zip(exact, stride, strict=True))
        return [
            tuple(min(n * step, most) for most, step in zip(exact, stride, strict=True))
            for n in range(1, n_steps)
        ] + [exact]
    return [tuple(min(round_up(int(halo), step), most) for most, step in zip(exact, stride, strict=True))]


def _work(grid: TileGrid) -> int:
    return len(grid) * prod(grid.read_shape)


def _middle(shape: Sequence[int], start: Sequence[int]) -> Region:
    return tuple(slice(at, at + size) for at, size in zip(start, shape, strict=True))


def _sample_blocks(
    predictor: Predictor, read: Read, shape: Sequence[int], core_shape: Shape
) -> list[NDArray[np.float32]]:
    """Read what has most contrast among seeded windows: blank ones would promise too much."""
    ndim = len(core_shape)
    before = [halo + lost for halo, lost in zip(predictor.exact_halo, predictor.network.margin, strict=True)]
    read_shape = predictor.read_shape(core_shape, predictor.exact_halo)
    blocks = []
    for region in sample_regions(shape, core_shape, N_CANDIDATES):
        corner = [part.start for part in region]
        plane = tuple(slice(at, at + 1) for at in corner[:-ndim])
        window = _middle(read_shape, [at - each for at, each in zip(corner[-ndim:], before, strict=True)])
        blocks.append(read_mirrored(partial(_read_plane, read, plane), window, shape[-ndim:]))
    return sorted(blocks, key=lambda block: float(block.std()))[-N_SAMPLES:]


def _read_plane(read: Read, plane: Region, region: Region) -> NDArray[np.float32]:
    return read((*plane, *region))
