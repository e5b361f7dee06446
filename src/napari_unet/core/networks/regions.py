"""Parts of images and feature maps: padded, cropped, and what a part of the logits needs of each level."""

from collections.abc import Sequence

from torch import Tensor, nn

Shape = tuple[int, ...]
Region = tuple[slice, ...]


def pad_to(image: Tensor, shape: Sequence[int]) -> Tensor:
    """Repeat the last pixels of (B, C, …) until the spatial shape is ``shape``."""
    missing = [target - size for target, size in zip(shape, image.shape[2:], strict=True)]
    if not any(missing):
        return image
    padding = [amount for after in reversed(missing) for amount in (0, after)]
    return nn.functional.pad(image, padding, mode="replicate")


def crop_centre(x: Tensor, shape: Sequence[int]) -> Tensor:
    """Cut the middle of (B, C, …) to the spatial shape."""
    starts = [(size - target) // 2 for size, target in zip(x.shape[2:], shape, strict=True)]
    inner = (slice(start, start + size) for start, size in zip(starts, shape, strict=True))
    return x[(slice(None), slice(None), *inner)]


def decoded_regions(
    keep: Region, shapes: Sequence[Shape], pools: Sequence[Shape], reaches: Sequence[Shape]
) -> list[Region]:
    """Return for each level what has to be decoded for the kept part of the logits.

    That is what the level above needs, and what the convolutions reach beyond it: at the edge of what is
    decoded they see zeros, which is right at the border of the image only.

    Examples
    --------
    >>> decoded_regions((slice(40, 50),), [(96,), (48,)], [(2,), (2,)], [(2,), (2,)])
    [(slice(38, 52, None),), (slice(16, 28, None),)]
    """
    regions = []
    for shape, pool, reach in zip(shapes, pools, reaches, strict=True):
        region = tuple(map(_grown, keep, reach, pool, shape))
        regions.append(region)
        keep = pooled(region, pool)
    return regions


def _grown(part: slice, reach: int, step: int, size: int) -> slice:
    start = max(0, (part.start - reach) // step * step)
    return slice(start, min(size, -(-(part.stop + reach) // step) * step))


def pooled(region: Region, pool: Shape) -> Region:
    """Return the region of the level below, of one that consists of whole pooling cells."""
    return tuple(
        slice(part.start // step, part.stop // step) for part, step in zip(region, pool, strict=True)
    )


def relative(region: Region, covered: Region) -> Region:
    """Return where a region lies in an array that covers another one around it."""
    return tuple(
        slice(part.start - whole.start, part.stop - whole.start)
        for part, whole in zip(region, covered, strict=True)
    )
