"""What the settings mean to the core."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from napari_unet.core.augment import MANY_IMAGES, ONE_STACK, Augmentation
from napari_unet.core.networks.unet import pools_for_spacing
from napari_unet.core.starting import Architecture
from napari_unet.core.supply import TrainConfig
from napari_unet.session.settings import Settings, Strength

PRESETS: dict[Strength, Augmentation] = {
    "none": Augmentation(flip=False),
    "mild": ONE_STACK,
    "strong": MANY_IMAGES,
}


def architecture(settings: Settings) -> Architecture:
    """Say which network is wanted."""
    return Architecture(width=settings.width, depth=settings.depth)


def train_config(settings: Settings, spacing: Sequence[float], n_images: int) -> TrainConfig:
    """Say how to train; the data decide what is left open where single strengths are set."""
    return TrainConfig(
        loss=settings.loss,
        patch_size=settings.patch_size,
        learning_rate=settings.learning_rate,
        augmentation=_augmentation(settings, spacing, n_images),
        w0=settings.w0,
        sigma=settings.sigma,
        keep="latest",  # what the user saw when pressing Stop
    )


def _augmentation(settings: Settings, spacing: Sequence[float], n_images: int) -> Augmentation | None:
    """Return the changes that are wanted, None where the core is to decide."""
    given = _given_strengths(settings)
    if settings.augmentation == "auto" and not given:
        return None
    auto: Strength = "strong" if n_images > 1 else "mild"
    preset = PRESETS[auto if settings.augmentation == "auto" else settings.augmentation]
    factors = pools_for_spacing(spacing, 1)[0]
    rigid = tuple(
        axis for axis, factor in enumerate(factors) if factor == 1
    )  # nothing bends along long voxels
    return replace(preset, rigid=rigid, **given)


def _given_strengths(settings: Settings) -> dict[str, Any]:
    names = ("rotation", "scale", "elastic")
    strengths = {name: getattr(settings, name) for name in names}
    strengths |= dict.fromkeys(("brightness", "contrast", "gamma"), settings.intensity)
    return {name: value for name, value in strengths.items() if value is not None}
