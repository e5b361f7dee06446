"""The tasks that a stack consists of, in phases: whoever runs them decides where and in which order."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_unet.core.inference import Predictor, read_mirrored
from napari_unet.core.io import Image
from napari_unet.core.io.layout import ReadableSink, ResultSink, Sink
from napari_unet.core.joining import Joined, join, touching
from napari_unet.core.normalise import count_nonfinite, normalise
from napari_unet.core.objects import connected_objects
from napari_unet.core.plan import Block, StackPlan
from napari_unet.core.resampling import region_below
from napari_unet.core.results import ResultLayout
from napari_unet.core.tiling import Region

Note = dict[str, Any]
"""What came of a task, as JSON."""


@dataclass(frozen=True, eq=False)
class Ready:
    """A block that has been read: normalised planes or one volume (C, *read), and how many pixels are NaN."""

    task: int
    block: Block
    planes: tuple[NDArray[np.float32], ...]
    n_nonfinite: int


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
        n_nonfinite = count_nonfinite(pixels[(slice(None),) * len(block.outer) + self._own(block)])
        pixels = normalise(pixels, self.plan.intensity)
        planes = tuple(pixels.swapaxes(0, 1)) if len(block.outer) > 1 else (pixels,)
        return Ready(task, block, planes, n_nonfinite)

    def predict(self, ready: Sequence[Ready]) -> list[NDArray[Any]]:
        """Predict the planes of blocks at once and make of each block ([C,] [n,] *write) what is written."""
        planes = [(plane, each.block.tile.crop) for each in ready for plane in each.planes]
        n_at_once = self.predictor.batch_size(self.plan.grid.read_shape)  # a block may have more planes
        batches = (planes[start : start + n_at_once] for start in range(0, len(planes), n_at_once))
        encoded = (each for batch in batches for each in self._encoded(batch))
        return [self._assemble([next(encoded) for _ in each.planes]) for each in ready]

    def place(self, block: Block) -> Region:
        """Return where a block lies in the result."""
        return self.layout.place(block.outer, block.tile.write)

    def place_below(self, block: Block) -> Region:
        """Return where a block lies in the result on the image's own pixels."""
        return region_below(self.place(block), self.below, self.image)

    def _encoded(self, planes: Sequence[tuple[NDArray[np.float32], Region]]) -> list[NDArray[Any]]:
        blocks, crops = zip(*planes, strict=True)
        said = self.predictor.predict_tiles(blocks, crops, classes=self.layout.kind != "probabilities")
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


