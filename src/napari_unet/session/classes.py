"""The classes that are painted: values, names and colours, as tuples that are never changed in place."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, count

import numpy as np
from napari.utils.colormaps import CyclicLabelColormap, DirectLabelColormap, label_colormap
from napari.utils.colormaps.standardize_color import transform_color
from numpy.typing import NDArray

from napari_unet.core.io.names import composed
from napari_unet.core.targets import MAX_CLASSES, ClassLabel

COLOURS = (
    *("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442"),  # Okabe and Ito
    *("#332288", "#88ccee", "#44aa99", "#117733", "#999933", "#ddcc77", "#cc6677", "#882255", "#aa4499"),
    *("#ee8866", "#bbcc33", "#eedd88", "#ffaabb"),  # this row and the one above: Paul Tol
)
"""Colours that people with colour blindness tell apart; the first ones best."""
BACKGROUND = 1
"""In an annotation of objects, and of classes where none of them is the background."""
OBJECTS_BACKGROUND = "#88ccee"
N_OBJECT_COLOURS = 2**16 - 4
"""As many as napari can show of wider types, so that hardly an object has the colour of the background."""
HIGHEST = 255
"""The annotation of classes is 8 bits deep."""


@dataclass(frozen=True)
class ClassStyle:
    """One class as it is painted; it is written as its output, the one flagged as background as 0."""

    value: int
    name: str
    colour: str
    is_background: bool = False
    output: int | None = None
    """None: the value."""

    def __post_init__(self) -> None:
        if self.value < 1:
            raise ValueError(f"the value of {self.name!r} is {self.value}: choose 1 or more, 0 is unlabelled")
        if not self.name.strip():
            raise ValueError(f"class {self.value} has no name: give it one")
        if not re.fullmatch("#[0-9a-f]{6}", self.colour, re.IGNORECASE):
            raise ValueError(f"the colour of {self.name!r} is {self.colour!r}: write it as #rrggbb")
        object.__setattr__(self, "name", composed(self.name))


Classes = tuple[ClassStyle, ...]

DEFAULT_CLASSES: Classes = (
    ClassStyle(1, "background", COLOURS[0], is_background=True),
    ClassStyle(2, "foreground", COLOURS[1]),
)

OBJECT_STYLES: Classes = (
    ClassStyle(1, "background", COLOURS[0], is_background=True),
    ClassStyle(2, "object", COLOURS[1]),
)
"""How the foreground is shown while a network learns to tell objects apart."""


def checked(classes: Sequence[ClassStyle]) -> Classes:
    """Return the classes if they can be trained with; a ValueError says what is wrong."""
    if len(classes) < 2:
        raise ValueError(f"there is {len(classes)} class: keep at least two, background being one of them")
    if len(classes) > MAX_CLASSES:
        raise ValueError(f"there are {len(classes)} classes: {MAX_CLASSES} are the most")
    _refuse_twice([each.name.strip() for each in classes], "called {}: rename one")
    _refuse_twice([str(each.value) for each in classes], "painted with {}: give one another value")
    if sum(each.is_background for each in classes) > 1:
        raise ValueError("two classes are the background: choose one of them")
    return tuple(classes)


def add_class(classes: Classes, value: int | None = None) -> Classes:
    """Add a class with this or the smallest free value, a name and the next colour."""
    if len(classes) >= MAX_CLASSES:
        raise ValueError(f"there are {len(classes)} classes already, the most: remove one first")
    values, names = {each.value for each in classes}, {each.name.strip() for each in classes}
    value = value or min(set(range(1, MAX_CLASSES + 1)) - values)
    numbers = (value, *range(1, MAX_CLASSES + 1))
    name = next(name for n in numbers if (name := f"class {n}") not in names)
    return checked((*classes, ClassStyle(value, name, _free_colour(classes))))


def without_class(classes: Classes, value: int) -> Classes:
    """Remove the class of that value."""
    return checked([each for each in classes if each.value != value])


def class_labels(classes: Classes) -> tuple[ClassLabel, ...]:
    """Say in the core's words what is painted and what is written; no two classes are written alike."""
    outputs = _outputs(classes)
    return tuple(ClassLabel(each.value, outputs[each.value], each.name) for each in classes)


