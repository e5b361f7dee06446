"""What is asked of a segmentation, and what its result will be."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import get_args

from napari_unet.core.calibration import check_tiling
from napari_unet.core.io import Image
from napari_unet.core.io.axes import UNKNOWN_UNIT, common_unit, ngff_unit
from napari_unet.core.io.image import override
from napari_unet.core.io.names import composed
from napari_unet.core.modelfile import Model
from napari_unet.core.objects import ObjectRules, check_min_size
from napari_unet.core.resampling import resampled
from napari_unet.core.results import Finding, Kind, ResultLayout, ScoreType
from napari_unet.core.targets import OBJECT_CLASSES

ALIKE = 1.2
"""A network sees no difference between pixels whose sizes have at most this ratio."""


@dataclass(frozen=True)
class SegmentConfig:
    """How to segment.

    Parameters
    ----------
    kind : {"labels", "probabilities", "objects"}, optional
        Output values of the classes; one channel per class; or numbered objects: grown from their seeds where
        the model was trained for objects, else connected parts of the foreground. By default what it was
        trained for.
    halo : {"auto", "exact"} or int
        See `napari_unet.core.calibration.choose_grid`.
    tile : int, optional
        Largest side of a tile; by default as large as the memory allows.
    device : {"auto", "cpu", "cuda", "mps"}
        Where to compute.
    precision : {"auto", "fp32", "bf16"}
        "auto" is bf16 where the hardware computes it.
    match_spacing : bool
        Whether the image is brought to the voxel size of the model's training images, and the result back.
    score_type : {"float32", "float16", "uint8"}
        How probabilities are stored; 255 is 1 in uint8.
    min_size : int, optional
        Pixels or voxels of the smallest object, below 2³²; by default what the model has learnt. Where
        planes are linked, of the object in each plane.
    fill_holes : bool, optional
        Whether holes in objects are filled; by default where the model was trained for objects.
    keep_border : bool
        Whether objects that touch the border of the image are kept; linked ones go as a whole.
    link : bool
        Whether objects of neighbouring planes that overlap become one; of a 2D model on a stack.

    Raises
    ------
    ValueError
        If kind or type are unknown, or halo, tile or minimum size are no sizes.
    """

    kind: Kind | None = None
    halo: str | int = "auto"
    tile: int | None = None
    device: str = "auto"
    precision: str = "auto"
    match_spacing: bool = False
    score_type: ScoreType = "float32"
    min_size: int | None = None
    fill_holes: bool | None = None
    keep_border: bool = True
    link: bool = False

    def __post_init__(self) -> None:
        if self.kind is not None and self.kind not in get_args(Kind):
            raise ValueError(f"kind is {self.kind!r}: choose one of {', '.join(get_args(Kind))}")
        if self.score_type not in get_args(ScoreType):
            raise ValueError(
                f"score_type is {self.score_type!r}: choose one of {', '.join(get_args(ScoreType))}"
            )
        check_min_size(self.min_size or 0)
        check_tiling(self.halo, self.tile)


def result_layout(model: Model, image: Image, config: SegmentConfig) -> ResultLayout:
    """Check that image and model fit, and return what the result will be; its image has the model's channels.

    Raises
    ------
    ValueError
        If they differ in channels, or the model is 3D and the image is not.
    """
    image = with_model_channels(model, image)
    n_channels = model.network.config.in_channels
    if image.n_channels != n_channels:
        raise ValueError(
            f"{image.name} has {image.n_channels} channels and the model was trained with {n_channels}: "
            "choose them with --channels, or name the axes with --axes"
        )
    if model.axes == "ZYX" and image.spatial_axes == "YX":
        raise ValueError(f"{image.name} has no Z axis and the model is 3D: name the axes with --axes")
    kind: Kind = config.kind or ("labels" if model.task == "classes" else "objects")
    if config.link and (kind != "objects" or model.axes == "ZYX" or image.spatial_axes == "YX"):
        raise ValueError(
            f"{image.name} has no objects of planes to link: --link is for objects of a 2D model on a stack"
        )
    finding = object_finding(model, config)
    return ResultLayout(image, kind, model.classes, len(model.axes), config.score_type, finding)


def object_finding(model: Model, config: SegmentConfig) -> Finding:
    """Return how a model's objects are found, and which of them are wanted."""
    grows = model.task == "objects" and len(model.classes) == len(OBJECT_CLASSES)
    rules = (model.objects if grows else None) or ObjectRules()
    if config.min_size is not None:  # smaller objects have smaller seeds; a larger size only leaves out
        rules = replace(rules, min_size=min(rules.min_size, config.min_size))
    fill_holes = grows if config.fill_holes is None else config.fill_holes
    return Finding(rules, grows, fill_holes, config.keep_border, config.link, config.min_size)


