"""Objects that were labelled block by block become objects of the whole.

Every object first has a place: its number among the objects of all blocks, block after block. Objects that
are one are known by the place of the first; the others are merged into it. Only merged ones are kept.
"""

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from napari_unet.core.linking import overlaps

Pairs = NDArray[np.integer]
"""(n, 2): numbers of objects in two blocks."""


@dataclass(frozen=True, eq=False)
class Joined:
    """What every object of every block is called in the whole; made by `join`.

    Parameters
    ----------
    starts : ndarray of int64, (n_blocks + 1,)
        Place of the first object of each block, at last the number of all places.
    merged : ndarray of int64, (n_merged,)
        Places of objects that belong to one before them, ascending.
    firsts : ndarray of int64, (n_merged,)
        Places of the objects that those belong to.
    """

    starts: NDArray[np.int64]
    merged: NDArray[np.int64]
    firsts: NDArray[np.int64]

    @property
    def n_objects(self) -> int:
        """Number of objects in the whole."""
        return int(self.starts[-1]) - len(self.merged)

    def numbers(self, block: int) -> NDArray[np.uint32]:
        """Return the final number of each object of a block.

        Parameters
        ----------
        block : int
            From 0.

        Returns
        -------
        ndarray of uint32, (n + 1,)
            For each of the block's own numbers 0 to n; 0 stays 0. ``numbers(block)[labels]`` is the block
            with its final numbers.
        """
        start, stop = int(self.starts[block]), int(self.starts[block + 1])
        low, high = np.searchsorted(self.merged, (start, stop))
        numbers = np.zeros(stop - start + 1, np.uint32)
        numbers[1:] = self._renumbered(np.arange(start, stop))
        numbers[self.merged[low:high] - start + 1] = self._renumbered(self.firsts[low:high])
        return numbers

    def _renumbered(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """From the places of objects that are first to their final numbers: merged ones leave no gaps."""
        return places + 1 - np.searchsorted(self.merged, places)


def touching(first: ArrayLike, second: ArrayLike) -> NDArray[np.uint32]:
    """Find which objects meet where two blocks meet.

    Parameters
    ----------
    first, second : array of unsigned integers below 2³², of equal shapes
        The last pixels of one block and the first of the next; 0 = background.

    Returns
    -------
    ndarray of uint32, (n, 2)
        Each pair of objects that share a face once, ascending.

    Raises
    ------
    ValueError
        If the shapes differ.

    Examples
    --------
    >>> touching([1, 1, 0, 2, 3], [5, 5, 5, 0, 4])
    array([[1, 5],
           [3, 4]], dtype=uint32)
    """
    return overlaps(first, second)[:, :2].astype(np.uint32)


def join(n_objects: Sequence[int] | NDArray[np.integer], pairs: Iterable[tuple[int, int, Pairs]]) -> Joined:
    """Decide which objects of all blocks are one, and number them 1 to N in the order of first appearance.

    Memory grows with the number of blocks (8 bytes each) and of pairs, not with objects or pixels.

    Parameters
    ----------
    n_objects : sequence of int
        Number of objects in each block; their own numbers are 1 to n.
    pairs : iterable of (int, int, ndarray (n, 2))
        Two blocks, and which objects of the one and the other are one object, from `touching`.

    Returns
    -------
    Joined

    Raises
    ------
    ValueError
        If a pair names an object or a block that does not exist, or there are 2³² objects or more.

    Examples
    --------
    >>> joined = join([2, 1], [(0, 1, np.array([[2, 1]]))])
    >>> joined.n_objects, joined.numbers(0), joined.numbers(1)
    (2, array([0, 1, 2], dtype=uint32), array([0, 2], dtype=uint32))
    """
    starts = np.concatenate(([0], np.cumsum(n_objects, dtype=np.int64)))
    merged, firsts = _merge(_edges(starts, pairs))
    joined = Joined(starts, merged, firsts)
    if joined.n_objects >= 2**32:
        raise ValueError(f"{joined.n_objects} objects are more than 32 bits can number; segment less at once")
    return joined


def _edges(starts: NDArray[np.int64], pairs: Iterable[tuple[int, int, Pairs]]) -> NDArray[np.int64]:
    """Return pairs of places (n, 2)."""
    edges = array("q")  # grows by 16 bytes a pair, while millions of small arrays would take ten times that
    for *blocks, numbers in pairs:
        if len(numbers):
            edges.frombytes(_places(starts, blocks, numbers).tobytes())
    return np.frombuffer(edges, np.int64).reshape(-1, 2)


def _places(starts: NDArray[np.int64], blocks: Sequence[int], numbers: Pairs) -> NDArray[np.int64]:
    if not 0 <= min(blocks) <= max(blocks) < len(starts) - 1:
        raise ValueError(f"blocks {blocks} are not among {len(starts) - 1}; label the blocks anew")
    first, last = starts[blocks], starts[[block + 1 for block in blocks]]
    places: NDArray[np.int64] = numbers.astype(np.int64) - 1 + first
    if (places < first).any() or (places >= last).any():
        raise ValueError(
            f"objects {numbers.max(axis=0).tolist()} of the blocks {blocks} are not among "
            f"{(last - first).tolist()}; label the blocks anew"
        )
    return places


def _merge(edges: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return all places that are not the first of their object, and for each of them the first."""
    places, ends = np.unique(edges, return_inverse=True)  # only what touches something
    ends = ends.reshape(-1, 2)
    graph = coo_array((np.ones(len(ends), bool), (ends[:, 0], ends[:, 1])), shape=(len(places), len(places)))
    _, parts = connected_components(graph, directed=False) if len(places) else (0, places)
    _, first, part = np.unique(parts, return_index=True, return_inverse=True)  # places ascend: index = first
    firsts = places[first[part]]
    later = firsts != places
    return places[later], firsts[later]
