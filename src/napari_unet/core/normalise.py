"""Intensity statistics, measured once per image or stack and never per tile, and what is done with them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Region = tuple[slice, ...]
Read = Callable[[Region], NDArray[Any]]

N_CHUNKS = 64
CHUNK_SIDE = 128
PERCENTILES = (1.0, 99.8)
CLIP = (-3.0, 5.0)
METHODS = ("percentile", "percentile-asinh")
BEND = 0.1
"""Share of the range up to which the inverse hyperbolic sine is about linear; it is logarithmic above."""
SOLID = 9
"""Side of a square of equal pixels that is padding rather than background: noise has none."""
RARE = 0.02
"""Share of pixels that are no padding below which more chunks are read, and padding never counts."""
MORE_CHUNKS = (1024, 8192)
"""Chunks that are read where there are hardly any pixels but padding."""
MOST_AT_ONCE = 2**24
"""Pixels that are read at once, and kept to be measured."""
TEXTURE, MAX_COMPARED = 32, 100_000
"""Values that the content of a padded image has at least, of so many pixels."""
DARK = 0.2
"""Images whose median lies below this share of the range are mostly dark, as fluorescence is."""


@dataclass(frozen=True)
class Intensity:
    """The raw intensities that become -1 and +1, one pair per channel.

    Parameters
    ----------
    low, high : tuple of float
        Finite; ``high`` is above ``low``.
    median : tuple of float
        One per channel where it has been measured.
    method : {"percentile", "percentile-asinh"}
        Whether what lies between is linear, or compressed so that dim structures show beside bright ones.
    padding : tuple of (float or None)
        Value of each channel that surrounds the image and does not occur in it; it counts as low.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]
    median: tuple[float, ...] = ()
    method: str = METHODS[0]
    padding: tuple[float | None, ...] = ()

    def __post_init__(self) -> None:
        pairs = list(zip(self.low, self.high, strict=True))
        if not pairs or not all(np.isfinite(pair).all() and pair[0] < pair[1] for pair in pairs):
            raise ValueError(f"intensities {pairs} are no ranges: low has to be finite and below high")
        if self.method not in METHODS:
            raise ValueError(f"normalisation is {self.method!r}: choose one of {', '.join(METHODS)}")


def measure_intensity(read: Read, shape: Sequence[int]) -> Intensity:
    """Measure robust lowest, highest and median intensities from at most 64 chunks.

    Small images are read whole; of others, chunks of at most 128x128 pixels at fixed, seeded positions that
    spread evenly along every axis. Where these hold hardly anything but padding, as in a mosaic or a sparse
    stack, up to 8192 chunks are read, and the padding does not count.

    Parameters
    ----------
    read : callable
        Takes one slice per axis of ``shape`` and returns the pixels (C, …).
    shape : sequence of int
        Shape of the image without its channels; leading axes such as time may be part of it.

    Returns
    -------
    Intensity
        The 1 and 99.8 percentiles and the median of each channel's finite pixels; a constant channel gets a
        harmless range.

    Examples
    --------
    >>> image = np.arange(101.0).reshape(1, 1, 101)
    >>> measure_intensity(lambda region: image[:, *region], (1, 101))
    Intensity(low=(1.0,), high=(99.8,), median=(50.0,), method='percentile', padding=())
    """
    chunks = [read(region) for region in sample_regions(shape, (CHUNK_SIDE, CHUNK_SIDE), N_CHUNKS)]
    fills = [_most_frequent([chunk[channel] for chunk in chunks]) for channel in range(len(chunks[0]))]
    channels = _sampled(chunks, fills)
    for n_chunks in MORE_CHUNKS:
        poor = [index for index, channel in enumerate(channels) if not channel.is_enough]
        if not poor:
            break
        more = (read(region)[poor] for region in _many_regions(shape, n_chunks))
        for index, channel in zip(poor, _sampled(more, [fills[index] for index in poor]), strict=True):
            channels[index] = channel
    low, high, median, padding = zip(*(channel.measured() for channel in channels), strict=True)
    is_padded = any(value is not None for value in padding)
    return Intensity(low, high, median, padding=padding if is_padded else ())


def _sampled(chunks: Iterable[NDArray[Any]], fills: Sequence[Any]) -> list["_Channel"]:
    """Collect the pixels of chunks (C, …) by channel."""
    channels = [_Channel(fill) for fill in fills]
    for chunk in chunks:
        for channel, pixels in zip(channels, chunk, strict=True):
            channel.add(pixels)
    return channels