def _outputs(classes: Classes) -> dict[int, int]:
    """Map values to what they are written as; a number that is taken gives way to the smallest free one."""
    wishes = {each.value: 0 if each.is_background else each.output or each.value for each in classes}
    found: dict[int, int] = {}
    for each in sorted(classes, key=lambda each: each.output is None):  # a model's outputs come first
        others = (n for n in count(1) if n not in wishes.values())
        found[each.value] = next(n for n in chain([wishes[each.value]], others) if n not in found.values())
    return found


def paintable(labels: Sequence[ClassLabel]) -> tuple[ClassLabel, ...]:
    """Give classes whose value cannot be painted the smallest free one; they are written as before.

    Examples
    --------
    >>> [each.annotation_value for each in paintable([ClassLabel(1, 0, "no"), ClassLabel(256, 255, "yes")])]
    [1, 2]
    """
    taken = {each.annotation_value for each in labels}
    free = (value for value in count(1) if value not in taken)
    return tuple(
        each if 1 <= each.annotation_value <= HIGHEST else replace(each, annotation_value=next(free))
        for each in labels
    )


def with_outputs(classes: Classes, labels: Sequence[ClassLabel]) -> Classes:
    """Write the classes that a model knows, by value and name, as it does."""
    known = {(each.annotation_value, each.name): each.output_value for each in labels}
    outputs = [known.get((each.value, each.name)) or each.output for each in classes]
    return tuple(
        replace(each, output=None if output == each.value else output)
        for each, output in zip(classes, outputs, strict=True)
    )


def class_styles(labels: Sequence[ClassLabel], classes: Classes = DEFAULT_CLASSES) -> Classes:
    """Make the classes of a model paintable; those whose name is known keep their colour."""
    colours = {each.name: each.colour for each in classes}
    styles: Classes = ()
    for label in labels:
        colour = colours.get(label.name) or _free_colour((*styles, *classes))
        styles += (ClassStyle(label.annotation_value, label.name, colour, label.output_value == 0),)
    return checked(with_outputs(styles, labels))


def background_value(classes: Classes) -> int:
    """Return the annotation value of the class that is the background."""
    return next((each.value for each in classes if each.is_background), BACKGROUND)


def colormap(classes: Classes) -> DirectLabelColormap:
    """Colour the annotation; what is unlabelled or no class is transparent."""
    return _colormap({each.value: each.colour for each in classes})


def objects_colormap() -> CyclicLabelColormap:
    """Colour painted objects; the background has a light colour, which is seen on dark images."""
    colours = label_colormap(N_OBJECT_COLOURS).colors.copy()
    colours[BACKGROUND] = transform_color(OBJECTS_BACKGROUND)[0]
    return CyclicLabelColormap(colors=colours)


def prediction_colormap(classes: Classes, labels: Sequence[ClassLabel] = ()) -> DirectLabelColormap:
    """Colour what is written; 0 is transparent. The labels are those of a model that writes other values."""
    colours = {each.value: each.colour for each in classes}
    return _colormap(
        {
            label.output_value: colours[label.annotation_value]
            for label in labels or class_labels(classes)
            if label.output_value and label.annotation_value in colours
        }
    )


def written(
    numbers: NDArray[np.unsignedinteger], labels: Sequence[ClassLabel]
) -> NDArray[np.unsignedinteger]:
    """Return what is written for classes given by their places among the labels."""
    outputs = [label.output_value for label in labels]
    values: NDArray[np.unsignedinteger] = np.array(outputs, np.min_scalar_type(max(outputs)))
    found: NDArray[np.unsignedinteger] = values[numbers]
    return found


def class_of_key(classes: Classes, key: int) -> ClassStyle | None:
    """Return the class that a number key chooses: 1 is the first."""
    return classes[key - 1] if 1 <= key <= len(classes) else None


def _free_colour(classes: Classes) -> str:
    """Return the first colour that is taken least often."""
    taken = [each.colour.lower() for each in classes]
    return min(COLOURS, key=taken.count)


def _colormap(colours: Mapping[int | None, str]) -> DirectLabelColormap:
    return DirectLabelColormap(color_dict={None: "transparent", 0: "transparent", **colours})


def _refuse_twice(words: Sequence[str], sentence: str) -> None:
    twice = next((word for word in words if words.count(word) > 1), None)
    if twice is not None:
        raise ValueError("two classes are " + sentence.format(repr(twice)))
