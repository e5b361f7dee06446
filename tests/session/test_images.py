"""Image layers as images: axes, lazy reading, and layers that lie on them."""

import subprocess
import sys
from types import SimpleNamespace

import dask.array as da
import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from napari.components import ViewerModel
from napari.layers import Image as ImageLayer
from napari.layers import Labels

from napari_unet.session import images
from napari_unet.session.images import (
    ImageChoice,
    guess_axes,
    open_layers,
    placement,
    possible_axes,
    zeros,
)


class Counting:
    """An array that knows how many of its pixels have been read."""

    def __init__(self, array):
        self.array, self.read = array, 0
        self.shape, self.dtype, self.ndim = array.shape, array.dtype, array.ndim

    def __getitem__(self, region):
        found = self.array[region]
        self.read += found.size
        return found


def ramp(*shape, dtype=np.uint16):
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


def chosen(data, axes=None, channels=None, **options):
    layer = ImageLayer(data, **options)
    return ImageChoice((layer,), axes or guess_axes(layer), channels)


@pytest.mark.parametrize(
    ("shape", "axes"),
    [((8, 9), "YX"), ((3, 8, 9), "ZYX"), ((2, 3, 8, 9), "TZYX"), ((2, 2, 3, 8, 9), "TCZYX")],
)
def test_axes_without_labels_are_the_usual_ones(shape, axes):
    assert guess_axes(ImageLayer(ramp(*shape), rgb=False)) == axes


@pytest.mark.parametrize(
    ("labels", "axes"),
    [("czyx", "CZYX"), ("TZYX", "TZYX"), (("time", "channel", "y", "x"), "TCYX"), ("xyzt", "TZYX")],
)
def test_axis_labels_tell_where_they_mean_something(labels, axes):
    assert guess_axes(ImageLayer(ramp(2, 3, 8, 9), axis_labels=tuple(labels))) == axes


def test_every_sensible_meaning_of_the_axes_is_offered_the_likeliest_first():
    assert possible_axes(ImageLayer(ramp(3, 8, 9))) == ("ZYX", "TYX", "CYX")
    assert possible_axes(ImageLayer(ramp(2, 3, 8, 9)))[0] == "TZYX"
    assert set(possible_axes(ImageLayer(ramp(2, 3, 8, 9)))) == {
        *("TZYX", "ZTYX", "TCYX", "CTYX", "CZYX", "ZCYX")
    }
    assert possible_axes(ImageLayer(ramp(4, 30, 30, 3), rgb=True)) == ("ZYXC", "TYXC")


def test_more_axes_than_there_are_letters_are_refused_in_one_sentence():
    layer = ImageLayer(ramp(1, 1, 1, 2, 8, 9), name="huge")
    assert possible_axes(layer) == ()
    with pytest.raises(ValueError, match="huge has 6 axes, more than time, channel, z, y and x"):
        guess_axes(layer)


def test_a_choice_that_does_not_fit_is_refused_with_what_would():
    with pytest.raises(ValueError, match="choose one of ZYX, TYX, CYX"):
        chosen(ramp(3, 8, 9), "YXC")
    with pytest.raises(ValueError, match="layers of equal shape"):
        ImageChoice((ImageLayer(ramp(8, 9)), ImageLayer(ramp(8, 8))), "YX")
    with pytest.raises(ValueError, match="has channels of its own"):
        ImageChoice((ImageLayer(ramp(2, 8, 9)), ImageLayer(ramp(2, 8, 9))), "CYX")
    with pytest.raises(ValueError, match="no channel 2"):
        chosen(ramp(2, 8, 9), "CYX", (0, 2))


def test_planes_and_annotation_have_one_position_for_all_channels():
    choice = chosen(ramp(2, 3, 4, 8, 9), "TCZYX", name="cells")
    assert (choice.name, choice.plane_axes, choice.plane_shape) == ("cells", "TCZ", (2, 1, 4))
    assert choice.annotation_shape == (2, 1, 4, 8, 9)
    assert choice.n_channels == 3
    colours = chosen(ramp(2, 30, 31, 3, dtype=np.uint8), "TYXC", rgb=True)
    assert (colours.plane_axes, colours.annotation_shape) == ("T", (2, 30, 31))


@pytest.mark.parametrize(
    "dtype", ["uint8", "int8", ">u2", "int32", "uint64", "float16", ">f4", "float64", "bool"]
)
def test_pixels_of_any_real_type_are_read_as_they_are(dtype):
    data = (ramp(6, 7) % 5).astype(dtype)
    data.flags.writeable = False
    pixels = open_layers(chosen(data)).read()
    np.testing.assert_array_equal(pixels[0], data.astype(pixels.dtype))
    assert pixels.dtype == (np.uint8 if dtype == "bool" else np.dtype(dtype).newbyteorder("="))
    assert pixels.flags.writeable


