"""Whole images, or runs of planes and time points, that are held out of training."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_unet.core.targets import UNLABELLED, Target

MIN_UNITS_TO_HOLD_OUT = 8
"""So many images, planes or time points are enough to hold some of them out whole."""
ALIKE = 0.25
"""Correlation from which a plane shows the same things as another one."""
POOL = 4
"""Pixels along each axis that are averaged before planes are compared: noise must not make them differ."""
MAX_COMPARED = 4096
"""Averaged pixels of a plane that are compared."""


@dataclass(frozen=True)
class Held:
    """Indices of the targets to score on, those to leave out because they look like them, and a sentence."""

    scored: frozenset[int]
    dropped: frozenset[int]
    how: str


def hold_out_whole(targets: Sequence[Target], fraction: float, rng: np.random.Generator) -> Held | None:
    """Hold out images by chance, or runs of the planes or time points of each stack.

    Planes beside a run that look like those in it are neither trained nor scored on: who has learned one by
    heart would be right on the next.

    Parameters
    ----------
    targets : sequence of Target
    fraction : float
        Share of the images or planes to hold out.
    rng : numpy.random.Generator

    Returns
    -------
    Held or None
        None where they are few, look alike throughout, or a class would be missing from training.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> classes, weight = np.zeros((8, 8), np.uint8), np.zeros((8, 8), np.float32)
    >>> def plane(z):
    ...     return Target(rng.random((1, 8, 8), np.float32), classes, weight, "stack", index=(0, z))
    >>> hold_out_whole([plane(z) for z in range(20)], 0.1, np.random.default_rng(0)).how
    '2 of 20 planes are held out, in one run'
    """
    for held in (_images(targets, fraction, rng), _runs(targets, fraction, rng)):
        if held is not None and _keeps_classes(targets, held):
            return held
    return None


def look_alike_within(planes: Sequence[NDArray[np.float32]], at: Sequence[int]) -> int:
    """Return the smallest distance from which planes of a stack no longer look alike.

    Parameters
    ----------
    planes : sequence of ndarray, shape (C, *spatial)
    at : sequence of int
        Position of each in the stack, ascending.

    Returns
    -------
    int
        1 if neighbours differ already; one more than the largest distance if all look alike.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> noise = rng.normal(size=(12, 1, 32, 32)).astype(np.float32).repeat(4, 2).repeat(4, 3)
    >>> look_alike_within(noise.repeat(3, 0), range(36))
    3
    """
    vectors = np.stack([_compared(plane) for plane in planes])  # (n, n_pixels)
    alike = vectors @ vectors.T
    positions = np.asarray(at)
    away = np.abs(positions[:, None] - positions[None]).ravel()
    n_pairs = np.bincount(away)
    sums = np.bincount(away, alike.ravel())
    differ = np.flatnonzero((n_pairs > 0) & (sums < ALIKE * n_pairs))
    return int(next((distance for distance in differ if distance), away.max(initial=0) + 1))


def _compared(plane: NDArray[np.float32]) -> NDArray[np.float32]:
    """Averaged pixels of a plane with mean 0 and norm 1; zeros where it is constant."""
    pooled = plane.mean(0)
    for axis in range(pooled.ndim):
        starts = np.arange(0, pooled.shape[axis], min(POOL, pooled.shape[axis]))
        counts = np.diff([*starts, pooled.shape[axis]])  # fewer at the far edge
        sums = np.moveaxis(np.add.reduceat(pooled, starts, axis), axis, -1)
        pooled = np.moveaxis(sums / counts, -1, axis)
    flat = pooled.ravel()[:: -(-pooled.size // MAX_COMPARED)]
    flat = flat - flat.mean()
    norm = np.linalg.norm(flat)
    return np.asarray(flat / norm if norm > 0 else flat, np.float32)


def _images(targets: Sequence[Target], fraction: float, rng: np.random.Generator) -> Held | None:
    sources = sorted({target.source for target in targets})
    if len(sources) < MIN_UNITS_TO_HOLD_OUT:
        return None
    order = rng.permutation(len(sources))
    chosen = {sources[index] for index in order[: max(1, round(fraction * len(sources)))]}
    scored = frozenset(index for index, target in enumerate(targets) if target.source in chosen)
    return Held(scored, frozenset(), f"{len(chosen)} of {len(sources)} images are held out")


def _runs(targets: Sequence[Target], fraction: float, rng: np.random.Generator) -> Held | None:
    """Hold out a run of each stack that has enough planes, or time points."""
    scored: set[int] = set()
    dropped: set[int] = set()
    names, n_runs = set(), 0
    for source in sorted({target.source for target in targets}):
        members = [index for index, target in enumerate(targets) if target.source == source]
        axis = _long_axis([targets[index].index for index in members])
        run = None if axis is None else _run_of(targets, members, axis, fraction, rng)
        if run is not None:
            scored |= run[0]
            dropped |= run[1]
            names.add("planes" if axis == -1 and len(targets[members[0]].index) > 1 else "time points")
            n_runs += 1
    if not scored:
        return None
    gap = f"; {len(dropped)} beside that look like them are left out" if dropped else ""
    runs = "one run" if n_runs == 1 else f"{n_runs} runs"
    how = f"{len(scored)} of {len(targets)} {' and '.join(sorted(names))} are held out, in {runs}{gap}"
    return Held(frozenset(scored), frozenset(dropped), how)


def _long_axis(indices: Sequence[tuple[int, ...]]) -> int | None:
    """Return the last axis of the indices along which there are enough planes or time points."""
    for axis in range(-1, -1 - min(map(len, indices)), -1):
        if len({index[axis] for index in indices}) >= MIN_UNITS_TO_HOLD_OUT:
            return axis
    return None


def _run_of(
    targets: Sequence[Target], members: Sequence[int], axis: int, fraction: float, rng: np.random.Generator
) -> tuple[set[int], set[int]] | None:
    """Choose a run of one stack by chance: targets in it, and those beside it that look alike.

    At least half of the positions stay in training.
    """
    firsts = {targets[index].index[axis]: index for index in reversed(members)}
    at = sorted(firsts)
    gap = look_alike_within([targets[firsts[position]].image for position in at], at)
    n_held = max(1, round(fraction * len(at)))
    for start in rng.permutation(len(at) - n_held + 1).tolist():
        first, last = at[start], at[start + n_held - 1]
        lost = {position for position in at if first - gap < position < last + gap}
        if len(lost) <= len(at) / 2:
            scored = {index for index in members if first <= targets[index].index[axis] <= last}
            return scored, {i for i in members if targets[i].index[axis] in lost} - scored
    return None


def _keeps_classes(targets: Sequence[Target], held: Held) -> bool:
    out = held.scored | held.dropped
    training = set(_classes(target for index, target in enumerate(targets) if index not in out))
    return training >= set(_classes(targets))


def _classes(targets: Sequence[Target] | Iterator[Target]) -> Iterator[int]:
    for target in targets:
        yield from set(np.unique(target.classes).tolist()) - {UNLABELLED}
