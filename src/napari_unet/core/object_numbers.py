"""What the objects of a stack are called in the end, from what the journal notes of its blocks."""

from array import array
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from napari_unet.core.joining import Joined, join
from napari_unet.core.linking import link
from napari_unet.core.results import Finding
from napari_unet.core.work import Note


class SeedNumbers:
    """What the seeds of every block are called in the whole, from what the journal notes.

    Parameters
    ----------
    n_blocks : int
        Number of blocks.
    tiles, faces : iterable of (task, note)
        Notes of these phases, in any order; those of tiles are read twice.
    least : int
        Pixels of the smallest seed.
    """

    def __init__(
        self,
        n_blocks: int,
        tiles: Callable[[], Iterable[tuple[int, Note]]],
        faces: Callable[[], Iterable[tuple[int, Note]]],
        least: int,
    ) -> None:
        self._joined = _joined(n_blocks, tiles(), faces())
        self.dropped = self._specks(tiles(), least)

    @property
    def n_joined(self) -> int:
        """Number of seeds in the whole, those that are dropped among them."""
        return self._joined.n_objects

    def of_block(self, task: int) -> NDArray[np.uint32]:
        """Return the number of each seed of a block, 0 for those that are dropped."""
        numbers = self._joined.numbers(task)
        if len(self.dropped):
            places = np.searchsorted(self.dropped, numbers)  # as quick as the block is small
            numbers[self.dropped.take(places, mode="clip") == numbers] = 0
        return numbers

    def _specks(self, tiles: Iterable[tuple[int, Note]], least: int) -> NDArray[np.uint32]:
        """Return the numbers of seeds that are too small in the whole, ascending."""
        parts = array("q")  # grows by 16 bytes for a seed at a face
        for task, note in tiles:
            found = np.array(note.get("parts", ()), np.int64).reshape(-1, 2)
            if len(found):
                found[:, 0] = self._joined.numbers(task)[found[:, 0]]
                parts.frombytes(found.tobytes())
        numbers, sizes = np.frombuffer(parts, np.int64).reshape(-1, 2).T
        seeds, places = np.unique(numbers, return_inverse=True)
        return seeds[np.bincount(places, sizes, len(seeds)) < least].astype(np.uint32)


def _joined(n_blocks: int, tiles: Iterable[tuple[int, Note]], faces: Iterable[tuple[int, Note]]) -> Joined:
    n_seeds = np.zeros(n_blocks, np.int64)
    for task, note in tiles:
        n_seeds[task] = note["n_objects"]
    pairs = (
        (task, neighbour, np.array(found, np.int64))
        for task, note in faces
        for neighbour, found in note.get("pairs", ())
    )
    return join(n_seeds, pairs)


def final_numbers(
    seeds: SeedNumbers, finding: Finding, objects: Iterable[Note], links: Iterable[Note]
) -> tuple[int, NDArray[np.uint32]]:
    """Decide which objects stay and what they are called in the result.

    Parameters
    ----------
    seeds : SeedNumbers
        What objects have been grown from.
    finding : Finding
        Which of them are wanted.
    objects, links : iterable of notes
        What the journal notes of these phases.

    Returns
    -------
    int
        How many objects there are in the end.
    ndarray of uint32, (n_joined + 1,)
        Final number of each; 0 for those that are dropped.
    """
    kept = np.ones(seeds.n_joined + 1, bool)
    kept[0] = kept[seeds.dropped] = False
    unwanted = np.zeros(len(kept), bool)
    parts = np.zeros(len(kept), np.int64)  # up to the smallest size, once for each block
    for note in objects:
        kept[_column(note.get("dropped", ()))] = False
        unwanted[_column(note.get("border", ()))] = True
        of, sizes = _column(note.get("parts", ())).reshape(-1, 2).T
        parts[of] += sizes
    kept[(parts > 0) & (parts < finding.least)] = False
    if not finding.link:
        return _without_gaps(kept & ~unwanted)
    chains = _linked(kept, links)
    whole = np.ones(int(chains.max(initial=0)) + 1, bool)
    whole[0] = whole[chains[unwanted]] = False  # chains go as a whole
    n_objects, numbers = _without_gaps(whole)
    return n_objects, numbers[chains]


def _without_gaps(kept: NDArray[np.bool_]) -> tuple[int, NDArray[np.uint32]]:
    """Count what is kept, 0 is not; and number it from 1 on."""
    numbers = kept.cumsum().astype(np.uint32)
    n_objects = int(numbers[-1])
    numbers[~kept] = 0
    return n_objects, numbers


def _linked(kept: NDArray[np.bool_], links: Iterable[Note]) -> NDArray[np.uint32]:
    """Give objects of neighbouring planes that overlap one number, 0 to those that are not kept."""
    sizes, found = np.zeros(len(kept), np.int64), [np.zeros((0, 3), np.int64)]
    for note in links:
        of, counts = np.array(note["sizes"], np.int64).reshape(-1, 2).T
        np.add.at(sizes, of, counts)
        found.append(np.array(note["overlaps"], np.int64).reshape(-1, 3))
    shared = np.concatenate(found)
    shared = shared[kept[shared[:, 0]] & kept[shared[:, 1]]]
    return link(np.where(kept, sizes, 0), [shared])


def _column(numbers: Sequence[int]) -> NDArray[np.int64]:
    return np.array(numbers, np.int64)
