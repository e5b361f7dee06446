"""What the values in a label file mean, and how they become annotation values."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from napari_unet.core.rims import Annotation
from napari_unet.core.targets import Task

Unlabelled = Literal["background", "ignore"]
MAX_ID = 2**53
"""Larger values are renumbered: signed integers and tables are not sure to hold them."""


@dataclass(frozen=True)
class LabelOptions:
    """What the values in a label file mean.

    Parameters
    ----------
    task : {"classes", "objects"}
        Whether a value is a class, or one object.
    unlabelled : {"background", "ignore"}
        What 0 in the file means: background (a dense file), or "not annotated" (a sparse one).
    complete : tuple of int
        Planes of a sparse file where 0 means background after all.
    planes : tuple of int or None
        Planes to use; None is all.
    ndim : {2, 3}
        Whether a network sees planes or volumes.
    background : int
        Annotation value of the background of a sparse file.

    Raises
    ------
    ValueError
        If complete planes are named for a dense file.
    """

    task: Task = "classes"
    unlabelled: Unlabelled = "background"
    complete: tuple[int, ...] = ()
    planes: tuple[int, ...] | None = None
    ndim: Literal[2, 3] = 2
    background: int = 1

    def __post_init__(self) -> None:
        if self.complete and self.dense:
            raise ValueError(
                f"complete planes {list(self.complete)} are named: that needs --unlabelled ignore"
            )

    @property
    def dense(self) -> bool:
        """Whether every pixel of a labelled plane is labelled."""
        return self.unlabelled == "background"


def annotation_of(labels: Annotation, options: LabelOptions, *, complete: bool = False) -> Annotation:
    """Turn file values into annotation values: 0 becomes "unlabelled" or what is background.

    Parameters
    ----------
    labels : ndarray of integers
        Values of a file.
    options : LabelOptions
    complete : bool
        Whether 0 means background in a sparse file.

    Returns
    -------
    ndarray of int64

    Examples
    --------
    >>> labels = np.array([0, 1, 7])
    >>> annotation_of(labels, LabelOptions("classes"))
    array([1, 2, 8])
    >>> annotation_of(labels, LabelOptions("objects"))
    array([1, 2, 8])
    >>> annotation_of(labels, LabelOptions("objects", "ignore"))
    array([0, 1, 7])
    >>> annotation_of(labels, LabelOptions("objects", "ignore"), complete=True)
    array([1, 1, 7])
    """
    values = labels.astype(np.int64)
    if options.dense:
        return values + 1
    return np.where(values == 0, options.background, values) if complete else values


def compact_ids(values: NDArray[Any]) -> NDArray[Any]:
    """Give values that do not fit into a signed integer smaller ones that do not occur; the others stay.

    Examples
    --------
    >>> compact_ids(np.array([0, 1, 7, 2**63, 2**64 - 1], np.uint64))
    array([0, 1, 7, 8, 9], dtype=uint64)
    """
    large = values > MAX_ID
    if not large.any():
        return values
    first = int(values[~large].max(initial=0)) + 1
    compacted = values.copy()
    numbers, places = np.unique(values[large], return_inverse=True)
    free = np.arange(first, first + len(numbers))
    if first + len(numbers) > MAX_ID:
        raise ValueError(f"the labels hold values up to {numbers[-1]}: renumber them from 1 on")
    compacted[large] = free.astype(values.dtype)[places]
    return compacted
