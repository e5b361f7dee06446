"""Blocks in this process: reading, predicting and writing them overlap; and what is told meanwhile."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, TypeVar

import torch
from numpy.typing import NDArray

from napari_unet.core.devices import full_precision, memory_reused, repeatable
from napari_unet.core.inference import Predictor
from napari_unet.core.io import Image, count_missing_chunks
from napari_unet.core.plan import StackPlan
from napari_unet.core.tiling import Region
from napari_unet.core.work import BlockWork, Ready

T = TypeVar("T")


@dataclass(frozen=True)
class StackUpdate:
    """How far it is: the phase and its tasks, the pixels of all planes, and where it has just written.

    The region is one of the result, in its axes; None where nothing was written that is final: objects get
    their numbers at the end.
    """

    phase: str
    task: int
    n_done: int
    n_tasks: int
    n_voxels_done: int
    n_voxels: int
    region: Region | None = None


@dataclass(frozen=True, eq=False)
class StackResult:
    """What was done: the plan, where it was computed, and the pixels that were not finite."""

    plan: StackPlan
    device: torch.device
    n_nonfinite: int

    @property
    def n_voxels(self) -> int:
        """Pixels or voxels of the stack."""
        return self.plan.n_voxels


def result_notes(image: Image, used: Image, n_nonfinite: int) -> tuple[str, ...]:
    """Say what of an image its result does not show, a sentence each.

    Parameters
    ----------
    image : Image
        As it was opened.
    used : Image
        The same with the channels of the model.
    n_nonfinite : int
        See `StackResult`.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_unet.core.io.image import override
    >>> image = Image(np.zeros((2, 8, 8)), "CYX", (1.0, 1.0), "pixel", ("dna", "actin"), "cells")
    >>> result_notes(image, override(image, channels=["actin"]), 3)
    ('1 of 2 channels is used: actin', '3 pixels were NaN or infinite: they are 0 in the result')
    """
    n_used, n_missing = used.n_channels, count_missing_chunks(used)
    names = ", ".join(used.channels)
    counted = {
        f"{n_used} of {image.n_channels} channels {'is' if n_used == 1 else 'are'} used: {names}": (
            image.n_channels - n_used
        ),
        f"{n_nonfinite:,} pixels were NaN or infinite: they are 0 in the result": n_nonfinite,
        f"{n_missing:,} chunks of the image are missing and read as its fill value": n_missing,
    }
    return (*image.notes, *(note for note, count in counted.items() if count))


def overlapped(
    blocks: BlockWork, tasks: Iterable[int], write: Callable[[Ready, NDArray[Any]], T]
) -> Iterator[tuple[Ready, T]]:
    """Predict blocks while the next ones are read and the ones before are written."""
    todo = iter(tasks)
    n_at_once = blocks.n_at_once

    def read(batch: Sequence[int]) -> list[Ready]:
        return [blocks.read(task) for task in batch]

    def write_all(ready: Sequence[Ready], results: Sequence[NDArray[Any]]) -> list[tuple[Ready, T]]:
        return [(each, write(each, result)) for each, result in zip(ready, results, strict=True)]

    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
        ahead = reader.submit(read, list(islice(todo, n_at_once)))
        behind: Future[list[tuple[Ready, T]]] | None = None
        while ready := ahead.result():
            ahead = reader.submit(read, list(islice(todo, n_at_once)))
            results = blocks.predict(ready)
            if behind is not None:
                yield from behind.result()
            kept = [replace(each, planes=()) for each in ready]  # pixels that nobody needs any more
            behind = writer.submit(write_all, kept, results)
        if behind is not None:
            yield from behind.result()


@contextmanager
def computing(plan: StackPlan, predictor: Predictor) -> Iterator[None]:
    """Compute with as many threads as were decided, where the result depends on it; keep memory meanwhile."""
    before = torch.get_num_threads()
    is_fp32 = predictor.precision == "fp32"
    if is_fp32:
        torch.set_num_threads(plan.n_threads)
    try:
        with memory_reused(), repeatable(True), full_precision(is_fp32):
            yield
    finally:
        torch.set_num_threads(before)
