"""Random changes of whole batches of patches, on the device that trains."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, exp, pi, sqrt

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

ELASTIC_CELL = 48
"""Pixels between the control points of the elastic deformation."""


@dataclass(frozen=True)
class Augmentation:
    """How strongly patches are changed; 0 switches a change off.

    Parameters
    ----------
    flip : bool
        Mirror each axis by chance, and turn by quarters in the plane where the patch is square there.
    rotation : float
        Largest angle in the plane, degrees.
    scale : float
        Largest change of size, as the logarithm of the factor.
    elastic : float
        Standard deviation of the elastic displacement, pixels [1]_.
    rigid : tuple of int
        Spatial axes along which nothing is scaled or displaced: pixels are too long there.
    brightness, contrast, gamma : float
        Standard deviations: of the offset, and of the logarithms of the factor and the exponent.
    noise : float
        Largest standard deviation of added Gaussian noise.
    blur : float
        Largest share of a Gaussian blur mixed in; as much sharpening is drawn too.

    References
    ----------
    .. [1] Ronneberger et al., U-Net: Convolutional Networks for Biomedical Image Segmentation, 2015.
    """

    flip: bool = True
    rotation: float = 0.0
    scale: float = 0.0
    elastic: float = 0.0
    rigid: tuple[int, ...] = ()
    brightness: float = 0.0
    contrast: float = 0.0
    gamma: float = 0.0
    noise: float = 0.0
    blur: float = 0.0

    def window_shape(self, patch_shape: Sequence[int]) -> tuple[int, ...]:
        """Return the shape of the region that a changed patch is sampled from.

        Its size along each axis differs from the patch's by an even number: the centres fall together.
        """
        diagonal = sqrt(sum(size**2 for size in patch_shape[-2:]))
        turned = [max(size, diagonal if self.rotation else size) for size in patch_shape[-2:]]
        reach = [*patch_shape[:-2], *turned]
        bent = [0 if axis in self.rigid else 6 * self.elastic for axis in range(len(reach))]
        factors = [1.0 if axis in self.rigid else exp(self.scale) for axis in range(len(reach))]
        extra = [
            ceil((size * factor + more - patch) / 2)
            for size, factor, more, patch in zip(reach, factors, bent, patch_shape, strict=True)
        ]
        return tuple(patch + 2 * max(0, more) for patch, more in zip(patch_shape, extra, strict=True))


ONE_STACK = Augmentation(brightness=0.1, contrast=0.1, gamma=0.1)
"""For slices of one stack, which look alike, where much of them is annotated."""
MANY_IMAGES = Augmentation(rotation=180, scale=0.35, elastic=2.0, brightness=0.15, contrast=0.2, gamma=0.2)
"""For images that differ in size, contrast and focus, and for a few strokes."""


def augment(
    images: Tensor,
    targets: Tensor,
    patch_shape: Sequence[int],
    augmentation: Augmentation,
    generator: Generator,
) -> tuple[Tensor, Tensor]:
    """Cut changed patches out of windows: image linear and target nearest through one sampling grid.

    Parameters
    ----------
    images : Tensor of float, shape (B, C, *window_shape)
    targets : Tensor of float, shape (B, K, *window_shape)
        Class indices and weights, sampled without mixing values.
    patch_shape : sequence of int
    augmentation : Augmentation
    generator : torch.Generator
        On the device of the images.

    Returns
    -------
    images : Tensor, shape (B, C, *patch_shape)
    targets : Tensor, shape (B, K, *patch_shape)

    Examples
    --------
    >>> image = torch.arange(64.0).reshape(1, 1, 8, 8)
    >>> changed, target = augment(image, image, (4, 4), Augmentation(), torch.Generator().manual_seed(0))
    >>> changed.shape, bool(torch.allclose(changed, target, atol=1e-4))
    (torch.Size([1, 1, 4, 4]), True)
    """
    grid = sampling_grid(len(images), images.shape[2:], patch_shape, augmentation, generator)
    image = F.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    target = F.grid_sample(targets, grid, mode="nearest", padding_mode="reflection", align_corners=False)
    return change_intensity(image, augmentation, generator), target


def sampling_grid(
    n: int,
    window_shape: Sequence[int],
    patch_shape: Sequence[int],
    augmentation: Augmentation,
    generator: Generator,
) -> Tensor:
    """Draw where in the window each pixel of each patch comes from.

    Parameters
    ----------
    n : int
        Number of patches.
    window_shape, patch_shape : sequence of int
    augmentation : Augmentation
    generator : torch.Generator

    Returns
    -------
    Tensor of float32, shape (n, *patch_shape, ndim)
        Coordinates as ``grid_sample`` takes them: x first, -1 and 1 at the outer edges of the window.
    """
    device = generator.device
    axes = [torch.arange(size, device=device) - (size - 1) / 2 for size in patch_shape]
    places = torch.stack(
        torch.meshgrid(*axes, indexing="ij"), dim=-1
    )  # *patch_shape, ndim; pixels from the centre
    matrices = _random_matrices(n, patch_shape, augmentation, generator)  # n, ndim, ndim
    moved = torch.einsum("nij,...j->n...i", matrices, places)
    if augmentation.elastic:
        moved = moved + _displacement(n, patch_shape, augmentation, generator)
    size = torch.tensor(list(window_shape), device=device)
    return (2 * moved / size).flip(-1)


def change_intensity(images: Tensor, augmentation: Augmentation, generator: Generator) -> Tensor:
    """Draw brightness, contrast, gamma, noise and blur for each patch (B, C, *spatial)."""
    per_patch = (len(images), *[1] * (images.ndim - 1))

    def normal() -> Tensor:
        return torch.randn(per_patch, device=images.device, generator=generator)

    def uniform() -> Tensor:
        return torch.rand(per_patch, device=images.device, generator=generator)

    if augmentation.blur:
        images = images + (2 * uniform() - 1) * augmentation.blur * (_blurred(images) - images)
    if augmentation.gamma:
        over = tuple(range(2, images.ndim))  # each channel has a range of its own
        low, high = images.amin(over, keepdim=True), images.amax(over, keepdim=True)
        span = (high - low).clamp(min=1e-6)
        images = ((images - low) / span).clamp(min=1e-6) ** torch.exp(
            augmentation.gamma * normal()
        ) * span + low
    images = images * torch.exp(augmentation.contrast * normal()) + augmentation.brightness * normal()
    if augmentation.noise:
        noise = torch.randn(images.shape, device=images.device, generator=generator)
        images = images + augmentation.noise * uniform() * noise
    return images


def _random_matrices(
    n: int, patch_shape: Sequence[int], augmentation: Augmentation, generator: Generator
) -> Tensor:
    """Linear maps (n, ndim, ndim) from patch to window: flips, turns in the last two axes, one scale."""
    ndim, device = len(patch_shape), generator.device
    scale = torch.exp((2 * torch.rand(n, 1, device=device, generator=generator) - 1) * augmentation.scale)
    scale = scale.repeat(1, ndim)
    scale[:, list(augmentation.rigid)] = 1
    signs = torch.ones(n, ndim, device=device)
    angle = (2 * torch.rand(n, device=device, generator=generator) - 1) * augmentation.rotation * pi / 180
    cos, sin = torch.cos(angle), torch.sin(angle)
    if augmentation.flip:
        signs = 1 - 2.0 * torch.randint(2, (n, ndim), device=device, generator=generator)
        if patch_shape[-1] == patch_shape[-2]:
            quarter = torch.randint(2, (n,), device=device, generator=generator).bool()
            # exact quarter turns keep pixels on pixels
            cos, sin = torch.where(quarter, -sin, cos), torch.where(quarter, cos, sin)
    matrices = torch.diag_embed(torch.ones(n, ndim, device=device))
    matrices[:, -2:, -2:] = torch.stack([torch.stack([cos, -sin], -1), torch.stack([sin, cos], -1)], -2)
    return matrices * (signs * scale)[:, None, :]


def _displacement(
    n: int, patch_shape: Sequence[int], augmentation: Augmentation, generator: Generator
) -> Tensor:
    """Smooth random displacement in pixels (n, *patch_shape, ndim), drawn on a coarse grid."""
    std = augmentation.elastic
    coarse = [max(3, size // ELASTIC_CELL + 2) for size in patch_shape]
    vectors = std * torch.randn(n, len(coarse), *coarse, device=generator.device, generator=generator)
    vectors[:, list(augmentation.rigid)] = 0
    mode = "bicubic" if len(coarse) == 2 else "trilinear"
    smooth = F.interpolate(vectors, tuple(patch_shape), mode=mode, align_corners=True)
    return smooth.clamp(-3 * std, 3 * std).movedim(1, -1)


def _blurred(images: Tensor) -> Tensor:
    """Average each pixel with its neighbours by (1, 2, 1) / 4 twice along each axis: sigma of one pixel."""
    ndim = images.ndim - 2
    for axis in range(2, images.ndim):
        if images.shape[axis] < 2:
            continue
        padding = [0] * (2 * ndim)
        padding[2 * (images.ndim - 1 - axis)] = padding[2 * (images.ndim - 1 - axis) + 1] = 1
        for _ in range(2):
            padded = F.pad(images, padding, mode="replicate")
            size = images.shape[axis]
            left, mid, right = (padded.narrow(axis, shift, size) for shift in range(3))
            images = (left + 2 * mid + right) / 4
    return images
