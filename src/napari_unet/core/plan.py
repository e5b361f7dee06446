"""What is decided once for a whole stack: tiles, intensities, precision, and the blocks that they make."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from math import prod
from typing import Any, Self, get_type_hints

import numpy as np
import torch
from numpy.typing import NDArray

from napari_unet.core.calibration import choose_grid
from napari_unet.core.decoding import decode_fields
from napari_unet.core.examples import image_intensity
from napari_unet.core.inference import Predictor
from napari_unet.core.io import Image
from napari_unet.core.layouts import SegmentConfig, result_layout, seen_image
from napari_unet.core.modelfile import Model
from napari_unet.core.normalise import Intensity, normalise
from napari_unet.core.results import ResultLayout
from napari_unet.core.tiling import Region, Shape, Tile, TileGrid

FEW_TILES = 250_000
"""A stack of more tiles is worked through in blocks of several planes: fewer files for more memory."""
MOST_PLANES, MOST_WRITTEN, MOST_READ = 16, 2**26, 3 * 2**27
"""Planes of a block, bytes of it in the result, and bytes of what is read for it."""
MOST_PIXELS = 2**26
"""Of the image's own, below a tile of what the network sees at another voxel size."""


@dataclass(frozen=True)
class Block:
    """The piece that is read, predicted, written and noted at once: a tile of one or several planes.

    Parameters
    ----------
    outer : tuple of slice
        One time point; planes, for a 2D network on a stack.
    tile : Tile
        Of the network's spatial axes.
    """

    outer: Region
    tile: Tile

    @property
    def n_planes(self) -> int:
        """What the network sees one by one: planes, or one volume."""
        return prod(part.stop - part.start for part in self.outer)