class StackWork:
    """All tasks of a stack whose result lies in a file, and what they need.

    Objects are numbered within their block first ("tiles"); then it is found which ones touch those of the
    next block ("faces"); at last each block gets the final numbers ("objects"). Equal to finding them in
    the whole at once, but for the order of the numbers.

    Parameters
    ----------
    blocks : BlockWork
        What a block consists of.
    open_result : callable
        Opens the result for writing; objects have theirs only when their number is known.
    open_parts : callable
        Opens what keeps numbers of objects within their blocks.
    """

    def __init__(
        self, blocks: BlockWork, open_result: Callable[[], ResultSink], open_parts: Callable[[], ReadableSink]
    ) -> None:
        self.blocks = blocks
        self._open_result, self._open_parts = open_result, open_parts

    @cached_property
    def result(self) -> ResultSink:
        """Where the result goes."""
        return self._open_result()

    @cached_property
    def _parts(self) -> ReadableSink:
        return self._open_parts()

    def phases(self) -> Iterator[Phase]:
        """Yield the phases; the result has to be there when those of its levels begin."""
        n_blocks = len(self.blocks.plan)
        is_objects = self.blocks.layout.kind == "objects"
        yield Phase("tiles", n_blocks, self._predict, not is_objects)
        if is_objects:
            yield Phase("faces", n_blocks, self._find_touching)
            yield Phase("objects", n_blocks, self._number, True)
        for level, n_tasks in enumerate(self.result.levels, start=1):
            yield Phase(f"level {level}", n_tasks, partial(self._reduce, level))

    def write(self, ready: Ready, result: NDArray[Any]) -> Note:
        """Write a predicted block, and return what the journal notes."""
        region = self.blocks.place(ready.block)
        note = {"n_nonfinite": ready.n_nonfinite}
        if self.blocks.layout.kind != "objects":
            write_region(self.result, region, result)
            return note
        n_objects, numbers = number_planes(result, self.blocks.layout.ndim)
        write_region(self._parts, region, numbers)
        return note | {"n_objects": n_objects}

    def _predict(self, task: int, _: object) -> Note:
        ready = self.blocks.read(task)
        return self.write(ready, self.blocks.predict([ready])[0])

    def _find_touching(self, task: int, _: object) -> Note:
        pairs = []
        for axis, neighbour in self._neighbours(task):
            first, second = (self.blocks.place(self.blocks.plan[each]) for each in (task, neighbour))
            at = second[axis].start
            faces = [
                self._parts.read((*region[:axis], slice(z, z + 1), *region[axis + 1 :]))
                for region, z in ((first, at - 1), (second, at))
            ]
            found = touching(*faces)
            if len(found):
                pairs.append([neighbour, found.tolist()])
        return {"pairs": pairs} if pairs else {}

    def _neighbours(self, task: int) -> Iterator[tuple[int, int]]:
        """Yield the next block along each axis of the network, after the axis in the result."""
        counts = self.blocks.plan.block_counts
        place = np.unravel_index(task, counts)
        n_outer = len(self.blocks.plan.outer_shape)
        n_before = len(self.blocks.layout.axes) - self.blocks.layout.ndim
        for axis in range(n_outer, len(counts)):
            if place[axis] + 1 < counts[axis]:
                step = [int(at) + (i == axis) for i, at in enumerate(place)]
                yield n_before + axis - n_outer, int(np.ravel_multi_index(step, counts))

    def _number(self, task: int, numbers: NDArray[np.uint32]) -> Note:
        region = self.blocks.place(self.blocks.plan[task])
        objects = numbers[self._parts.read(region)]
        self.result.write(region, objects.astype(self.blocks.layout.dtype))
        return {}

    def _reduce(self, level: int, task: int, _: object) -> Note:
        self.result.reduce(level, task)
        return {}


def number_planes(foreground: NDArray[np.bool_], ndim: int) -> tuple[int, NDArray[np.uint32]]:
    """Give the objects of planes or a volume numbers from 1 on; planes have none in common.

    Parameters
    ----------
    foreground : ndarray of bool
        (*spatial) or (n, *spatial).
    ndim : int
        Number of spatial axes.

    Returns
    -------
    int
        How many there are.
    ndarray of uint32
        Their numbers.

    Examples
    --------
    >>> number_planes(np.array([[[True, False]], [[True, True]]]), 2)
    (2, array([[[1, 0]],
    <BLANKLINE>
           [[2, 2]]], dtype=uint32))
    """
    n_objects, numbers = 0, np.zeros(foreground.shape, np.uint32)
    planes = zip(foreground, numbers, strict=True) if foreground.ndim > ndim else [(foreground, numbers)]
    for plane, target in planes:
        found = connected_objects(plane)
        target[plane] = found[plane].astype(np.uint32) + np.uint32(n_objects)
        n_objects += int(found.max(initial=0))
    return n_objects, numbers


def join_objects(
    n_blocks: int, tiles: Iterable[tuple[int, Note]], faces: Iterable[tuple[int, Note]]
) -> Joined:
    """Find the final numbers of objects from what the journal notes of the first two phases.

    Parameters
    ----------
    n_blocks : int
        Number of blocks.
    tiles, faces : iterable of (task, note)
        Notes of these phases, in any order.
    """
    n_objects = np.zeros(n_blocks, np.int64)
    for task, note in tiles:
        n_objects[task] = note["n_objects"]
    pairs = (
        (task, neighbour, np.array(found, np.int64))
        for task, note in faces
        for neighbour, found in note.get("pairs", ())
    )
    return join(n_objects, pairs)