def test_complex_pixels_are_refused_with_a_remedy():
    data = np.ones((8, 9), np.complex64)
    layer = SimpleNamespace(name="phase", multiscale=False, data=data, dtype=data.dtype)
    with pytest.raises(TypeError, match="complex64: use real numbers, such as their magnitude"):
        images._Pixels(layer)


def test_nan_stays_nan():
    data = np.full((6, 7), np.nan, np.float32)
    assert np.isnan(open_layers(chosen(data)).read()).all()


def test_alpha_is_never_a_channel_and_colours_can_be_chosen():
    data = np.random.default_rng(0).integers(0, 255, (2, 30, 31, 4), np.uint8)
    image = open_layers(chosen(data, "TYXC", rgb=True))
    assert (image.channels, image.spacing) == (("red", "green", "blue"), (1, 1))
    np.testing.assert_array_equal(image.read(t=1), np.moveaxis(data[1, ..., :3], -1, 0))
    green = open_layers(chosen(data, "TYXC", (1,), rgb=True))
    np.testing.assert_array_equal(green.read(t=1)[0], data[1, ..., 1])


def test_several_layers_are_one_channel_each():
    one, other = ImageLayer(ramp(3, 8, 9), name="dna"), ImageLayer(ramp(3, 8, 9) / 2, name="actin")
    image = open_layers(ImageChoice((one, other), "ZYX"))
    assert (image.axes, image.channels, image.name, image.dtype) == (
        *("CZYX", ("dna", "actin"), "dna", np.float64),
    )
    region = (slice(1, 2), slice(2, 5), slice(0, 9))
    np.testing.assert_array_equal(image.read(region), [one.data[region], other.data[region]])
    second = open_layers(ImageChoice((one, other), "ZYX", (1,)))
    np.testing.assert_array_equal(second.read(region), [other.data[region]])


def test_the_channel_axis_may_lie_anywhere():
    data = ramp(2, 3, 4, 8, 9)
    image = open_layers(chosen(data, "ZCTYX", (2, 0)))
    assert (image.n_channels, image.n_timepoints, image.spatial_shape) == (2, 4, (2, 8, 9))
    np.testing.assert_array_equal(image.read(t=3), np.moveaxis(data[:, [2, 0], 3], 1, 0))


def test_only_the_wanted_region_is_read():
    data = Counting(ramp(4, 50, 300, 300))
    layer = ImageLayer(data, contrast_limits=(0, 1), name="lazy")
    image = open_layers(ImageChoice((layer, layer), "TZYX"))
    data.read = 0
    image.read((slice(7, 8), slice(0, 10), slice(20, 40)), t=2)
    assert data.read == 2 * 10 * 20


@pytest.mark.parametrize("lazy", ["dask", "zarr", "multiscale"])
def test_lazy_and_multiscale_layers_are_read_in_full_resolution(lazy):
    data = ramp(5, 64, 64)
    layer = {
        "dask": lambda: ImageLayer(da.from_array(data, chunks=(1, 32, 32))),
        "zarr": lambda: ImageLayer(zarr.array(data, chunks=(1, 32, 32))),
        "multiscale": lambda: ImageLayer([data, data[:, ::2, ::2]], multiscale=True),
    }[lazy]()
    choice = ImageChoice((layer,), "ZYX")
    assert choice.annotation_shape == data.shape
    region = (slice(2, 4), slice(3, 9), slice(60, 64))
    np.testing.assert_array_equal(open_layers(choice).read(region)[0], data[region])


def test_spacing_and_unit_come_from_the_layer():
    choice = chosen(
        *(ramp(2, 3, 8, 9), "CZYX"),
        scale=(5, 250, -0.1, 0.1),
        units=("pixel", "nm", "um", "um"),
        rotate=np.eye(4)[[0, 1, 3, 2]],
        affine=np.diag([1, 1, 2, 2, 1]),
    )
    image = open_layers(choice)
    assert image.unit == "µm"
    assert image.spacing == (0.25, 0.2, 0.2)
    assert open_layers(chosen(ramp(8, 9))).unit == "pixel"


def covering(viewer, choice):
    """Put a Labels layer with the choice's placement into the viewer."""
    return viewer.add_labels(zeros(choice.annotation_shape, np.uint8), **placement(choice))


scales = st.floats(1e-3, 1e3) | st.floats(-1e3, -1e-3)
shifts = st.floats(-1e4, 1e4)


