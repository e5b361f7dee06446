"""A block of a stack: how it is read, predicted, and where it belongs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_unet.core.inference import Predictor
from napari_unet.core.io import Image
from napari_unet.core.io.layout import Sink
from napari_unet.core.normalise import count_nonfinite, normalise
from napari_unet.core.plan import Block, StackPlan
from napari_unet.core.resampling import region_below
from napari_unet.core.results import ResultLayout
from napari_unet.core.tiling import Region, read_mirrored

Note = dict[str, Any]
"""What came of a task, as JSON."""


@dataclass(frozen=True, eq=False)
class Ready:
    """A block that has been read: normalised planes or one volume (C, *read), and which pixels are NaN.

    ``missing`` are the block's own pixels, ([n,] *write), where some channel has no data; None = nowhere.
    """

    task: int
    block: Block
    planes: tuple[NDArray[np.float32], ...]
    n_nonfinite: int
    missing: NDArray[np.bool_] | None = None


@dataclass(frozen=True, eq=False)
class BlockWork:
    """Read, predict and write a block: the three steps of a task that may overlap with those of others.

    Parameters
    ----------
    plan : StackPlan
        What was decided for the whole stack.
    layout : ResultLayout
        What the result will be.
    image : Image
        What the network sees.
    predictor : Predictor
        The network made ready.
    below : Image
        The image itself, where the network sees it at another voxel size.
    """

    plan: StackPlan
    layout: ResultLayout
    image: Image
    predictor: Predictor
    below: Image

    @property
    def n_at_once(self) -> int:
        """Number of blocks that are predicted at once."""
        return max(1, self.predictor.batch_size(self.plan.grid.read_shape) // self.plan.depth)

    def read(self, task: int) -> Ready:
        """Read a block with its halo, mirrored beyond the image, and normalise it."""
        block = self.plan[task]
        shape = (*self.plan.outer_shape[1:], *self.plan.grid.shape)
        region = (*block.outer[1:], *block.tile.read)
        read = partial(self.image.read, t=block.outer[0].start)
        pixels = read_mirrored(read, region, shape)  # C, [n,] *read
        own = pixels[(slice(None),) * len(block.outer) + self._own(block)]
        n_nonfinite = count_nonfinite(own)
        missing = ~np.isfinite(own).all(axis=0) if n_nonfinite else None
        pixels = normalise(pixels, self.plan.intensity)
        planes = tuple(pixels.swapaxes(0, 1)) if len(block.outer) > 1 else (pixels,)
        return Ready(task, block, planes, n_nonfinite, missing)

    def predict(self, ready: Sequence[Ready]) -> list[NDArray[Any]]:
        """Predict the planes of blocks at once and make of each block ([C,] [n,] *write) what is written.

        Of objects C counts their scores.
        """
        planes = [(plane, each.block.tile.crop) for each in ready for plane in each.planes]
        n_at_once = self.predictor.batch_size(self.plan.grid.read_shape)  # a block may have more planes
        batches = (planes[start : start + n_at_once] for start in range(0, len(planes), n_at_once))
        encoded = (each for batch in batches for each in self._encoded(batch))
        results = [self._assemble([next(encoded) for _ in each.planes]) for each in ready]
        for each, result in zip(ready, results, strict=True):
            if each.missing is not None:
                self.layout.blank(result, each.missing)
        return results

    def place(self, block: Block) -> Region:
        """Return where a block lies in the result."""
        return self.layout.place(block.outer, block.tile.write)

    def place_below(self, block: Block) -> Region:
        """Return where a block lies in the result on the image's own pixels."""
        return region_below(self.place(block), self.below, self.image)

    def _encoded(self, planes: Sequence[tuple[NDArray[np.float32], Region]]) -> list[NDArray[Any]]:
        blocks, crops = zip(*planes, strict=True)
        said = self.predictor.predict_tiles(blocks, crops, classes=not self.layout.needs_probabilities)
        return [self.layout.encode(each) for each in said]

    def _assemble(self, planes: list[NDArray[Any]]) -> NDArray[Any]:
        return planes[0] if len(planes) == 1 else np.stack(planes, axis=-self.layout.ndim - 1)

    def _own(self, block: Block) -> Region:
        """Where a block's own pixels lie in what it has read: no pixel is counted twice."""
        return tuple(
            slice(part.start + lost, part.stop + lost)
            for part, lost in zip(block.tile.crop, self.plan.grid.margin, strict=True)
        )


def write_region(sink: Sink, region: Region, array: NDArray[Any]) -> None:
    """Write an array that may lack axes of size 1."""
    sink.write(region, array.reshape([part.stop - part.start for part in region]))


@dataclass(frozen=True)
class Phase:
    """Tasks that do not depend on each other, and all of which depend on the phase before.

    Parameters
    ----------
    name : str
        What the journal calls it.
    n_tasks : int
        How many there are.
    do : callable
        Takes the number of a task and its argument, does it, and returns what the journal notes.
    is_final : bool
        Whether each task writes a block of the result.
    """

    name: str
    n_tasks: int
    do: Callable[[int, Any], Note]
    is_final: bool = False
