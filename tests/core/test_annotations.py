"""Annotations in files: what comes back, which tools understand it, and what is refused."""

import json
from dataclasses import replace

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_unet.core.annotations import (
    Meaning,
    SavedAnnotation,
    common_meaning,
    find_annotation,
    open_annotation,
    save_annotation,
)
from napari_unet.core.io import open_image, read_labels
from napari_unet.core.targets import OBJECT_CLASSES, ClassLabel

CLASSES = (ClassLabel(1, 0, "background"), ClassLabel(2, 2, "Zellkern µ"), ClassLabel(7, 7, "b"))
MEANING = Meaning("classes", CLASSES)
PLACE = {"axes": "ZYX", "shape": (4, 6, 8), "spacing": (5.0, 0.5, 0.25), "unit": "µm"}
PLANES = {(2,): np.eye(6, 8, dtype=np.uint8)}


def save(path, planes=PLANES, meaning=MEANING, **changes):
    save_annotation(path, planes, meaning, **(PLACE | changes))
    return path


def whole(saved):
    labels = saved.labels
    return np.stack([read_labels(labels, t=t) for t in range(labels.n_timepoints)])


@st.composite
def annotated(draw):
    """Axes with their shape, some planes, and which of all are complete."""
    axes = draw(st.sampled_from(["", "Z", "T", "TZ", "ZT", "TCZ", "CZ", "ZCT", "C"])) + "YX"
    shape = [1 if axis == "C" else draw(st.integers(1, 4)) for axis in axes]
    indices = list(np.ndindex(*shape[:-2]))
    some = st.lists(st.sampled_from(indices), unique=True, max_size=4)
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    largest = draw(st.sampled_from([7, 300, 70_000]))
    kind = draw(st.sampled_from([np.uint8, np.int64, ">u4"])) if largest == 7 else np.int64
    planes = {index: rng.integers(0, largest + 1, shape[-2:]).astype(kind) for index in draw(some)}
    return axes, shape, planes, tuple(draw(some))


@settings(max_examples=60)
@given(case=annotated())
def test_what_is_saved_comes_back(case, tmp_path_factory):
    axes, shape, planes, complete = case
    path = tmp_path_factory.mktemp("saved") / "strokes.tif"
    spacing = (5.0, 0.5, 0.25)[-2 - ("Z" in axes) :]
    meaning = replace(MEANING, complete=complete)
    save_annotation(path, planes, meaning, axes=axes, shape=shape, spacing=spacing, unit="nm")
    saved = open_annotation(path)
    assert saved.labels.spacing == spacing and saved.labels.unit == "nm"
    assert (saved.meaning.task, saved.meaning.classes) == ("classes", CLASSES)
    expected = np.zeros(shape, int)
    for index, plane in planes.items():
        expected[index] = plane
    outer = [axes.index(axis) for axis in "TCZ" if axis in axes]
    in_order = expected.transpose([*outer, -2 % len(axes), -1 % len(axes)])
    np.testing.assert_array_equal(whole(saved).ravel(), in_order.ravel())
    for index in np.ndindex(*shape[:-2]):
        place = dict(zip(axes, index, strict=False))
        assert (place.get("Z", 0) in saved.complete_planes(place.get("T", 0))) == (index in complete)


@pytest.mark.parametrize("largest", [3, 300, 70_000])
def test_other_readers_see_labels_with_axes_and_spacing(largest, tmp_path):
    path = save(tmp_path / "strokes.tif", {(2,): np.full((6, 8), largest)})
    image = open_image(path)
    assert (image.axes, image.spacing, image.unit) == ("ZYX", (5.0, 0.5, 0.25), "µm")
    assert tifffile.imread(path)[2].max() == largest


def test_what_imagej_keeps_when_it_saves_again_is_enough(tmp_path):
    """It keeps "Info"; the same pixels are written by another program."""
    path, again = save(tmp_path / "strokes.tif"), tmp_path / "again.tif"
    with tifffile.TiffFile(path) as tif:
        info = tif.imagej_metadata["Info"]
    metadata = {"axes": "ZYX", "Info": info}
    tifffile.imwrite(again, tifffile.imread(path), imagej=True, metadata=metadata, compression="zlib")
    assert open_annotation(again).meaning == open_annotation(path).meaning


def test_objects_have_their_two_classes_whatever_is_said_of_them(tmp_path):
    saved = open_annotation(save(tmp_path / "strokes.tif", meaning=Meaning("objects", ())))
    assert saved.meaning.classes == OBJECT_CLASSES and saved.meaning.background == 1


