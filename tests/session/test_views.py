import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from napari.layers import Image

from napari_unet.core.normalise import Intensity
from napari_unet.session.images import ImageChoice, open_layers
from napari_unet.session.views import STEP, Place, pieces, read_piece, visible_place


@st.composite
def spans(draw):
    start = draw(st.integers(0, 300))
    return start, start + draw(st.integers(1, 300))


@given(spans(), spans(), st.integers(20, 200))
def test_pieces_partition_the_place_from_its_centre(rows, columns, side):
    found = pieces(Place((1,), rows, columns), side)
    covered = np.zeros((700, 700), int)
    for piece in found:
        assert piece.index == (1,)
        assert max(np.diff(piece.rows)[0], np.diff(piece.columns)[0]) <= side
        covered[piece.region[1:]] += 1
    inside = covered[slice(*rows), slice(*columns)]
    assert (inside == 1).all() and covered.sum() == inside.size
    far = [abs(sum(p.rows) - sum(rows)) ** 2 + abs(sum(p.columns) - sum(columns)) ** 2 for p in found]
    assert far == sorted(far)


@given(st.integers(1, 400), st.integers(1, 400), st.data())
def test_what_is_visible_lies_in_the_view_and_the_view_in_the_image(height, width, data):
    layer = Image(np.zeros((height, width), np.uint8))
    first = [data.draw(st.integers(0, n - 1)) for n in (height, width)]
    last = [data.draw(st.integers(a, n - 1)) for a, n in zip(first, (height, width), strict=True)]
    layer.corner_pixels = np.array([first, last])
    place = visible_place(ImageChoice((layer,), "YX"), ())
    for (start, stop), a, b, n in zip((place.rows, place.columns), first, last, (height, width), strict=True):
        assert 0 <= start <= a and b < stop <= n
        assert (start, stop) == (0, n) or (start % STEP == 0 and (stop % STEP == 0 or stop == n))


def test_a_small_move_of_the_camera_is_no_other_view():
    layer = Image(np.zeros((400, 400), np.uint8))
    choice = ImageChoice((layer,), "YX")
    layer.corner_pixels = np.array([[100, 100], [200, 200]])
    before = visible_place(choice, ())
    layer.corner_pixels = np.array([[103, 99], [203, 199]])
    assert visible_place(choice, ()) == before


def test_the_view_of_a_pyramid_is_in_pixels_of_the_full_image():
    layer = Image([np.zeros((400, 400), np.uint8), np.zeros((100, 100), np.uint8)], multiscale=True)
    layer._data_level = 1
    layer.corner_pixels = np.array([[25, 50], [50, 99]])
    place = visible_place(ImageChoice((layer,), "YX"), ())
    assert (place.rows, place.columns) == ((96, 224), (192, 400))


@pytest.mark.parametrize(
    ("shape", "axes", "index", "ndim", "expected", "plane"),
    [
        ((40, 50), "YX", (), 2, (1, 10, 20), None),
        ((5, 40, 50), "ZYX", (3,), 2, (1, 10, 20), None),
        ((5, 40, 50), "TYX", (3,), 2, (1, 10, 20), None),
        ((2, 40, 50), "CYX", (0,), 2, (2, 10, 20), None),
        ((30, 40, 50), "ZYX", (3,), 3, (1, 12, 10, 20), 3),
        ((30, 40, 50), "ZYX", (15,), 3, (1, 17, 10, 20), 8),
        ((30, 40, 50), "ZYX", (29,), 3, (1, 9, 10, 20), 8),
        ((2, 3, 20, 40, 50), "TCZYX", (1, 0, 4), 3, (3, 13, 10, 20), 4),
    ],
)
def test_a_piece_holds_what_the_network_has_to_see(shape, axes, index, ndim, expected, plane):
    data = np.random.default_rng(0).random(shape).astype(np.float32)
    choice = ImageChoice((Image(data, rgb=False),), axes)
    image = open_layers(choice)
    intensity = Intensity((0.0,) * image.n_channels, (1.0,) * image.n_channels)
    piece = read_piece(choice, image, Place(index, (10, 20), (20, 40)), ndim, intensity)
    assert piece.image.shape == expected and piece.plane == plane
    shown = piece.image if plane is None else piece.image[:, plane]
    at = tuple(slice(None) if axis == "C" else i for axis, i in zip(axes, index, strict=False))
    truth = data[(*at, slice(10, 20), slice(20, 40))].reshape(shown.shape)
    order = [np.argsort(each.ravel()) for each in (shown[0], truth[0])]
    assert np.array_equal(*order)  # the same pixels, whatever the intensities
