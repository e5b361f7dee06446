"""Annotations in files that say themselves what their values mean: task, classes and complete planes."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from typing import Any, get_args

import numpy as np

from napari_unet.core.io import Image, create_output, open_labels
from napari_unet.core.io.tiff import read_info
from napari_unet.core.io.values import parse_json
from napari_unet.core.rims import Annotation
from napari_unet.core.targets import MAX_CLASSES, OBJECT_CLASSES, ClassLabel, Task

FORMAT = "napari-unet-annotation"
VERSION = 1

Index = tuple[int, ...]


@dataclass(frozen=True)
class Meaning:
    """What the values of an annotation mean.

    Parameters
    ----------
    task : {"classes", "objects"}
    classes : tuple of ClassLabel
        One for each class that can be painted.
    complete : tuple of tuple of int
        Planes where unlabelled means background: their places along the axes before YX.
    """

    task: Task
    classes: tuple[ClassLabel, ...]
    complete: tuple[Index, ...] = ()

    @property
    def background(self) -> int:
        """Annotation value of the background: of objects 1, else that of the class that is written as 0."""
        if self.task == "objects":
            return 1
        return next((label.annotation_value for label in self.classes if label.output_value == 0), 1)


@dataclass(frozen=True, eq=False)
class SavedAnnotation:
    """An annotation that was read from a file, pixels lazily, with what its values mean."""

    labels: Image
    meaning: Meaning

    def complete_planes(self, t: int) -> tuple[int, ...]:
        """List the complete planes of a time point."""
        outer = self.labels.axes.removesuffix("YX")
        places = [dict(zip(outer, index, strict=True)) for index in self.meaning.complete]
        return tuple(place.get("Z", 0) for place in places if place.get("T", 0) == t)


def save_annotation(
    path: str | PathLike[str],
    planes: Mapping[Index, Annotation],
    meaning: Meaning,
    *,
    axes: str,
    shape: Sequence[int],
    spacing: Sequence[float],
    unit: str = "pixel",
    overwrite: bool = False,
) -> None:
    """Write an annotation to a TIFF from which command line and dock train alike; it appears when whole.

    Parameters
    ----------
    path : path-like
        Ends in .tif or .tiff.
    planes : mapping of tuple of int to ndarray of integers, shape (Y, X)
        The planes that are annotated, by their place along the axes before YX.
    meaning : Meaning
        Its complete planes are places like those.
    axes, shape : str and sequence of int
        Of the whole annotation: some of T, Z and C (of size 1) in any order, then YX.
    spacing, unit : sequence of float and str
        Voxel size along each spatial axis in ZYX order.
    overwrite : bool
        Whether an existing file may be replaced.

    Raises
    ------
    ValueError
        If the name is not that of a TIFF, or the axes are not in that order.
    OSError
        If the file exists or cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> classes = (ClassLabel(1, 0, "background"), ClassLabel(2, 2, "nucleus"))
    >>> planes = {(3,): np.eye(8, dtype=np.uint8)}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = f"{folder}/strokes.tif"
    ...     save_annotation(
    ...         path, planes, Meaning("classes", classes), axes="ZYX", shape=(5, 8, 8), spacing=(5, 1, 1)
    ...     )
    ...     saved = open_annotation(path)
    ...     int(saved.labels.read().sum()), saved.meaning.classes[1].name
    (8, 'nucleus')
    """
    path = Path(path)
    name = path.name
    if not name.lower().endswith((".tif", ".tiff")) or ".ome." in name.lower():
        raise ValueError(f"{name} is no name for an annotation: let it end in .tif")
    outer = axes.removesuffix("YX")
    if not axes.endswith("YX") or not set(outer) <= set("TCZ") or len(shape) != len(axes):
        raise ValueError(f"the axes are {axes!r} for the shape {tuple(shape)}: name them T, C or Z, then YX")
    kept = [outer.index(axis) for axis in "TZ" if axis in outer]
    stored = Meaning(
        meaning.task, meaning.classes, tuple(sorted(_at(index, kept) for index in meaning.complete))
    )
    largest = max((int(plane.max(initial=0)) for plane in planes.values()), default=0)
    output = create_output(
        path,
        [*(shape[axis] for axis in kept), *shape[-2:]],
        np.min_scalar_type(largest),
        axes="".join(outer[axis] for axis in kept) + "YX",
        spacing=spacing,
        unit=unit,
        info=json.dumps({"format": FORMAT, "version": VERSION, **asdict(stored)}),
        overwrite=overwrite,
    )
    with output:
        for index, plane in planes.items():
            leading = [slice(at, at + 1) for at in _at(index, kept)]
            whole = [slice(0, size) for size in shape[-2:]]
            output.write((*leading, *whole), _unsigned(plane)[(np.newaxis,) * len(leading)])


def open_annotation(path: str | PathLike[str]) -> SavedAnnotation:
    """Open an annotation that was saved with `save_annotation`.

    Raises
    ------
    ValueError
        If the file does not say what its values mean, or says it wrongly.
    FileNotFoundError
        If there is no such file.
    """
    found = find_annotation(path)
    if found is None:
        raise ValueError(f"{path} does not say what its values mean: save annotations with the dock")
    return found


def find_annotation(path: str | PathLike[str]) -> SavedAnnotation | None:
    """Open an annotation that says what its values mean; None for other files."""
    path = Path(path)
    info = read_info(path)
    if FORMAT not in info:
        return None
    labels = open_labels(path)
    try:
        meaning = _meaning(parse_json(info, "its text"))
        _check_places(meaning.complete, labels)
    except (KeyError, TypeError, ValueError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else error
        raise ValueError(f"{path} has damaged metadata ({reason}): save the annotation again") from None
    return SavedAnnotation(labels, meaning)


def pixels_of(labels: Image | SavedAnnotation) -> Image:
    """Return plain labels, or those of a saved annotation."""
    return labels.labels if isinstance(labels, SavedAnnotation) else labels


def common_meaning(labels: Sequence[Image | SavedAnnotation]) -> Meaning | None:
    """Return what the values of saved annotations mean, in all of them; None where they are plain labels.

    Raises
    ------
    ValueError
        If only some of them say it, or they differ in the task or in a class.
    """
    saved = [each for each in labels if isinstance(each, SavedAnnotation)]
    plain = [each for each in labels if isinstance(each, Image)]
    if not saved:
        return None
    first, classes = saved[0], dict[int, ClassLabel]()
    if plain:
        raise ValueError(
            f"{first.labels.name} says what its values mean and {plain[0].name} does not: "
            "train on annotations or on plain labels, not on both"
        )
    for each in saved:
        if each.meaning.task != first.meaning.task:
            raise ValueError(
                f"{first.labels.name} is annotated for {first.meaning.task} and {each.labels.name} for "
                f"{each.meaning.task}: train on one task at a time"
            )
        for label in each.meaning.classes:
            known = classes.setdefault(label.annotation_value, label)
            if known != label:
                raise ValueError(
                    f"the value {label.annotation_value} is {label.name!r} in {each.labels.name} and "
                    f"{known.name!r} in another annotation: give each class one value and one name"
                )
    return Meaning(first.meaning.task, tuple(classes[value] for value in sorted(classes)))


def _at(index: Index, axes: Sequence[int]) -> Index:
    return tuple(int(index[axis]) for axis in axes)


def _unsigned(plane: Annotation) -> Annotation:
    return plane.astype(np.min_scalar_type(int(plane.max(initial=0))))


def _meaning(header: Any) -> Meaning:
    if header["version"] != VERSION:
        raise ValueError(f"version {header['version']}, not {VERSION}")
    task = header["task"]
    if task not in get_args(Task):
        raise ValueError(f"task {task!r}")
    labels = [
        ClassLabel(_integer(each["annotation_value"], 1), _integer(each["output_value"]), str(each["name"]))
        for each in header["classes"]
    ]
    values = {label.annotation_value for label in labels}
    if len(values) != len(labels) or len(labels) > MAX_CLASSES:
        raise ValueError(f"{len(labels)} classes with {len(values)} values")
    complete = tuple(tuple(map(_integer, index)) for index in header["complete"])
    return Meaning(task, OBJECT_CLASSES if task == "objects" else tuple(labels), complete)


def _integer(value: Any, least: int = 0) -> int:
    if type(value) is not int or value < least:
        raise ValueError(f"{value!r} is no integer from {least} on")
    return value


def _check_places(places: Sequence[Index], labels: Image) -> None:
    shape = labels.data.shape[:-2]
    for place in places:
        if len(place) != len(shape) or any(at >= size for at, size in zip(place, shape, strict=True)):
            raise ValueError(f"complete plane {place} of planes {shape}")
