"""What decides the prediction of one plane, as an image by itself."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_unet.core.io import Image
from napari_unet.core.io.image import LazyArray
from napari_unet.core.tiling import Region, round_up

if TYPE_CHECKING:
    from napari_unet.core.networks import Network


@dataclass(frozen=True, eq=False)
class Window:
    """A region of a lazy array, as lazy as that."""

    data: LazyArray
    region: Region

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the region."""
        return tuple(part.stop - part.start for part in self.region)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the whole array."""
        return self.data.dtype

    def __getitem__(self, region: Region, /) -> NDArray[Any]:
        shifted = zip(region, self.region, strict=True)
        inside: NDArray[Any] = self.data[tuple(_shift(part, by.start) for part, by in shifted)]
        return inside


def around_plane(image: Image, t: int, z: int, network: "Network") -> tuple[Image, int]:
    """Return the part of an image that decides what is predicted on a plane, and where in it that lies."""
    planes = slice(z, z + 1)
    if network.config.ndim == 3:
        planes = slab(z, image.spatial_shape[0], network.stride[0], network.context[0])
    kept = {"T": slice(t, t + 1), "Z": planes}
    sizes = zip(image.axes, image.data.shape, strict=True)
    region = tuple(kept.get(axis, slice(0, size)) for axis, size in sizes)
    return replace(image, data=Window(image.data, region)), z - planes.start


def slab(z: int, n_planes: int, stride: int, context: int) -> slice:
    """Return the planes that a 3D network sees for one plane; pooling cells lie as in the whole stack.

    Examples
    --------
    >>> slab(9, 100, 4, 6), slab(1, 10, 4, 6)
    (slice(0, 20, None), slice(0, 10, None))
    """
    cell = z // stride * stride
    reach = round_up(context, stride)
    return slice(max(0, cell - reach), min(n_planes, cell + stride + reach))


def _shift(part: slice, by: int) -> slice:
    return slice(part.start + by, part.stop + by)
