"""The tasks that turn what a network says of a stack into numbered objects, block by block.

Seeds are numbered within their block, those that meet at faces are joined, and all get the numbers of the
whole. Each block then grows its objects from these, looking at a halo around it. What is too small or not
wanted is found out from the parts of all blocks; what is left is numbered without gaps.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_unet.core.io.layout import ReadableSink
from napari_unet.core.joining import touching
from napari_unet.core.linking import overlaps
from napari_unet.core.numbered import fill_holes
from napari_unet.core.objects import find_seeds, grow_seeds, has_no_data, smallest_seed
from napari_unet.core.plan import Block
from napari_unet.core.results import Finding
from napari_unet.core.tiling import Region, Shape
from napari_unet.core.work import BlockWork, Note, Phase, write_region

PARTS = ("scores", "seeds", "joined", "grown")
"""Arrays of a stack: what the network says; seeds as numbered in their block, and in the whole; objects."""


@dataclass(frozen=True)
class ObjectStore:
    """Opens what lies in files between the phases: the arrays that `PARTS` names, and the final numbers."""

    open_part: Callable[[str], ReadableSink]
    open_numbers: Callable[[], NDArray[np.uint32]]


class ObjectWork:
    """The phases of objects between predicting and writing the result.

    Parameters
    ----------
    blocks : BlockWork
        What a block consists of.
    store : ObjectStore
        Where they are kept meanwhile.
    """

    def __init__(self, blocks: BlockWork, store: ObjectStore) -> None:
        self._blocks, self._store = blocks, store
        self._finding, self._ndim = blocks.layout.finding, blocks.layout.ndim
        self._parts: dict[str, ReadableSink] = {}

    def phases(self) -> Iterator[Phase]:
        """Yield the phases in their order."""
        n_blocks = len(self._blocks.plan)
        yield Phase("faces", n_blocks, self._find_touching)
        yield Phase("seeds", n_blocks, self._join)
        yield Phase("objects", n_blocks, self._grow)
        if self._finding.link:
            yield Phase("links", n_blocks, self._find_overlaps)

    def write(self, block: Block, scores: NDArray[np.uint8]) -> Note:
        """Keep the scores (2, [n,] *write) of a block and its seeds; return how many these are."""
        region = self._blocks.place(block)
        n_seeds, seeds = number_planes(scores, self._ndim, self._finding)
        write_region(self._part("scores"), (slice(0, 2), *region), scores)
        write_region(self._part("seeds"), region, seeds)
        note: Note = {"n_objects": n_seeds}
        least = smallest_seed(self._finding.rules, self._ndim)
        if least > 1:
            whole = self._blocks.layout.shape[self._n_before :]
            note |= {"parts": seed_parts(_planes(seeds, self._ndim), least, region[self._n_before :], whole)}
        return note

    def numbered(self, task: int) -> tuple[Region, NDArray[np.uint32]]:
        """Return where a block lies, and its objects with their final numbers."""
        region = self._blocks.place(self._blocks.plan[task])
        return region, self._store.open_numbers()[self._part("grown").read(region)]

    def _part(self, name: str) -> ReadableSink:
        if name not in self._parts:
            self._parts[name] = self._store.open_part(name)
        return self._parts[name]

    def _find_touching(self, task: int, _: object) -> Note:
        pairs = []
        for axis, neighbour in self._neighbours(task):
            first, second = (self._blocks.place(self._blocks.plan[each]) for each in (task, neighbour))
            at = second[axis].start
            faces = [
                self._part("seeds").read((*region[:axis], slice(z, z + 1), *region[axis + 1 :]))
                for region, z in ((first, at - 1), (second, at))
            ]
            found = touching(*faces)
            if len(found):
                pairs.append([neighbour, found.tolist()])
        return {"pairs": pairs} if pairs else {}

    def _neighbours(self, task: int) -> Iterator[tuple[int, int]]:
        """Yield the next block along each axis of the network, after the axis in the result."""
        counts = self._blocks.plan.block_counts
        place = np.unravel_index(task, counts)
        n_outer = len(self._blocks.plan.outer_shape)
        for axis in range(n_outer, len(counts)):
            if place[axis] + 1 < counts[axis]:
                step = [int(at) + (i == axis) for i, at in enumerate(place)]
                yield self._n_before + axis - n_outer, int(np.ravel_multi_index(step, counts))

    @property
    def _n_before(self) -> int:
        """Number of axes of the result before those of the network."""
        return len(self._blocks.layout.axes) - self._ndim

    def _join(self, task: int, numbers: NDArray[np.uint32]) -> Note:
        region = self._blocks.place(self._blocks.plan[task])
        self._part("joined").write(region, numbers[self._part("seeds").read(region)])
        return {}

    def _grow(self, task: int, _: object) -> Note:
        """Grow the objects of a block, and note which of them may have to go."""
        region = self._blocks.place(self._blocks.plan[task])
        shape = self._blocks.layout.shape[self._n_before :]
        halo = self._finding.halo(self._ndim)
        around, own = widened(region[self._n_before :], halo, shape)
        wide = (*region[: self._n_before], *around)
        seeds, scores = self._part("joined").read(wide), self._part("scores").read((slice(0, 2), *wide))
        planes = zip(_planes(seeds, self._ndim), _planes(scores, self._ndim, 1), strict=True)
        grown = np.stack([self._grow_plane(*plane)[own] for plane in planes])  # n, *write
        write_region(self._part("grown"), region, grown)
        if not self._finding.sifts:
            return {}
        seen_by_others = _beyond(_planes(seeds, self._ndim), unseen(around, own, halo, shape))
        return suspects(grown, seen_by_others, self._finding, region[self._n_before :], shape)

    def _grow_plane(self, seeds: NDArray[np.uint32], scores: NDArray[np.uint8]) -> NDArray[np.uint32]:
        if not self._finding.grows and not self._finding.fill_holes:
            return seeds
        grown = grow_seeds(seeds, scores, self._finding.rules) if self._finding.grows else seeds
        if not self._finding.fill_holes:
            return grown
        filled = fill_holes(grown, self._finding.halo(self._ndim)).astype(np.uint32)
        filled[has_no_data(scores)] = 0
        return filled

    def _find_overlaps(self, task: int, _: object) -> Note:
        """Count the pixels of a block's objects, and those that they share with the next plane's."""
        region = self._blocks.place(self._blocks.plan[task])
        z = self._n_before - 1
        part, n_planes = region[z], self._blocks.layout.shape[z]
        wide = (*region[:z], slice(part.start, min(part.stop + 1, n_planes)), *region[z + 1 :])
        planes = _planes(self._part("grown").read(wide), self._ndim)
        numbers, sizes = np.unique(planes[: part.stop - part.start], return_counts=True)
        shared = [overlaps(below, above) for below, above in pairwise(planes)]
        found = np.concatenate([np.zeros((0, 3), np.int64), *shared])
        return {"sizes": np.stack([numbers, sizes], 1)[numbers > 0].tolist(), "overlaps": found.tolist()}


def number_planes(scores: NDArray[np.uint8], ndim: int, finding: Finding) -> tuple[int, NDArray[np.uint32]]:
    """Find the seeds of planes or a volume and number them from 1 on; planes have none in common.

    Parameters
    ----------
    scores : ndarray of uint8, (2, [n,] *spatial)
        Of foreground and core.
    ndim : int
        Number of spatial axes.
    finding : Finding

    Returns
    -------
    int
        How many there are.
    ndarray of uint32, ([n,] *spatial)
        Their numbers.

    Examples
    --------
    >>> from napari_unet.core.objects import ObjectRules
    >>> scores = np.uint8([[[255, 0]], [[255, 255]]])  # two planes
    >>> number_planes(np.stack([scores, scores]), 2, Finding(ObjectRules()))
    (2, array([[[1, 0]],
    <BLANKLINE>
           [[2, 2]]], dtype=uint32))
    """
    n_seeds, numbers = 0, np.zeros(scores.shape[1:], np.uint32)
    for plane, target in zip(_planes(scores, ndim, 1), _planes(numbers, ndim), strict=True):
        found = find_seeds(plane, finding.rules)
        target[found > 0] = found[found > 0] + np.uint32(n_seeds)
        n_seeds += int(found.max(initial=0))
    return n_seeds, numbers


def widened(region: Region, halo: Shape, shape: Shape) -> tuple[Region, Region]:
    """Widen a region by a halo, within an image; return it, and where the region lies in it.

    Examples
    --------
    >>> widened((slice(4, 8),), (3,), (9,))
    ((slice(1, 9, None),), (slice(3, 7, None),))
    """
    around = tuple(
        slice(max(0, part.start - far), min(part.stop + far, size))
        for part, far, size in zip(region, halo, shape, strict=True)
    )
    own = tuple(
        slice(part.start - wide.start, part.stop - wide.start)
        for part, wide in zip(region, around, strict=True)
    )
    return around, own


def unseen(around: Region, own: Region, halo: Shape, shape: Shape) -> Region:
    """Return which part of a widened region no other block sees, if each is widened by the same halo.

    Examples
    --------
    >>> unseen((slice(0, 10),), (slice(0, 8),), (2,), (20,))
    (slice(0, 6, None),)
    """
    return tuple(
        slice(
            part.start + max(1, far) * (wide.start + part.start > 0),
            part.stop - max(1, far) * (wide.start + part.stop < size),
        )
        for wide, part, far, size in zip(around, own, halo, shape, strict=True)
    )


def _beyond(numbers: NDArray[np.uint32], region: Region) -> NDArray[np.uint32]:
    """Return the numbers that lie outside a region of planes or a volume (n, *spatial), ascending."""
    outside = numbers > 0
    if all(part.start < part.stop for part in region):
        outside[(slice(None), *region)] = False
    return np.unique(numbers[outside])


def seed_parts(seeds: NDArray[np.uint32], least: int, region: Region, shape: Shape) -> list[tuple[int, int]]:
    """Count the seeds of a block (n, *write) that go on beyond it, up to the smallest size that is wanted.

    Those at the border of the image have it in any case.
    """
    inner, outer = _at_faces(seeds, region, shape)
    sizes = np.minimum(np.bincount(seeds.ravel(), minlength=1), least)
    sizes[outer] = least
    return [(int(number), int(sizes[number])) for number in inner if number]


def suspects(
    objects: NDArray[np.uint32],
    seen_by_others: NDArray[np.uint32],
    finding: Finding,
    region: Region,
    shape: Shape,
) -> Note:
    """Note which objects of a block are to be dropped, and of which its own part does not tell.

    An object that is larger than the halo may end before a side of one block and go on behind it all the
    same, as the block there sees it. So seeds tell: no block has pixels of an object unless it sees its seed.

    Parameters
    ----------
    objects : ndarray of uint32, (n, *write)
    seen_by_others : ndarray of uint32, (n,)
        Numbers of the seeds that other blocks see as well.
    finding : Finding
    region : tuple of slice
        Where the block lies in a plane or volume of this shape.
    shape : tuple of int

    Returns
    -------
    dict
        "dropped": numbers that are too small; "border": those at the border, where these are not wanted;
        "parts": number and size of objects that other blocks may have pixels of, counted up to the smallest
        size that is wanted.
    """
    least = finding.least
    numbers, sizes = np.unique(objects[objects > 0], return_counts=True)
    _, outer = _at_faces(objects, region, shape)
    goes_on = np.isin(numbers, seen_by_others)
    dropped = numbers[(sizes < least) & ~goes_on]
    border = outer[(outer > 0) & (not finding.keep_border)]
    parts = np.stack([numbers, np.minimum(sizes, max(1, least))], 1)[goes_on & (least > 1)]
    return {"dropped": dropped.tolist(), "border": border.tolist(), "parts": parts.tolist()}


def _at_faces(
    objects: NDArray[np.uint32], region: Region, shape: Shape
) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """Return the numbers at the sides of a block (n, *write): before other blocks, at the image's border."""
    faces = zip(*_faces(objects, region, shape), strict=True)
    inner, outer = (np.unique(np.concatenate([np.zeros(0, np.uint32), *each])) for each in faces)
    return inner, outer


def _faces(
    objects: NDArray[np.uint32], region: Region, shape: Shape
) -> Iterator[tuple[NDArray[np.uint32], NDArray[np.uint32]]]:
    """Yield the pixels at each side of a block, those before other blocks and those at the image's border."""
    none = np.zeros(0, np.uint32)
    for axis, (part, size) in enumerate(zip(region, shape, strict=True), start=1):
        for at, is_border in ((0, part.start == 0), (-1, part.stop == size)):
            face = objects.take(at, axis=axis).ravel()
            yield (none, face) if is_border else (face, none)


def _planes(array: NDArray[Any], ndim: int, n_before: int = 0) -> NDArray[Any]:
    """Return a view (n, *before, *spatial) of planes or volumes, one for each in the axes between."""
    shape = array.shape
    flat = array.reshape(*shape[:n_before], -1, *shape[array.ndim - ndim :])
    return np.moveaxis(flat, n_before, 0)
