"""What the dock shows, as one frozen value."""

from dataclasses import dataclass, field
from typing import Literal

from napari_unet.core.targets import Task
from napari_unet.session.classes import DEFAULT_CLASSES, ClassStyle
from napari_unet.session.images import ImageChoice, Index
from napari_unet.session.settings import Settings

Tool = Literal["", "accept", "split", "merge"]
"""What the mouse does to objects; "" leaves it to napari."""
Phase = Literal["idle", "preparing", "training", "paused", "stopping", "settled"]


@dataclass(frozen=True)
class PlaneState:
    """One annotated plane: where it is, and whether unlabelled means background there."""

    index: Index
    complete: bool


@dataclass(frozen=True)
class ImageState:
    """One annotated image and its annotated planes."""

    name: str
    planes: tuple[PlaneState, ...]


@dataclass(frozen=True)
class MeasureState:
    """What can be measured: the name of the layer, why it cannot be, and what was found in it."""

    layer: str = ""
    why_not: str = ""
    count: str = ""
    has_planes: bool = False
    busy: bool = False
    ending: bool = False


@dataclass(frozen=True)
class SessionState:
    """Everything that the dock shows; equal states look alike.

    Sentences are empty where there is nothing to say: ``can_train`` tells why not, ``kept`` what to restore,
    ``scored_on`` what the score is measured on, ``begun`` how much is there of a stack that was cancelled,
    ``cannot_link`` why slices are not linked.
    """

    choice: ImageChoice | None = None
    images: tuple[ImageState, ...] = ()
    task: Task = "classes"
    classes: tuple[ClassStyle, ...] = DEFAULT_CLASSES
    selected: int = 1
    plane: Index | None = None
    plane_complete: bool = False
    can_train: str = ""
    phase: Phase = "idle"
    verdict: str = ""
    scored_on: str = ""
    model: str = ""
    has_model: bool = False
    ndim: int = 2
    has_predicted: bool = False
    has_painted: bool = False
    cannot_link: str = ""
    device: str = ""
    settings: Settings = field(default_factory=Settings)
    weight_map: bool = False
    tool: Tool = ""
    segmenting: bool = False
    cancelling: bool = False
    begun: str = ""
    measure: MeasureState = field(default_factory=MeasureState)
    kept: str = ""
