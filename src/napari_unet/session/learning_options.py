"""What the settings mean to the core."""

from collections.abc import Sequence
from dataclasses import replace

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


def train_config(settings: Settings, spacing: Sequence[float]) -> TrainConfig:
    """Say how to train."""
    return TrainConfig(
        loss=settings.loss,
        patch_size=settings.patch_size,
        learning_rate=settings.learning_rate,
        augmentation=_preset(settings, spacing),
        strengths=_given_strengths(settings),
        w0=settings.w0,
        sigma=settings.sigma,
        keep="latest",  # what the user saw when pressing Stop
    )


def _preset(settings: Settings, spacing: Sequence[float]) -> Augmentation | None:
    """Return the changes that are wanted, None where the core is to decide."""
    if settings.augmentation == "auto":
        return None
    factors = pools_for_spacing(spacing, 1)[0]
    rigid = tuple(
        axis for axis, factor in enumerate(factors) if factor == 1
    )  # nothing bends along long voxels
    return replace(PRESETS[settings.augmentation], rigid=rigid)


def _given_strengths(settings: Settings) -> dict[str, float]:
    names = ("rotation", "scale", "elastic")
    strengths = {name: getattr(settings, name) for name in names}
    strengths |= dict.fromkeys(("brightness", "contrast", "gamma"), settings.intensity)
    return {name: value for name, value in strengths.items() if value is not None}