def test_the_background_is_the_class_that_is_written_as_0():
    assert MEANING.background == 1
    other = (ClassLabel(1, 1, "cell"), ClassLabel(3, 0, "background"))
    assert Meaning("classes", other).background == 3
    assert Meaning("classes", other[:1]).background == Meaning("objects", other).background == 1


def test_an_existing_file_is_kept_unless_told_and_nothing_else_is_left(tmp_path):
    path = tmp_path / "strokes.tif"
    path.write_bytes(b"precious")
    with pytest.raises(FileExistsError):
        save(path)
    assert path.read_bytes() == b"precious"
    save(path, overwrite=True)
    assert open_annotation(path).meaning == MEANING and list(tmp_path.iterdir()) == [path]


def test_a_failure_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="does not fill"):
        save(tmp_path / "strokes.tif", {(2,): np.ones((3, 3), np.uint8)})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["strokes.png", "strokes.ome.tif", "strokes", "strokes.ome.zarr"])
def test_a_name_that_is_not_that_of_a_plain_tiff_is_refused(name, tmp_path):
    with pytest.raises(ValueError, match=f"{name} is no name for an annotation: let it end in .tif"):
        save(tmp_path / name)


@pytest.mark.parametrize(("axes", "shape"), [("YXC", (6, 8, 3)), ("QYX", (4, 6, 8)), ("ZYX", (6, 8))])
def test_axes_that_no_annotation_has_are_refused(axes, shape, tmp_path):
    with pytest.raises(ValueError, match=f"the axes are '{axes}'"):
        save(tmp_path / "strokes.tif", axes=axes, shape=shape)


def with_info(path, **changes):
    """The saved annotation with other metadata."""
    with tifffile.TiffFile(save(path)) as tif:
        header = json.loads(tif.imagej_metadata["Info"]) | changes
    metadata = {"axes": "ZYX", "Info": json.dumps(header)}
    tifffile.imwrite(path, np.zeros((4, 6, 8), np.uint8), imagej=True, metadata=metadata)
    return path


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"version": 2}, "version 2, not 1"),
        ({"task": "both"}, "task 'both'"),
        ({"classes": [{"annotation_value": 0, "output_value": 0, "name": "a"}]}, "0 is no integer from 1"),
        ({"classes": [{"annotation_value": 1}]}, "'output_value' is missing"),
        ({"classes": [{"annotation_value": 1, "output_value": 0, "name": "a"}] * 2}, "2 classes with 1"),
        ({"classes": 5}, "not iterable"),
        ({"complete": [[4]]}, "complete plane"),
        ({"complete": [[1, 1]]}, "complete plane"),
        ({"complete": [["1"]]}, "'1' is no integer"),
    ],
)
def test_damaged_metadata_are_one_clear_error(change, reason, tmp_path):
    path = with_info(tmp_path / "strokes.tif", **change)
    with pytest.raises(ValueError, match=reason) as caught:
        find_annotation(path)
    assert str(caught.value).startswith(f"{path} has damaged metadata (")


def test_other_files_are_no_annotations(tmp_path):
    tifffile.imwrite(tmp_path / "plain.tif", np.zeros((4, 4), np.uint8))
    (tmp_path / "no.txt").write_text("napari-unet-annotation")
    assert find_annotation(tmp_path / "plain.tif") is None is find_annotation(tmp_path / "no.txt")
    with pytest.raises(ValueError, match="does not say what its values mean"):
        open_annotation(tmp_path / "plain.tif")


def test_annotations_that_do_not_go_together_are_refused(tmp_path):
    saved = open_annotation(save(tmp_path / "one.tif"))
    objects = SavedAnnotation(saved.labels, Meaning("objects", OBJECT_CLASSES))
    renamed = SavedAnnotation(saved.labels, Meaning("classes", (ClassLabel(7, 7, "other"),)))
    more = SavedAnnotation(saved.labels, Meaning("classes", (ClassLabel(9, 9, "more"),)))
    assert common_meaning([saved.labels]) is None
    assert common_meaning([saved, more]).classes == (*CLASSES, ClassLabel(9, 9, "more"))
    for other, words in ((saved.labels, "does not"), (objects, "one task"), (renamed, "'other' in one")):
        with pytest.raises(ValueError, match=words):
            common_meaning([saved, other])
