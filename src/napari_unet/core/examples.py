"""Images and their labels, from files or arrays, to examples that can be trained on."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_unet.core.annotated_regions import Corner, Region, cells_in, example_regions
from napari_unet.core.annotations import SavedAnnotation, common_meaning, pixels_of
from napari_unet.core.io import Image, read_labels
from napari_unet.core.io.singletons import with_axes_of
from napari_unet.core.label_scan import scan_labels
from napari_unet.core.label_values import LabelOptions, annotation_of, compact_ids
from napari_unet.core.normalise import Intensity, choose_method, measure_intensity, normalise
from napari_unet.core.rims import Annotation
from napari_unet.core.targets import OBJECT_CLASSES, ClassLabel, Example, Task, annotated_classes

MANY_CLASSES = 5
"""From so many on, with gaps between their values, classes look like objects."""
WIDE = 0.8
"""Share of a plane's side from which what is called an object looks like strokes of background."""

NARROW_TYPES = (np.uint8, np.uint16, np.uint32)
"""Of annotations, where their values fit: a volume takes several times as much in wider ones."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """Examples that belong together, and what all of them share.

    Parameters
    ----------
    examples : tuple of Example
    task : {"classes", "objects"}
    classes : tuple of ClassLabel
        One per channel of the logits.
    axes : {"YX", "ZYX"}
        Spatial axes of an example.
    spacing : tuple of float
        Voxel size of each of these, of the first image.
    unit : str
    channels : tuple of str
        Names of the image's channels.
    normalisation : {"percentile", "percentile-asinh"}
        How the intensities of the examples were brought to a common scale.
    notes : tuple of str
        What was handled and should be said, a sentence each.
    """

    examples: tuple[Example, ...]
    task: Task
    classes: tuple[ClassLabel, ...]
    axes: str
    spacing: tuple[float, ...]
    unit: str
    channels: tuple[str, ...]
    normalisation: str
    notes: tuple[str, ...]


def read_examples(
    pairs: Sequence[tuple[Image, Image | SavedAnnotation]],
    options: LabelOptions | None = None,
    *,
    normalisation: str | None = None,
) -> Dataset:
    """Read what is annotated of images, and what is around it: planes or volumes, or regions of them.

    Labels are searched a block at a time, and only regions around them are read, see `example_regions`.
    Planes that are complete, and labelled ones of dense labels, are read whole.

    Parameters
    ----------
    pairs : sequence of (Image, Image or SavedAnnotation)
        Each image with its labels, of equal spatial shape.
    options : LabelOptions, optional
        Of saved annotations only planes and ndim are used: they say themselves what their values mean.
    normalisation : {"percentile", "percentile-asinh"}, optional
        That of the model to start from; by default what suits the images.

    Returns
    -------
    Dataset

    Raises
    ------
    ValueError
        If labels do not fit their image or each other, a plane is out of range, the images differ in
        channels, or there is nothing, one class only, or too many classes to train on.

    Examples
    --------
    >>> values = np.arange(64.0).reshape(8, 8)
    >>> image = Image(values, "YX", (1.0, 1.0), "pixel", ("",), "ramp")
    >>> labels = Image(np.uint8(values > 30), "YX", (1.0, 1.0), "pixel", ("",), "mask")
    >>> dataset = read_examples([(image, labels)])
    >>> dataset.classes[1].output_value, int(dataset.examples[0].annotation.max())
    (1, 2)
    """
    options = options or LabelOptions()
    meaning = common_meaning([labels for _, labels in pairs])
    if meaning is not None:
        options = LabelOptions(meaning.task, "ignore", (), options.planes, options.ndim, meaning.background)
    pairs = [(image, _with_axes_of(labels, image)) for image, labels in pairs]
    first = pairs[0][0]
    _check_alike([image for image, _ in pairs], options.ndim)
    for image, labels in pairs:
        _check_pair(image, pixels_of(labels), options)
    measured = [image_intensity(image) for image, _ in pairs]
    method = normalisation or choose_method(measured)
    notes = list(dict.fromkeys(note for pair in pairs for each in pair for note in pixels_of(each).notes))
    examples = [
        example
        for (image, labels), intensity in zip(pairs, measured, strict=True)
        for example in _image_examples(image, labels, options, replace(intensity, method=method), notes)
    ]
    if not examples:
        where = "" if options.planes is None else f" on planes {_ranges(sorted(options.planes))}"
        raise ValueError(f"no finite pixel is annotated{where}: label at least two classes on one plane")
    axes = "ZYX"[-options.ndim :]
    spacing = first.spacing[-options.ndim :]
    classes = _classes(examples, options, () if meaning is None else meaning.classes)
    unit, channels = first.unit, first.channels
    notes += _doubts(examples, options, classes)
    return Dataset(
        tuple(examples), options.task, classes, axes, spacing, unit, channels, method, tuple(notes)
    )


def image_intensity(image: Image) -> Intensity:
    """Measure the intensities of an image or stack once, over all its time points.

    Parameters
    ----------
    image : Image

    Returns
    -------
    Intensity
        From at most 64 chunks.
    """

    def read(region: tuple[slice, ...]) -> NDArray[Any]:
        times = range(region[0].start, region[0].stop)
        return np.stack([image.read(region[1:], t=t) for t in times], axis=1)  # C, T, *spatial

    return measure_intensity(read, (image.n_timepoints, *image.spatial_shape))


def _with_axes_of(labels: Image | SavedAnnotation, image: Image) -> Image | SavedAnnotation:
    if isinstance(labels, SavedAnnotation):
        return replace(labels, labels=with_axes_of(labels.labels, image))
    return with_axes_of(labels, image)


def _at_time(labels: Image | SavedAnnotation, t: int, options: LabelOptions) -> LabelOptions:
    if isinstance(labels, SavedAnnotation):
        return replace(options, complete=labels.complete_planes(t))
    return options


@dataclass(frozen=True)
class _Part:
    """A region of a time point that becomes an example; `planes` are those that are labelled there."""

    t: int
    region: Region
    planes: Collection[int]
    options: LabelOptions


def _image_examples(
    image: Image,
    labels: Image | SavedAnnotation,
    options: LabelOptions,
    intensity: Intensity,
    notes: list[str],
) -> Iterator[Example]:
    """Examples of one image: regions around what is annotated, with whatever else is there unlabelled."""
    parts = _parts(image.name, labels, options, notes)
    is_whole = all(_covers(part.region[-options.ndim :], image.spatial_shape) for part in parts)
    n_nonfinite = 0
    for part in parts:
        annotation = _annotation(pixels_of(labels), part)
        pixels = image.read(part.region, t=part.t)
        finite = np.isfinite(pixels).all(axis=0)
        n_nonfinite += int(np.count_nonzero(~finite))
        if annotation[finite].any():
            shape = finite.shape[-options.ndim :]  # one plane of a stack loses its Z
            place = (part.t, *(along.start for along in part.region))
            yield Example(
                normalise(pixels, intensity).reshape(-1, *shape),
                annotation.reshape(shape),
                image.spacing[-options.ndim :],
                image.name,
                () if is_whole else place,
                None if finite.all() else ~finite.reshape(shape),
                place[: len(place) - options.ndim] if is_whole else (),
            )
    if n_nonfinite:
        notes.append(f"{image.name}: {n_nonfinite} pixels are not finite and count as unlabelled")


def _doubts(
    examples: Sequence[Example], options: LabelOptions, classes: Sequence[ClassLabel]
) -> Iterator[str]:
    """Say where values look as if they meant something else."""
    values = [label.output_value for label in classes]
    if options.task == "classes" and len(values) >= MANY_CLASSES and max(values) >= 2 * len(values):
        yield f"{len(values)} classes up to {max(values)}: if each value is one object, add --task objects"
    if options.task == "objects" and options.dense and any(map(_spans_plane, examples)):
        yield "object 1 spans a whole plane: if 1 is background and 0 not annotated, add --unlabelled ignore"


def _spans_plane(example: Example) -> bool:
    """Tell whether the first object of a dense file reaches from side to side of a plane both ways."""
    places = np.nonzero(example.annotation == 2)[-2:]
    sizes = example.annotation.shape[-2:]
    return all(len(at) > 0 and np.ptp(at) >= WIDE * size for at, size in zip(places, sizes, strict=True))


def _parts(
    name: str, labels: Image | SavedAnnotation, options: LabelOptions, notes: list[str]
) -> list[_Part]:
    """Regions around what is annotated, of all time points."""
    shape = pixels_of(labels).spatial_shape
    found = []
    for t in range(pixels_of(labels).n_timepoints):
        now = _at_time(labels, t, options)
        cells = _annotated_cells(name, pixels_of(labels), t, now, notes)
        found += [_Part(t, region, cells.keys(), now) for region in example_regions(cells, shape, now.ndim)]
    return found


def _annotated_cells(
    name: str, labels: Image, t: int, options: LabelOptions, notes: list[str]
) -> dict[int, list[Corner]]:
    """Cells of each plane that are annotated; planes that are not wanted or hold no label are unlabelled."""
    every = cells_in(tuple(slice(0, size) for size in labels.spatial_shape[-2:]))
    n_planes = _n_planes(labels)
    wanted = range(n_planes) if options.planes is None else sorted(set(options.planes))
    if options.dense and n_planes == labels.n_timepoints == 1:
        return {0: every}
    cells = scan_labels(labels, t, wanted)
    whole = cells if options.dense else set(options.complete).intersection(wanted)
    empty = [z for z in wanted if z not in cells]
    if empty and options.dense:
        when = f" at time {t}" if labels.n_timepoints > 1 else ""
        notes.append(f"{name}: planes {_ranges(empty)}{when} hold no label and count as unlabelled")
    return cells | dict.fromkeys(whole, every)


def _covers(region: Region, shape: Sequence[int]) -> bool:
    """Tell whether a region is all there is along the last axes."""
    sizes = shape[-len(region) :]
    return all(part == slice(0, size) for part, size in zip(region, sizes, strict=True))


def _annotation(labels: Image, part: _Part) -> Annotation:
    """Annotation of a region, in as few bytes as its values take."""
    values = compact_ids(read_labels(labels, part.region, t=part.t))
    planes = values.reshape(-1, *values.shape[-2:])
    highest = max(int(values.max()) + 1, part.options.background)
    dtype = next((t for t in NARROW_TYPES if highest <= np.iinfo(t).max), np.int64)
    annotation = np.zeros(planes.shape, dtype)
    for z, (found, plane) in enumerate(zip(annotation, planes, strict=True), _first_plane(part.region)):
        if z in part.planes:
            found[...] = annotation_of(plane, part.options, complete=z in part.options.complete)
    return annotation.reshape(values.shape)


def _first_plane(region: Region) -> int:
    return int(region[0].start) if len(region) == 3 else 0


def _classes(
    examples: Sequence[Example], options: LabelOptions, named: Sequence[ClassLabel]
) -> tuple[ClassLabel, ...]:
    values = sorted({int(value) for example in examples for value in np.unique(example.known)} - {0})
    if options.task == "classes":
        known = {label.annotation_value: label for label in named}
        found = annotated_classes(values, dense=options.dense)
        return tuple(known.get(label.annotation_value, label) for label in found)
    if 1 not in values or len(values) < 2:
        what = "background" if 1 not in values else "objects"
        raise ValueError(f"the labels hold no {what}: annotate at least one object and some background")
    return OBJECT_CLASSES


def _check_alike(images: Sequence[Image], ndim: int) -> None:
    for image in images:
        if image.n_channels != images[0].n_channels:
            raise ValueError(
                f"{image.name} has {image.n_channels} channels but {images[0].name} has "
                f"{images[0].n_channels}: choose the same ones with --channels"
            )
        if len(image.spatial_shape) < ndim:
            raise ValueError(f"{image.name} has the axes {image.axes} and no Z: use --ndim 2")


def _check_pair(image: Image, labels: Image, options: LabelOptions) -> None:
    if labels.spatial_shape != image.spatial_shape or labels.n_timepoints != image.n_timepoints:
        raise ValueError(
            f"labels {labels.name} are {_shape(labels)} but image {image.name} is {_shape(image)}: "
            "give labels of the same shape"
        )
    n_planes = _n_planes(image)
    wrong = [z for z in (*(options.planes or ()), *options.complete) if not 0 <= z < n_planes]
    if wrong:
        raise ValueError(f"{image.name} has no plane {wrong[0]}: choose planes from 0 to {n_planes - 1}")


def _n_planes(image: Image) -> int:
    return image.spatial_shape[0] if image.spatial_axes == "ZYX" else 1


def _shape(image: Image) -> str:
    times = f"{image.n_timepoints} times " if image.n_timepoints > 1 else ""
    return times + "×".join(map(str, image.spatial_shape)) + f" ({image.spatial_axes})"


def _ranges(numbers: Sequence[int]) -> str:
    """Write 1, 2, 3, 7 as "1-3, 7"."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][-1] == number - 1:
            runs[-1] = [runs[-1][0], number]
        else:
            runs.append([number])
    return ", ".join("-".join(map(str, run)) for run in runs)