@given(
    axes=st.sampled_from(["CYX", "TCYX", "CZYX", "ZCYX", "TCZYX"]),
    n_channels=st.integers(1, 40),
    scale=st.lists(scales, min_size=5, max_size=5),
    translate=st.lists(shifts, min_size=5, max_size=5),
)
def test_one_position_is_nearest_to_every_channel(axes, n_channels, scale, translate):
    shape = [n_channels if axis == "C" else 2 for axis in axes[:-2]]
    n = len(axes)
    choice = chosen(np.zeros((*shape, 6, 7), np.uint8), axes, scale=scale[:n], translate=translate[:n])
    annotation = Labels(zeros(choice.annotation_shape, np.uint8), **placement(choice))
    for channel in range(n_channels):
        pixel = [channel if axis == "C" else 1 for axis in axes[:-2]] + [4, 5]
        wanted = [0 if axis == "C" else 1 for axis in axes[:-2]] + [4, 5]
        found = annotation.world_to_data(choice.layers[0].data_to_world(pixel))
        assert np.round(found).astype(int).tolist() == wanted


@pytest.mark.parametrize("axes", ["CYX", "TCYX", "CZYX", "TCZYX"])
def test_a_covering_layer_shows_and_takes_paint_at_every_channel(axes):
    n = len(axes)
    viewer = ViewerModel()
    data = np.zeros([{"T": 2, "C": 4, "Z": 3, "Y": 30, "X": 31}[axis] for axis in axes], np.uint8)
    layer = viewer.add_image(data, scale=(2, 3.3, 0.7, 0.25, 0.25)[-n:], translate=(1, -7, 2.5, 9, 3)[-n:])
    ranges = viewer.dims.range
    choice = ImageChoice((layer,), axes)
    annotation = covering(viewer, choice)
    assert viewer.dims.range == ranges
    for channel in range(4):
        viewer.dims.set_current_step(axes.index("C"), channel)
        world = list(viewer.dims.point)
        world[-2:] = layer.data_to_world([0] * (n - 2) + [10, 5 * channel])[-2:]
        annotation.paint(annotation.world_to_data(world), channel + 1)
        shown = np.asarray(annotation._slice.image.raw)
        assert shown[10, 5 * channel] == channel + 1
    assert set(np.unique(annotation.data)) == {0, 1, 2, 3, 4}


@given(
    angle=st.floats(-180, 180),
    shear=st.floats(-2, 2),
    scale=st.lists(scales, min_size=2, max_size=2),
    shift=st.lists(shifts, min_size=3, max_size=3),
)
def test_pixels_lie_on_pixels_however_the_image_is_turned(angle, shear, scale, shift):
    affine = np.eye(4)
    affine[1:3, 1:3] = [[0.5, 1], [-1, 2]]
    affine[:3, 3] = shift
    turn = np.eye(3)
    turn[1:, 1:] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    options = {"rotate": turn, "shear": (0, 0, shear), "affine": affine, "translate": shift}
    choice = chosen(np.zeros((5, 40, 41), np.uint8), "CYX", scale=(2, *scale), **options)
    annotation = Labels(zeros(choice.annotation_shape, np.uint8), **placement(choice))
    for channel in range(5):
        found = annotation.world_to_data(choice.layers[0].data_to_world((channel, 33, 7)))
        np.testing.assert_allclose(found[1:], (33, 7), atol=1e-4)
        assert abs(found[0]) < 0.5


def test_a_covering_layer_has_the_units_and_labels_of_the_image():
    choice = chosen(ramp(3, 8, 9), units=("um", "nm", "nm"), axis_labels=("z", "y", "x"))
    layer = Labels(zeros(choice.annotation_shape, np.uint8), **placement(choice))
    assert layer.units == choice.layers[0].units
    assert layer.axis_labels == ("z", "y", "x")


def test_zeros_that_the_memory_cannot_hold_lie_in_a_file_that_goes_by_itself(monkeypatch, tmp_path):
    monkeypatch.setattr(images.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(images, "available_memory", lambda: 1000)
    array = zeros((40, 50), np.uint16)
    assert isinstance(array.base, np.memmap)
    array[3] = 7
    assert (array.shape, array.dtype, int(array.sum())) == ((40, 50), np.uint16, 350)
    del array
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_said_before_anything_is_written(monkeypatch):
    monkeypatch.setattr(images, "available_memory", lambda: 1000)
    monkeypatch.setattr(images.shutil, "disk_usage", lambda folder: type("D", (), {"free": 2**31}))
    with pytest.raises(OSError, match=r"4.0 GiB fits neither into memory nor into .* 2.0 GiB free"):
        zeros((4, 2**30), np.uint8)
    assert zeros((4, 2**30), np.uint8, sparse=True).shape == (4, 2**30)


def test_neither_torch_nor_qt_is_imported():
    check = (
        "import sys, napari_unet.session.images, napari_unet.session.annotated; "
        "print(*{'torch', 'qtpy', 'superqt', 'PySide6'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