class _Channel:
    """Pixels of a channel, with and without padding: solid areas of the most frequent value."""

    def __init__(self, fill: Any) -> None:
        self._fill = fill
        self._n_pixels = self._n_finite = 0
        self._every: list[NDArray[Any]] = [np.empty(0)]
        self._content: list[NDArray[Any]] = [np.empty(0)]

    def add(self, pixels: NDArray[Any]) -> None:
        """Take a chunk."""
        finite, content = pixels[np.isfinite(pixels)], _without_padding(pixels, self._fill)
        self._n_pixels, self._n_finite = self._n_pixels + pixels.size, self._n_finite + finite.size
        self._content.append(content)
        if len(content) and self._n_pixels <= MOST_AT_ONCE:  # padding by the gigabyte says nothing more
            self._every.append(finite)

    @property
    def is_enough(self) -> bool:
        """Whether there are pixels that are no padding."""
        return sum(map(len, self._content)) > RARE * self._n_pixels

    def measured(self) -> tuple[float, float, float, float | None]:
        """Low, high and median, without padding where it is some; and the value of the padding."""
        every, content = np.concatenate(self._every), np.concatenate(self._content)
        if not len(content):
            return *_range(np.full(min(self._n_finite, 1), self._fill)), None
        low, high, median = _range(content)
        is_padded = len(content) < self._n_finite and _is_textured(content)
        if is_padded and not low <= float(self._fill) <= high:
            return low, high, median, float(self._fill)
        if is_padded and len(content) < RARE * self._n_finite:
            return low, high, median, None
        return *_range(every), None


def _is_textured(content: NDArray[Any]) -> bool:
    """Tell a picture from clean shapes on a clean background, which is no padding."""
    return len(np.unique(content[:MAX_COMPARED])) >= TEXTURE


def choose_method(intensities: Sequence[Intensity]) -> str:
    """Choose how the images of a dataset are normalised: compressed where they are mostly dark.

    Parameters
    ----------
    intensities : sequence of Intensity
        Of each image, measured.

    Returns
    -------
    {"percentile", "percentile-asinh"}

    Examples
    --------
    >>> choose_method([Intensity((0.0,), (100.0,), (3.0,))])
    'percentile-asinh'
    """
    shares = [
        (median - low) / (high - low)
        for each in intensities
        for low, high, median in zip(each.low, each.high, each.median, strict=True)
    ]
    return METHODS[int(np.mean(shares) < DARK)]


def sample_regions(shape: Sequence[int], chunk_shape: Sequence[int], n_chunks: int) -> list[Region]:
    """Return evenly spread, seeded regions; one that is everything, if they would cover as much.

    Parameters
    ----------
    shape : sequence of int
        Shape of what is sampled.
    chunk_shape : sequence of int
        Shape of a chunk along the last axes; 1 pixel along the axes before. It is cut to ``shape``.
    n_chunks : int
        Number of regions.

    Returns
    -------
    list of tuple of slice
        Regions inside ``shape``, the same in every run.

    Examples
    --------
    >>> sample_regions((10, 10), (64, 64), 8)
    [(slice(0, 10, None), slice(0, 10, None))]
    """
    chunk = (*(1,) * (len(shape) - len(chunk_shape)), *chunk_shape)
    if prod(shape) <= prod(chunk) * n_chunks:
        return [tuple(slice(0, size) for size in shape)]
    rng = np.random.default_rng(0)
    starts = []
    for size, length in zip(shape, chunk, strict=True):
        strata = (rng.permutation(n_chunks) + rng.random(n_chunks)) / n_chunks  # in [0, 1), one in each n-th
        starts.append((strata * max(1, size - length + 1)).astype(int).tolist())
    corners = zip(*starts, strict=True)
    return [
        tuple(slice(at, min(at + n, size)) for at, n, size in zip(corner, chunk, shape, strict=True))
        for corner in corners
    ]