def with_model_channels(model: Model, image: Image) -> Image:
    """Return the image with the channels of the model, in their order, where names tell which they are.

    Parameters
    ----------
    model : Model
        Its channels may have names.
    image : Image
        Any number of channels.

    Returns
    -------
    Image
        The image as it is where channels were chosen for it, where not all of the model's have names of
        their own, and where the image has not each of them once.
    """
    wanted, names = (list(map(composed, each.channels)) for each in (model, image))
    is_chosen = image.source is not None and image.source.channels is not None
    is_named = all(wanted) and len(set(wanted)) == len(wanted)
    if is_chosen or not is_named or wanted == names or any(names.count(name) != 1 for name in wanted):
        return image
    return override(image, channels=[names.index(name) for name in wanted])


def seen_image(model: Model, image: Image, config: SegmentConfig) -> Image:
    """Return what the network is to see: the image of a layout, or the image at the voxel size of the model.

    Raises
    ------
    ValueError
        If the voxel sizes are to match and one of them is not known.
    """
    if not config.match_spacing:
        return image
    if not _is_known(model.spacing, model.unit):
        raise ValueError("the model was trained on images of unknown voxel size: leave out --match-spacing")
    if not _is_known(image.spacing, image.unit):
        raise ValueError(
            f"{image.name} is an image of unknown voxel size: give --spacing in {model.unit}, "
            "or leave out --match-spacing"
        )
    spacing = dict(zip(image.spatial_axes, image.spacing, strict=True))
    for axis, size in zip(model.axes, model.spacing, strict=True):
        sizes, _ = common_unit({"model": (size, model.unit), "image": (1.0, image.unit)})
        spacing[axis] = sizes.get("model", size)
    return resampled(image, tuple(spacing.values()))


def spacing_warning(model: Model, image: Image) -> str:
    """Say where a model has learnt from pixels of another size than an image has, else "".

    Parameters
    ----------
    model : Model
        A 2D model knows nothing of the distance of planes.
    image : Image
        As it is to be seen; sizes are compared where both have a unit of length.

    Returns
    -------
    str
        One sentence with both sizes and the option that matches them, where they differ by more than 20 %.
    """
    sizes = dict(zip(image.spatial_axes, image.spacing, strict=True))
    if ngff_unit(model.unit) is None or ngff_unit(image.unit) is None or not set(model.axes) <= set(sizes):
        return ""
    found = [sizes[axis] for axis in model.axes]
    learnt = [
        common_unit({"model": (size, model.unit), "image": (1.0, image.unit)})[0]["model"]
        for size in model.spacing
    ]
    if all(max(old / new, new / old) <= ALIKE for old, new in zip(learnt, found, strict=True)):
        return ""
    ours, theirs = (" x ".join(f"{size:.4g}" for size in each) for each in (found, learnt))
    return (
        f"{image.name} has pixels of {ours} {image.unit} and the model learnt from pixels of {theirs} "
        f"{image.unit}: --match-spacing brings the image to the size that the model knows"
    )


def _is_known(spacing: Sequence[float], unit: str) -> bool:
    """Tell whether voxel sizes were given; without a unit they are taken for those of the other side."""
    return unit != UNKNOWN_UNIT or any(size != 1 for size in spacing)