@dataclass(frozen=True)
class StackPlan(Sequence[Block]):
    """The blocks of a stack, and what holds for all of them, in every worker and every resumed run.

    Parameters
    ----------
    grid : TileGrid
        Tiles of a plane, or of a volume for a 3D network.
    outer_shape : tuple of int
        Time points, and planes for a 2D network on a stack.
    depth : int
        Planes of a block.
    intensity : Intensity
        Of the whole stack.
    precision : {"fp32", "bf16"}
        In which the network computes.
    n_threads : int
        Of the processor; fp32 results depend on it in the last digits.

    Raises
    ------
    ValueError
        If a size is less than 1, or there is no such precision.

    Examples
    --------
    >>> grid = TileGrid((40, 40), (32, 32), (0, 0), (0, 0), (32, 32))
    >>> plan = StackPlan(grid, (1, 5), 2, Intensity((0.0,), (1.0,)), "fp32", 1)
    >>> len(plan), plan[-1].outer, plan[-1].tile.write
    (12, (slice(0, 1, None), slice(4, 5, None)), (slice(32, 40, None), slice(32, 40, None)))
    """

    grid: TileGrid
    outer_shape: Shape
    depth: int
    intensity: Intensity
    precision: str
    n_threads: int

    def __post_init__(self) -> None:
        sizes = (self.depth, self.n_threads, *self.outer_shape)
        if min(sizes) < 1 or not 1 <= len(self.outer_shape) <= 2 or self.precision not in ("fp32", "bf16"):
            raise ValueError(f"no plan has blocks of {sizes}, computed in {self.precision}")

    @property
    def _steps(self) -> Shape:
        return (1, self.depth)[: len(self.outer_shape)]

    @property
    def block_counts(self) -> Shape:
        """Number of blocks along time, planes and the axes of the grid."""
        outer = (-(-size // step) for size, step in zip(self.outer_shape, self._steps, strict=True))
        return (*outer, *self.grid.n_tiles)

    @property
    def block_shape(self) -> Shape:
        """Pixels of a block along time, planes and the axes of the grid."""
        return (*self._steps, *self.grid.tile_shape)

    @property
    def n_voxels(self) -> int:
        """Pixels or voxels of the stack."""
        return prod(self.outer_shape) * prod(self.grid.shape)

    def __len__(self) -> int:
        return prod(self.block_counts)

    def __getitem__(self, index: int) -> Block:  # type: ignore[override]  # no slices of blocks
        if not -len(self) <= index < len(self):
            raise IndexError(f"there is no block {index} among {len(self)}")
        place, tile = divmod(index % len(self), len(self.grid))
        counts = self.block_counts[: len(self.outer_shape)]
        starts = [
            int(at) * step for at, step in zip(np.unravel_index(place, counts), self._steps, strict=True)
        ]
        ends = [min(at + step, n) for at, step, n in zip(starts, self._steps, self.outer_shape, strict=True)]
        return Block(tuple(map(slice, starts, ends)), self.grid[tile])

    def as_json(self) -> dict[str, Any]:
        """Return what the journal keeps."""
        return asdict(self)

    @classmethod
    def from_json(cls, plain: Any) -> Self:
        """Return what a journal has kept; ValueError where that is no plan."""
        match plain:  # of those before 0.2 the intensities have no padding
            case {"intensity": {**intensity}}:
                plain = plain | {"intensity": {"padding": (), **intensity}}
        return cls(**decode_fields(plain, get_type_hints(cls), "plan"))


def plan_stack(
    predictor: Predictor,
    model: Model,
    image: Image,
    config: SegmentConfig,
    intensity: Intensity | None = None,
) -> StackPlan:
    """Decide what holds for a whole stack.

    Parameters
    ----------
    predictor : Predictor
        The model's network, made ready.
    model : Model
        Says how intensities are normalised.
    image : Image
        What is segmented.
    config : SegmentConfig
        What is wished.
    intensity : Intensity, optional
        That of the whole image, where it is known already; else it is measured.

    Returns
    -------
    StackPlan
    """
    layout = result_layout(model, image, config)
    seen = seen_image(model, layout.image, config)
    shape = (seen.n_timepoints, *seen.spatial_shape)
    known = intensity if layout.image is image else None  # else it is that of other channels
    intensity = replace(known or image_intensity(seen), method=model.normalisation)
    ndim = predictor.network.config.ndim

    def read(region: Region) -> NDArray[np.float32]:
        block = _read(seen, region)
        return normalise(block.reshape(len(block), *block.shape[-ndim:]), intensity)

    bounds = [side for side in (config.tile, _largest_tile(seen, layout.image, ndim)) if side is not None]
    grid = choose_grid(predictor, read, shape, halo=config.halo, tile=min(bounds, default=None))
    outer_shape = shape[:-ndim]
    return StackPlan(
        grid,
        outer_shape,
        _depth(grid, outer_shape, layout),
        intensity,
        predictor.precision,
        torch.get_num_threads(),
    )


def _depth(grid: TileGrid, outer_shape: Shape, layout: ResultLayout) -> int:
    """Choose how many planes make a block: one, unless there would be very many files."""
    if len(outer_shape) < 2 or prod(outer_shape) * len(grid) <= FEW_TILES:
        return 1
    n_values = len(layout.classes) if layout.kind == "probabilities" else 1
    n_written = n_values * prod(grid.tile_shape) * layout.dtype.itemsize
    n_read = layout.image.n_channels * prod(grid.read_shape) * np.dtype(np.float32).itemsize
    return max(1, min(MOST_PLANES, outer_shape[1], MOST_WRITTEN // n_written, MOST_READ // n_read))


def _largest_tile(image: Image, below: Image, ndim: int) -> int | None:
    """Bound the side of a tile where each of its pixels lies over many of the image's own."""
    ratios = [new / old for new, old in zip(image.spacing[-ndim:], below.spacing[-ndim:], strict=True)]
    n_below = prod(ratios)
    return int((MOST_PIXELS / n_below) ** (1 / ndim)) if n_below > 1 else None


def _read(image: Image, region: Region) -> NDArray[Any]:
    """Read (C, …) of a region whose first axis is time."""
    blocks = [image.read(region[1:], t=t) for t in range(region[0].start, region[0].stop)]
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks, axis=1)
