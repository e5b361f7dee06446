"""Files that the session writes: annotations that the command line trains from."""

import numpy as np
import pytest
from napari.layers import Image, Labels

from napari_unet.core.annotations import open_annotation
from napari_unet.core.targets import ClassLabel
from napari_unet.session.annotated import Annotated
from napari_unet.session.files import write_annotation
from napari_unet.session.images import ImageChoice, placement
from napari_unet.session.jobs import run_now

LABELS = (ClassLabel(1, 0, "background"), ClassLabel(2, 2, "nucleus"))


def painted(shape, axes, index, **options):
    """An image of that shape, with a stroke on one plane, which is complete."""
    choice = ImageChoice((Image(np.zeros(shape, np.uint8), **options),), axes)
    image = Annotated(
        choice, Labels(np.zeros(choice.annotation_shape, np.uint8), **placement(choice)), "classes"
    )
    image.layer.data[(*index, slice(2, 5))] = 2
    image.layer.refresh()
    image.changed_planes()
    image.mark_complete(index, True)
    return image


def write(image, path):
    run_now(write_annotation(image, LABELS, path), print, print, pytest.fail)
    return open_annotation(path)


def test_an_annotation_is_written_with_its_meaning_and_place(tmp_path):
    image = painted((3, 2, 16, 20), "ZCYX", (1, 0), scale=(4, 1, 0.5, 0.5))
    path = tmp_path / "strokes.tif"
    path.write_bytes(b"the file dialog has asked")
    saved = write(image, path)
    assert (saved.labels.axes, saved.labels.spacing) == ("ZYX", (4.0, 0.5, 0.5))
    assert saved.meaning.classes == LABELS and saved.complete_planes(0) == (1,)
    assert saved.labels.read()[0].any(axis=(1, 2)).tolist() == [False, True, False]


def test_time_comes_first_in_the_file(tmp_path):
    saved = write(painted((2, 3, 8, 9), "ZTYX", (1, 2)), tmp_path / "strokes.tif")
    assert saved.labels.axes == "TZYX" and saved.complete_planes(2) == (1,)
    assert saved.labels.read(t=2)[0, 1, 2:5].all()


def test_strokes_that_come_while_it_is_written_are_not_in_it(tmp_path):
    image = painted((8, 9), "YX", ())
    job = write_annotation(image, LABELS, tmp_path / "strokes.tif")
    next(job)
    image.layer.data[:] = 1
    with pytest.raises(StopIteration):
        next(job)
    assert set(open_annotation(tmp_path / "strokes.tif").labels.read().flat) == {0, 2}
