"""Annotation to training target: class, separation weight and share of core of each labelled pixel."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any, Literal
from unicodedata import normalize

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_unet.core.rims import Annotation, core_share_of, separate_touching
from napari_unet.core.weights import separation_weights

Task = Literal["classes", "objects"]
Region = tuple[slice, ...]

UNLABELLED = 255
"""Class index of pixels that the loss ignores."""
MAX_CLASSES = 20


@dataclass(frozen=True)
class ClassLabel:
    """One class: the value it is painted with, the value it is written with, and its name."""

    annotation_value: int
    output_value: int
    name: str

    def __post_init__(self) -> None:  # names compare alike whichever way their letters are composed
        object.__setattr__(self, "name", normalize("NFC", self.name))


OBJECT_CLASSES = (ClassLabel(1, 0, "background"), ClassLabel(2, 1, "rim"), ClassLabel(3, 1, "core"))
"""What the network of the task objects tells apart; in an annotation every value above 1 is an object."""
RING = 2.5
"""Pixels around a painted object, in its plane, that are taken for background unless labelled otherwise."""
AROUND = ceil(RING) + 1
"""Pixels around what is annotated that targets are computed on: the ring, and what lies beside it."""


@dataclass(frozen=True, eq=False)
class Example:
    """One image region with its annotation.

    Parameters
    ----------
    image : ndarray of float32, shape (C, *spatial)
        Normalised intensities.
    annotation : ndarray of integers, shape (*spatial)
        0 = unlabelled; other values as the task defines them.
    spacing : tuple of float
        Voxel size along each spatial axis.
    source : str
        Name of the image or stack that the region comes from, or whatever tells it from others; validation
        keeps sources apart.
    place : tuple of int
        Where the region's first pixel lies in the source: its last numbers are those of the spatial axes,
        any before them tell planes and time points apart. With it, what validation has held out stays held
        out while examples grow; () is the start of a region of its own.
    missing : ndarray of bool, shape (*spatial), optional
        Where the image is not finite. Nothing is learnt there, but objects go on. None = nowhere.
    index : tuple of int
        Time point and plane, or the time point of a volume: examples with neighbouring numbers look alike,
        and validation keeps them apart. () = not known, or `place` says it.
    """

    image: NDArray[np.float32]
    annotation: Annotation
    spacing: tuple[float, ...]
    source: str = ""
    place: tuple[int, ...] = ()
    missing: NDArray[np.bool_] | None = None
    index: tuple[int, ...] = ()

    @property
    def known(self) -> Annotation:
        """The annotation where the image is finite, 0 elsewhere."""
        return self.annotation if self.missing is None else np.where(self.missing, 0, self.annotation)


@dataclass(frozen=True, eq=False)
class Target:
    """What the network should say about an image region.

    Parameters
    ----------
    image : ndarray of float32, shape (C, *spatial)
    classes : ndarray of uint8, shape (*spatial)
        Class index, or ``UNLABELLED``.
    separation : ndarray of float32, shape (*spatial)
        What a pixel weighs on top of its class: the boundary term of the weight map.
    source : str
        Name of the image or stack.
    place : tuple of int
        Where the region's first pixel lies in it, see `Example`.
    objects : ndarray of integers, shape (*spatial), optional
        What is known in the task objects: 0 = nothing, 1 = background, others are objects.
    core_share : ndarray of float32, shape (*spatial), optional
        In the task objects how much of each pixel is core: 0 to 1, and 0 where no object is.
    index : tuple of int
        Time point and plane, see `Example`.
    """

    image: NDArray[np.float32]
    classes: NDArray[np.uint8]
    separation: NDArray[np.float32]
    source: str = ""
    place: tuple[int, ...] = ()
    objects: Annotation | None = None
    core_share: NDArray[np.float32] | None = None
    index: tuple[int, ...] = ()


@dataclass(frozen=True)
class TargetOptions:
    """How targets are made: the task, its classes, and the weight map's height and reach in pixels."""

    task: Task = "classes"
    classes: tuple[ClassLabel, ...] = OBJECT_CLASSES
    w0: float = 10.0
    sigma: float = 5.0


def annotated_classes(values: Sequence[int], *, dense: bool) -> tuple[ClassLabel, ...]:
    """List the classes of the annotation values that occur.

    Parameters
    ----------
    values : sequence of int
        Annotation values other than 0.
    dense : bool
        Whether they come from dense masks, whose file values are one lower.

    Returns
    -------
    tuple of ClassLabel
        In ascending order of the annotation value.

    Raises
    ------
    ValueError
        If there are fewer than two classes, or more than 20.

    Examples
    --------
    >>> [label.output_value for label in annotated_classes([1, 2], dense=True)]
    [0, 1]
    >>> [label.output_value for label in annotated_classes([1, 2], dense=False)]
    [1, 2]
    """
    found = sorted(set(map(int, values)) - {0})
    shift = 1 if dense else 0
    if len(found) < 2:
        only = f"the single value {found[0] - shift}" if found else "no value at all"
        raise ValueError(
            f"the labels hold {only}: annotate at least two classes, background being one of them"
        )
    if len(found) > MAX_CLASSES:
        raise ValueError(
            f"the labels hold {len(found)} values, more than {MAX_CLASSES} classes: "
            "use --task objects if each value is one object"
        )
    return tuple(ClassLabel(value, value - shift, f"class {value - shift}") for value in found)


