"""Objects that grow into free pixels: a watershed in numpy, in steps from high to low."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

N_STEPS = 32
"""Steps in which objects grow from high core to low: 256 change one pixel in 2,000, and take longer."""


def beside(shape: Sequence[int]) -> list[int]:
    """Return how far a pixel's neighbours lie from it in a flattened array."""
    strides = [int(np.prod(shape[axis + 1 :])) for axis in range(len(shape))]
    return [way * stride for stride in strides for way in (1, -1)]


def flood(objects: NDArray[np.uint32], steps: NDArray[np.uint8], ways: Sequence[int]) -> None:
    """Grow objects into the free pixels, whose steps are 1 to N_STEPS; both arrays are flat and changed."""
    front = np.flatnonzero(objects)
    due = np.full(len(front), N_STEPS, np.uint8)  # the step in which each pixel of the front has to grow
    for step in range(N_STEPS, 0, -1):
        waiting = [(front[due < step], due[due < step])]
        front = front[due == step]
        while len(front):
            grown, due = _grow_once(objects, steps, front, ways, step)
            waiting.append((front[due > 0], due[due > 0]))
            front = grown
        front, due = (np.concatenate(each) for each in zip(*waiting, strict=True))


def _grow_once(
    objects: NDArray[np.uint32],
    steps: NDArray[np.uint8],
    front: NDArray[np.intp],
    ways: Sequence[int],
    step: int,
) -> tuple[NDArray[np.intp], NDArray[np.uint8]]:
    """Take the free pixels beside the front that have reached their step.

    Returns what was taken, each pixel once, and in which step each pixel of the front is due again, or 0.
    """
    due = np.zeros(len(front), np.uint8)
    taken = []
    for away in ways:
        places = front + away
        reached = steps[places]
        now = reached >= step
        np.maximum(due, reached, out=due, where=~now)
        places = places[now]
        objects[places] = objects[front[now]]
        steps[places] = 0
        taken.append(places)
    return np.concatenate(taken), due
