import numpy as np
import pytest

from napari_unet.core.objects import connected_objects


def test_parts_that_meet_only_at_a_corner_are_two_objects():
    np.testing.assert_array_equal(connected_objects(np.eye(3, dtype=bool)), np.diag([1, 2, 3]))


def test_objects_connect_across_planes():
    foreground = np.zeros((3, 4, 4), bool)
    foreground[:, 1, 1] = foreground[1, 1, 1:] = True
    assert connected_objects(foreground).max() == 1


@pytest.mark.parametrize(
    ("n_objects", "dtype"), [(0, np.uint8), (255, np.uint8), (256, np.uint16), (70000, np.uint32)]
)
def test_the_type_is_the_smallest_that_holds_every_object(n_objects, dtype):
    objects = connected_objects(np.repeat([[1, 0]], n_objects, axis=0).reshape(1, -1))
    assert objects.dtype == dtype and objects.max(initial=0) == n_objects
