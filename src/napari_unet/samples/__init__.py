"""Small shipped nuclei images (CC0, BBBC038) and a generator of 3D blobs; needs numpy only."""

from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

LayerData = tuple[NDArray[Any], dict[str, Any], str]


@dataclass(frozen=True, eq=False)
class Sample:
    """An image with its true objects, both (Y, X) or (Z, Y, X); 0 in `objects` is background."""

    name: str
    image: NDArray[Any]
    objects: NDArray[np.uint16]
    spacing: tuple[float, ...]


def nuclei() -> tuple[list[Sample], list[Sample]]:
    """Five nuclei images to train on and four of other fields to test on.

    Each is a uint8 square of 256 pixels out of the 2018 Data Science Bowl (Caicedo et al. 2019) and of
    another kind: sparse, with debris, large, uneven, crowded. No field has a part on both sides.

    Returns
    -------
    tuple of list of Sample
        The training samples and the test samples.

    Examples
    --------
    >>> train, test = nuclei()
    >>> [sample.name for sample in train]
    ['sparse', 'debris', 'large', 'uneven', 'crowded']
    >>> test[0].image.shape, int(test[0].objects.max())
    ((256, 256), 66)
    """
    return _read("nuclei_train.npz"), _read("nuclei_test.npz")


def nuclei_stack() -> Sample:
    """Six nuclei fields of one kind of microscope as the planes of a stack.

    The planes are neighbours in the array only: an object ends with its plane, and its number is unique
    within the stack.

    Returns
    -------
    Sample
        uint8 image and uint16 objects of shape (6, 192, 192).
    """
    planes = _read("nuclei_stack.npz")
    image = np.stack([plane.image for plane in planes])
    objects = np.stack([plane.objects for plane in planes])
    before = np.cumsum([0, *(plane.objects.max() for plane in planes[:-1])])[:, None, None]
    unique = np.where(objects > 0, objects + before, 0).astype(np.uint16)
    return Sample("nuclei stack", image, unique, (1.0, 1.0, 1.0))


def blobs_3d(
    shape: tuple[int, int, int] = (32, 96, 96), n_blobs: int = 40, spacing_z: float = 2.0, seed: int = 0
) -> Sample:
    """Generate a noisy volume of bright ellipsoids, some of them touching.

    Parameters
    ----------
    shape : tuple of int
        Voxels along Z, Y and X.
    n_blobs : int
        How many ellipsoids are drawn; one that is hidden by its neighbours is missing from the objects.
    spacing_z : float
        Distance of two planes in pixels: voxels are `(spacing_z, 1, 1)`, the ellipsoids are as flat.
    seed : int
        The same seed gives the same volume.

    Returns
    -------
    Sample
        uint8 image and uint16 objects.

    Examples
    --------
    >>> sample = blobs_3d((8, 32, 32), n_blobs=5)
    >>> sample.image.shape, sample.image.dtype, sample.spacing
    ((8, 32, 32), dtype('uint8'), (2.0, 1.0, 1.0))
    """
    rng = np.random.default_rng(seed)
    spacing = (spacing_z, 1.0, 1.0)
    size = np.multiply(shape, spacing)
    centres = rng.uniform(0, size, (n_blobs, 3))
    radii = rng.uniform(6, 10, (n_blobs, 3))
    brightness = rng.uniform(60, 160, n_blobs)
    position = np.moveaxis(np.indices(shape), 0, -1) * spacing  # (Z, Y, X, 3)
    depth = np.full(shape, np.inf)  # 0 at the centre of the nearest blob, 1 on its surface
    nearest = np.zeros(shape, dtype=np.intp)
    for index, (centre, radius) in enumerate(zip(centres, radii, strict=True)):
        own = np.linalg.norm((position - centre) / radius, axis=-1)
        nearest[own < depth] = index
        depth = np.minimum(depth, own)
    signal = brightness[nearest] / (1 + np.exp(np.minimum(12 * (depth - 1), 50)))
    image = np.clip(rng.poisson(signal + 12), 0, 255).astype(np.uint8)
    objects = np.where(depth < 1, nearest + 1, 0)
    numbers = np.unique(objects, return_inverse=True)[1].reshape(shape)  # 0, 1, 2, … without gaps
    return Sample("blobs 3D", image, numbers.astype(np.uint16), spacing)


def nuclei_layers() -> list[LayerData]:
    """Layers of the sample "Nuclei": the training images as planes, their objects hidden."""
    train, _ = nuclei()
    image, objects = np.stack([s.image for s in train]), np.stack([s.objects for s in train])
    return _layers(Sample("nuclei", image, objects, (1.0, 1.0, 1.0)))


def nuclei_stack_layers() -> list[LayerData]:
    """Layers of the sample "Nuclei stack", its objects hidden."""
    return _layers(nuclei_stack())


def blobs_3d_layers() -> list[LayerData]:
    """Layers of the sample "Blobs 3D", its objects hidden."""
    return _layers(blobs_3d())


def _read(name: str) -> list[Sample]:
    """All samples of one shipped file."""
    with files(__name__).joinpath(name).open("rb") as file, np.load(file) as archive:
        arrays = zip(archive["names"], archive["images"], archive["objects"], strict=True)
        return [Sample(str(name), image, objects, (1.0, 1.0)) for name, image, objects in arrays]


def _layers(sample: Sample) -> list[LayerData]:
    """Image layer, and the truth in a hidden layer so that it does not cover what is to be painted."""
    brightest = float(np.percentile(sample.image, 99.8))  # napari would show the whole range of the type: dim
    placed = {"scale": sample.spacing, "axis_labels": ("z", "y", "x")}
    shown = {"name": sample.name, "contrast_limits": (0.0, brightest), **placed}
    image = (sample.image, shown, "image")
    truth = {"name": f"{sample.name} truth", "visible": False, **placed}
    return [image, (sample.objects, truth, "labels")]