def make_target(example: Example, options: TargetOptions) -> Target:
    """Turn an annotation into what the network should learn from it.

    In the task objects, an object is rim near its border, and turns into core by degrees further inside;
    classes are what there is more of. The boundary term of the weight map of Ronneberger et al. 2015 is
    measured with a line between touching objects, and lies on it. Unlabelled pixels right beside an object
    are taken for background: that is what separates it from whatever else there is. Nothing is assumed of
    other unlabelled pixels: in a volume, of none of those above and below, as an object that is painted on
    one plane goes on beyond it.

    Parameters
    ----------
    example : Example
        Annotation of shape (*spatial).
    options : TargetOptions
        Task, classes, and the weight map's w0 and sigma.

    Returns
    -------
    Target
        With class indices in the order of ``options.classes``.

    Raises
    ------
    ValueError
        If the annotation holds a value that is no class.

    Examples
    --------
    >>> image = np.zeros((1, 2, 3), np.float32)
    >>> example = Example(image, np.array([[0, 1, 1], [2, 2, 3]]), (1.0, 1.0))
    >>> make_target(example, TargetOptions("objects")).classes
    array([[0, 0, 0],
           [2, 1, 1]], dtype=uint8)
    """
    if options.task == "objects":
        return _object_target(example, options)
    classes = _class_indices(example.known, options.classes)
    separation = np.zeros(classes.shape, np.float32)
    return Target(example.image, classes, separation, example.source, example.place, index=example.index)


def class_weights(targets: Sequence[Target], n_classes: int) -> NDArray[np.float32]:
    """Weigh each class by the labelled pixels it lacks, so that every class counts alike.

    Rim and core are one class here: background and foreground count alike.

    Parameters
    ----------
    targets : sequence of Target
    n_classes : int

    Returns
    -------
    ndarray of float32, shape (n_classes,)
        Mean 1 over the labelled pixels; 0 for a class without any.

    Examples
    --------
    >>> classes = np.array([0, 0, 0, 1, 255], np.uint8)
    >>> target = Target(np.zeros((1, 5), np.float32), classes, np.zeros(5, np.float32))
    >>> class_weights([target], 2).round(2)
    array([0.67, 2.  ], dtype=float32)
    """
    counts = sum(
        (np.bincount(t.classes.ravel(), minlength=256)[:n_classes] for t in targets), np.zeros(n_classes)
    )
    has_rims = any(target.core_share is not None for target in targets)
    same = np.minimum(np.arange(n_classes), 1 if has_rims else n_classes)  # what counts as one class
    counts = np.bincount(same, counts)
    present = counts > 0
    weights = np.zeros(len(counts), np.float32)
    weights[present] = counts.sum() / (counts[present] * present.sum())
    return weights[same]


def _class_indices(annotation: Annotation, classes: tuple[ClassLabel, ...]) -> NDArray[np.uint8]:
    indices = np.full(annotation.shape, UNLABELLED, np.uint8)
    for index, label in enumerate(classes):
        indices[annotation == label.annotation_value] = index
    unknown = (indices == UNLABELLED) & (annotation != 0)
    if unknown.any():
        values = [label.annotation_value for label in classes]
        raise ValueError(
            f"the annotation holds {annotation[unknown][0]}, which is none of the classes {values}"
        )
    return indices


def _object_target(example: Example, options: TargetOptions) -> Target:
    """Compute within a box around what is annotated: beyond it nothing is known, whatever its size."""
    shape, box = example.annotation.shape, _annotated_box(example.annotation)
    annotation = _ringed(example.annotation[box], example.spacing)
    objects, unlabelled = np.where(annotation >= 2, annotation, 0), annotation == 0
    core_share = core_share_of(objects, example.spacing, unlabelled)
    classes = np.select([core_share > 0.5, objects > 0], [2, 1])
    separated = separate_touching(objects)
    weights = separation_weights(separated, w0=options.w0, sigma=options.sigma, spacing=example.spacing)
    unknown = unlabelled if example.missing is None else unlabelled | example.missing[box]
    all_classes = np.full(shape, UNLABELLED, np.uint8)
    all_classes[box] = np.where(unknown, UNLABELLED, classes)
    return Target(
        example.image,
        all_classes,
        _zeros_around(np.where(unknown, np.float32(0), weights), box, shape),
        example.source,
        example.place,
        objects=_zeros_around(np.where(unknown, 0, annotation), box, shape),
        core_share=_zeros_around(core_share, box, shape),
        index=example.index,
    )


def _annotated_box(annotation: Annotation) -> Region:
    """Bounding box of what is annotated with the ring around it; everything where nothing is."""
    found = ndimage.find_objects((annotation != 0).view(np.uint8))
    if not found:
        return (slice(None),) * annotation.ndim
    return tuple(slice(max(0, part.start - AROUND), part.stop + AROUND) for part in found[0])


def _zeros_around(part: NDArray[Any], box: Region, shape: tuple[int, ...]) -> NDArray[Any]:
    if part.shape == shape:
        return part
    whole = np.zeros(shape, part.dtype)  # takes memory only where it is written to
    whole[box] = part
    return whole


def _ringed(annotation: Annotation, spacing: Sequence[float]) -> Annotation:
    """Call unlabelled pixels beside objects background, in the same plane only."""
    unlabelled, objects = annotation == 0, annotation >= 2
    if not (unlabelled.any() and objects.any()):
        return annotation
    in_plane = np.divide(spacing[-2:], min(spacing[-2:]))
    beyond = [2 * RING] * (annotation.ndim - 2)  # the next plane is further than the ring reaches
    away = ndimage.distance_transform_edt(~objects, sampling=[*beyond, *in_plane])
    ringed = annotation.copy()
    ringed[unlabelled & (away <= RING)] = 1
    return ringed