def normalise(array: NDArray[Any], intensity: Intensity) -> NDArray[np.float32]:
    """Map each channel's low to -1 and its high to +1, and clip mildly to [-3, 5].

    What lies between is linear or, by the method "percentile-asinh", an inverse hyperbolic sine as
    astronomers use it [1]_.

    Parameters
    ----------
    array : ndarray (C, …)
        Raw pixels of any real type. Padding and pixels that are not finite count as the low of their
        channel: raw 0 may be the brightest value that there is.
    intensity : Intensity
        One range per channel.

    Returns
    -------
    ndarray (C, …) of float32
        A new array.

    Raises
    ------
    ValueError
        If the number of channels differs.

    References
    ----------
    .. [1] Lupton, Gunn, Szalay, A Modified Magnitude System that Produces Well-Behaved Magnitudes, 1999.

    Examples
    --------
    >>> normalise(np.array([[10, 20, 30]], np.uint8), Intensity((10.0,), (30.0,)))
    array([[-1.,  0.,  1.]], dtype=float32)
    """
    if len(array) != len(intensity.low):
        raise ValueError(f"the array has {len(array)} channels and the intensities {len(intensity.low)}")
    out = np.empty(array.shape, np.float32)
    paddings = intensity.padding or (None,) * len(array)
    for pixels, result, low, high, padding in zip(
        array, out, intensity.low, intensity.high, paddings, strict=True
    ):
        with np.errstate(over="ignore", invalid="ignore"):  # NaN, and what overflows is clipped anyway
            # wide integers lose their last digits in float32: subtract in float64
            values = pixels.astype(np.result_type(pixels.dtype, np.float32))
            values[~np.isfinite(values)] = low
            if padding is not None:
                values[pixels == padding] = low
            values -= (low + high) / 2
            values *= 2 / (high - low)
            if intensity.method == "percentile-asinh":
                values = np.arcsinh((values + 1) / (2 * BEND)) * (2 / np.arcsinh(1 / BEND)) - 1
            np.clip(values, *CLIP, out=result, casting="same_kind")
    return out


def count_nonfinite(array: NDArray[Any]) -> int:
    """Count NaN and infinite pixels; integers have none.

    Examples
    --------
    >>> count_nonfinite(np.array([1.0, np.nan, np.inf]))
    2
    """
    if not np.issubdtype(array.dtype, np.inexact):
        return 0
    return int(array.size - np.count_nonzero(np.isfinite(array)))


def _most_frequent(chunks: Sequence[NDArray[Any]]) -> Any:
    pixels = np.concatenate([chunk[np.isfinite(chunk)] for chunk in chunks])
    values, counts = np.unique(pixels, return_counts=True)
    return values[counts.argmax()] if len(values) else 0


def _without_padding(channel: NDArray[Any], fill: Any) -> NDArray[Any]:
    """Return the finite pixels of a channel that lie in no solid square of the fill value."""
    is_fill = channel == fill
    if is_fill.all():
        return np.empty(0, channel.dtype)
    square = (*(1,) * (channel.ndim - 2), *(min(SOLID, size) for size in channel.shape[-2:]))[-channel.ndim :]
    padding = ndimage.binary_opening(is_fill, np.ones(square, bool)) if is_fill.any() else is_fill
    kept: NDArray[Any] = channel[np.isfinite(channel) & ~padding]
    return kept


def _many_regions(shape: Sequence[int], n_chunks: int) -> Iterator[Region]:
    """Spread more chunks, or cover everything, in pieces that fit into memory."""
    regions = sample_regions(shape, (CHUNK_SIDE, CHUNK_SIDE), n_chunks)
    if len(regions) > 1:
        yield from regions
        return
    outer = [range(size) for size in shape[:-2]]
    rows = max(1, MOST_AT_ONCE // shape[-1])
    for place in product(*outer):
        for start in range(0, shape[-2], rows):
            part = slice(start, min(start + rows, shape[-2]))
            yield (*(slice(at, at + 1) for at in place), part, slice(0, shape[-1]))


def _range(pixels: NDArray[Any]) -> tuple[float, float, float]:
    values = pixels[np.isfinite(pixels)]
    if not values.size:
        return 0.0, 1.0, 0.0
    values = values.astype(np.float64)
    low, median, high = np.percentile(values, (PERCENTILES[0], 50, PERCENTILES[1])).tolist()
    if low == high:  # less than 0.2 % of the pixels differ: then these matter
        low, high = float(values.min()), float(values.max())
    if high - low <= 1e-30:  # constant: any range will do
        high = low + max(1.0, abs(low))
        low, high = (low, high) if np.isfinite(high) else (low / 2, low)
    return low, high, median
