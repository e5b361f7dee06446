"""What a user can set: plain values that know neither the viewer nor torch."""

from dataclasses import dataclass
from math import isfinite
from typing import Literal, get_args

Strength = Literal["auto", "none", "mild", "strong"]
Device = Literal["auto", "cpu", "cuda", "mps"]

LOSSES = ("ce", "weighted-ce", "dice", "ce+dice", "focal")
STRENGTHS: tuple[Strength, ...] = get_args(Strength)
DEVICES: tuple[Device, ...] = get_args(Device)
RANGES = {
    "width": (1, 1024),
    "depth": (1, 8),
    "rotation": (0, 180),
    "scale": (0, 1),
    "elastic": (0, 20),
    "intensity": (0, 1),
}
"""Lowest and highest value of each setting that may be left open."""


@dataclass(frozen=True)
class WantedObjects:
    """Which objects are wanted of a segmentation; None leaves the smallest size, in pixels, to the model."""

    min_size: int | None = None
    keep_border: bool = True
    link: bool = False


ALL_OBJECTS = WantedObjects()


@dataclass(frozen=True)
class Settings:
    """How a network is built and trained; None leaves a choice to the core.

    The augmentation is a whole; each single strength replaces its part of it: `rotation` in degrees, `scale`
    as the logarithm of the factor, `elastic` in pixels, `intensity` as the deviation of brightness, contrast
    and gamma.
    """

    ndim: Literal[2, 3] = 2
    width: int | None = None
    depth: int | None = None
    loss: str = "ce+dice"
    augmentation: Strength = "auto"
    rotation: float | None = None
    scale: float | None = None
    elastic: float | None = None
    intensity: float | None = None
    w0: float = 10.0
    sigma: float = 5.0
    device: Device = "auto"
    patch_size: int | None = None
    learning_rate: float | None = None

    def __post_init__(self) -> None:
        if self.ndim not in (2, 3):
            raise ValueError(f"ndim is {self.ndim}: a network has 2 or 3 spatial axes")
        for name, choices in (("loss", LOSSES), ("augmentation", STRENGTHS), ("device", DEVICES)):
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} is {getattr(self, name)!r}: choose one of {', '.join(choices)}")
        for name in ("patch_size", "learning_rate", "sigma"):
            value = getattr(self, name)
            if value is not None and not (isfinite(value) and value > 0):
                raise ValueError(f"{name} is {value}: choose a value above 0")
        if not (isfinite(self.w0) and self.w0 >= 0):
            raise ValueError(f"w0 is {self.w0}: choose 0 or more")
        for name, (low, high) in RANGES.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise ValueError(f"{name} is {value}: choose a value from {low} to {high}")
