import numpy as np
import pytest
from napari.components import ViewerModel
from npe2 import PluginManager

from napari_unet.samples import blobs_3d, nuclei, nuclei_stack

EVERY = [*nuclei()[0], *nuclei()[1], nuclei_stack(), blobs_3d()]


def test_training_and_test_nuclei_are_annotated_squares_of_different_fields():
    train, test = nuclei()
    assert (len(train), len(test)) == (5, 4)
    for sample in train + test:
        assert sample.image.shape == sample.objects.shape == (256, 256)
        assert sample.image.dtype == np.uint8
        assert sample.objects.dtype == np.uint16
        assert sample.image[sample.objects > 0].mean() > sample.image[sample.objects == 0].mean()
    assert len({sample.image.tobytes() for sample in train + test}) == 9


@pytest.mark.parametrize("sample", EVERY, ids=lambda sample: sample.name)
def test_objects_are_numbered_without_gaps(sample):
    values = np.unique(sample.objects)
    assert values.tolist() == list(range(len(values)))
    assert len(sample.spacing) == sample.image.ndim


def test_an_object_of_the_stack_lies_in_one_plane():
    planes = [set(np.unique(plane)) - {0} for plane in nuclei_stack().objects]
    assert sum(map(len, planes)) == len(set.union(*planes))


def test_blobs_repeat_with_their_seed_and_change_with_another():
    first, same, other = blobs_3d(seed=3), blobs_3d(seed=3), blobs_3d(seed=4)
    np.testing.assert_array_equal(first.image, same.image)
    np.testing.assert_array_equal(first.objects, same.objects)
    assert not np.array_equal(first.image, other.image)


def test_some_blobs_touch():
    objects = blobs_3d().objects.astype(int)
    above, below = objects[:-1], objects[1:]
    assert np.any((above != below) & (above > 0) & (below > 0))


@pytest.mark.parametrize("key", ["nuclei", "nuclei_stack", "blobs_3d"])
def test_napari_opens_each_sample_as_an_image_with_its_truth(key):
    PluginManager.instance().discover()  # what napari's window does when it opens
    viewer = ViewerModel()
    viewer.open_sample("napari-unet", key)
    image, truth = viewer.layers
    assert (image._type_string, truth._type_string) == ("image", "labels")
    assert image.data.shape == truth.data.shape
    np.testing.assert_array_equal(image.scale, truth.scale)
    assert not truth.visible
    assert (
        image.axis_labels == truth.axis_labels == ("z", "y", "x") == viewer.dims.axis_labels
    )  # of the slider
