"""Segmenting images and stacks: axes, planes, kinds, what is refused, and what is never left behind."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_unet.core.inference import Predictor, predict
from napari_unet.core.io import Image, open_image
from napari_unet.core.modelfile import Model
from napari_unet.core.networks.unet import UNet, UNetConfig
from napari_unet.core.normalise import measure_intensity, normalise
from napari_unet.core.objects import connected_objects
from napari_unet.core.stacks import SegmentConfig, result_layout, segment, segment_into, segment_stack
from napari_unet.core.targets import ClassLabel

CLASSES = (ClassLabel(1, 0, "background"), ClassLabel(2, 7, "cell"))


def model_of(network, classes=CLASSES, task="classes"):
    ndim, n_channels = network.config.ndim, network.config.in_channels
    return Model(
        network,
        "unet",
        task,
        classes,
        "ZYX"[-ndim:],
        (1.0,) * ndim,
        "pixel",
        ("",) * n_channels,
        "percentile",
        {},
        "0",
    )


def threshold_model(ndim=2, **parts):
    """Says class 1 exactly where the normalised first channel is positive."""
    network = UNet(UNetConfig(ndim=ndim, width=2, depth=1, norm="none"))
    centre = (1,) * ndim
    with torch.no_grad():
        for weight in network.parameters():
            weight.zero_()
        first, second, after, last = (
            network.encoder[0][0].weight,
            network.encoder[0][2].weight,
            network.decoder[0][0].weight,
            network.decoder[0][2].weight,
        )
        first[(0, 0, *centre)], first[(1, 0, *centre)] = 1, -1  # ReLU: positive and negative part
        for weight in (second, after, last):
            weight[(0, 0, *centre)] = weight[(1, 1, *centre)] = 1
        network.head.weight[1, 0], network.head.weight[1, 1] = 50, -50
    return model_of(network, **parts)


def image_of(array, axes, spacing=None):
    n_spatial = sum(axis in "ZYX" for axis in axes)
    n_channels = array.shape[axes.index("C")] if "C" in axes else 1
    return Image(array, axes, spacing or (1.0,) * n_spatial, "nm", ("",) * n_channels, "sample")


def finish(updates):
    while True:
        try:
            next(updates)
        except StopIteration as end:
            return end.value


def blobs(*shape):
    """Bright boxes on a dark background."""
    image = np.full(shape, 100, np.uint16)
    image[..., 2:6, 3:9] = 4000
    image[..., 10:13, 3:5] = 4000
    return image


def test_labels_are_the_classes_values_in_the_smallest_type():
    labels = segment(threshold_model(), blobs(20, 30))
    assert labels.dtype == np.uint8
    np.testing.assert_array_equal(labels, np.where(blobs(20, 30) > 1000, 7, 0))
    many = (ClassLabel(1, 0, "a"), ClassLabel(2, 300, "b"))
    assert segment(threshold_model(classes=many), blobs(20, 30)).dtype == np.uint16


def test_probabilities_have_a_channel_for_each_class():
    probabilities = segment(threshold_model(), blobs(4, 20, 30), kind="probabilities")
    assert probabilities.shape == (2, 4, 20, 30) and probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(0), 1, atol=1e-5)
    np.testing.assert_array_equal(probabilities[1] > 0.5, blobs(4, 20, 30) > 1000)


def test_objects_of_planes_have_numbers_of_their_own():
    objects = segment(threshold_model(), blobs(3, 20, 30), kind="objects")
    assert [set(np.unique(plane)) for plane in objects] == [{0, 1, 2}, {0, 3, 4}, {0, 5, 6}]


def test_objects_of_a_volume_go_through_its_planes():
    objects = segment(threshold_model(ndim=3, task="objects"), blobs(3, 20, 30))
    assert objects.dtype == np.uint32
    np.testing.assert_array_equal(objects, connected_objects(blobs(3, 20, 30) > 1000))


@pytest.mark.parametrize(
    ("axes", "shape", "expected_axes"),
    [
        ("TCYX", (3, 1, 20, 30), "TYX"),
        ("YXC", (20, 30, 1), "YX"),
        ("TCZYX", (2, 1, 3, 20, 30), "TZYX"),
        ("ZYX", (3, 20, 30), "ZYX"),
    ],
)
@pytest.mark.parametrize("kind", ["labels", "probabilities", "objects"])
def test_a_file_keeps_axes_order_and_spacing(axes, shape, expected_axes, kind, tmp_path):
    order = [axes.index(axis) for axis in "TCZYX" if axis in axes]
    array = blobs(*(shape[place] for place in order)).transpose(np.argsort(order))
    spacing = (50.0, 4.0, 4.0)[-sum(axis in "ZYX" for axis in axes) :]
    image = image_of(array, axes, spacing)
    finish(segment_stack(threshold_model(), image, tmp_path / "out.ome.tif", SegmentConfig(kind)))
    written = open_image(tmp_path / "out.ome.tif")
    n_classes = 2 if kind == "probabilities" else 1
    assert (written.spatial_axes, written.spacing, written.unit) == (image.spatial_axes, spacing, "nm")
    assert (written.n_channels, written.n_timepoints) == (n_classes, image.n_timepoints)
    for t in range(image.n_timepoints):
        foreground = written.read(t=t)[-1] > (0.5 if kind == "probabilities" else 0)
        np.testing.assert_array_equal(foreground, image.read(t=t)[0] > 1000)
    if kind == "probabilities":
        assert written.channels == ("background", "cell")


@settings(max_examples=10, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=2, max_size=3), st.sampled_from([2, 3]), st.integers(1, 24))
def test_any_shape_and_tile_gives_what_the_whole_image_gives(shape, ndim, tile):
    shape = [3, *shape] if len(shape) < ndim else shape
    torch.manual_seed(0)
    model = model_of(UNet(UNetConfig(ndim=ndim, width=2, depth=1)).eval())
    array = np.random.default_rng(0).integers(0, 1000, shape).astype(np.uint16)
    intensity = measure_intensity(lambda region: array[None, *region], array.shape)
    planes = normalise(array[None], intensity).reshape(1, -1, *shape[-ndim:])
    predictor = Predictor(model.network, precision="fp32")
    expected = np.stack([predict(predictor, plane) for plane in planes.swapaxes(0, 1)], axis=1)
    result = segment(model, array, kind="probabilities", halo="exact", tile=tile, precision="fp32")
    np.testing.assert_allclose(result, expected.reshape(2, *shape), atol=1e-4)


def test_updates_say_how_far_it_is(tmp_path):
    image = image_of(blobs(3, 20, 30), "ZYX")
    updates = list(segment_stack(threshold_model(), image, tmp_path / "out.tif", SegmentConfig(tile=16)))
    assert [update.n_done for update in updates] == list(range(1, 13))
    assert {(update.n_tasks, update.n_voxels) for update in updates} == {(12, 1800)}
    assert updates[-1].n_voxels_done == 1800


def test_nonfinite_pixels_are_read_as_0_and_counted_once(tmp_path):
    array = blobs(64, 64).astype(np.float32)
    array[30:35, 30:40] = np.nan
    array[0, 0] = np.inf
    config = SegmentConfig(tile=16, halo="exact")
    result = finish(segment_stack(threshold_model(), image_of(array, "YX"), tmp_path / "out.tif", config))
    assert result.n_nonfinite == 51
    labels = open_image(tmp_path / "out.tif").read()[0]
    assert labels[30:35, 30:40].max() == 0 and labels[3, 4] == 7


@pytest.mark.parametrize("array", [np.full((8, 8), np.nan), np.zeros((1, 1)), np.full((1, 40), 7, np.uint8)])
def test_images_of_nothing_or_of_one_pixel_work(array):
    assert segment(threshold_model(), array).shape == array.shape


def test_big_endian_and_read_only_arrays_work():
    array = blobs(20, 30).astype(">u2")
    array.flags.writeable = False
    np.testing.assert_array_equal(segment(threshold_model(), array) > 0, array > 1000)


def test_a_model_with_other_channels_is_refused_before_anything_is_written(tmp_path):
    image = image_of(np.zeros((3, 20, 20), np.uint8), "CYX")
    with pytest.raises(
        ValueError, match=r"sample has 3 channels and the model was trained with 1.*--channels"
    ):
        finish(segment_stack(threshold_model(), image, tmp_path / "out.tif"))
    assert not list(tmp_path.iterdir())


def test_a_3d_model_refuses_an_image_without_z():
    with pytest.raises(ValueError, match="no Z axis"):
        segment(threshold_model(ndim=3), blobs(20, 30))


def test_objects_need_a_background():
    classes = (ClassLabel(1, 1, "membrane"), ClassLabel(2, 2, "inside"))
    with pytest.raises(ValueError, match="use --kind labels"):
        segment(threshold_model(classes=classes), blobs(20, 30), kind="objects")


def test_an_array_with_axes_that_are_not_named_is_an_error():
    with pytest.raises(ValueError, match="4 axes"):
        segment(threshold_model(), np.zeros((1, 1, 20, 20)))


@pytest.mark.parametrize(("option", "value"), [("kind", "mask"), ("halo", "some"), ("halo", -1), ("tile", 0)])
def test_options_that_mean_nothing_are_errors(option, value):
    with pytest.raises(ValueError, match=f"{option} is {value!r}"):
        replace(SegmentConfig(), **{option: value})


def test_an_existing_output_is_refused_and_replaced_only_when_whole(tmp_path):
    path = tmp_path / "out.tif"
    path.write_bytes(b"precious")
    image = image_of(blobs(20, 30), "YX")
    with pytest.raises(FileExistsError, match="out"):
        finish(segment_stack(threshold_model(), image, path))
    stopped = segment_stack(threshold_model(), image, path, SegmentConfig(tile=16), overwrite=True)
    next(stopped)
    stopped.close()
    assert path.read_bytes() == b"precious"
    finish(segment_stack(threshold_model(), image, path, overwrite=True))
    assert open_image(path).dtype == np.uint8


@pytest.mark.parametrize("end", [KeyboardInterrupt, ValueError])
def test_what_stops_a_segmentation_leaves_nothing_behind(end, tmp_path):
    updates = segment_stack(
        threshold_model(), image_of(blobs(64, 64), "YX"), tmp_path / "out.tif", SegmentConfig(tile=16)
    )
    next(updates)
    with pytest.raises(end):
        updates.throw(end("stop"))
    assert not list(tmp_path.iterdir())


def test_only_what_a_tile_needs_is_read_at_once(tmp_path):
    class Watched:
        shape, dtype, largest = (4, 3000, 3000), np.dtype(np.uint8), 0

        def __getitem__(self, region):
            sizes = [part.stop - part.start for part in region]
            self.largest = max(self.largest, int(np.prod(sizes)))
            return np.zeros(sizes, np.uint8)

    data = Watched()
    updates = segment_stack(
        threshold_model(), image_of(data, "ZYX"), tmp_path / "out.tif", SegmentConfig(tile=256)
    )
    next(updates)
    updates.close()
    assert data.largest <= (256 + 2 * 8) ** 2


def test_two_runs_give_the_same_bytes(tmp_path):
    image = image_of(blobs(3, 20, 30), "ZYX")
    for name in ("a", "b"):
        finish(segment_stack(threshold_model(), image, tmp_path / f"{name}.tif"))
    assert (tmp_path / "a.tif").read_bytes() == (tmp_path / "b.tif").read_bytes()


def test_an_array_that_looks_like_colours_is_not_taken_for_planes():
    with pytest.raises(ValueError, match=r"shape \(20, 20, 3\), as colours have: name its axes"):
        segment(threshold_model(), np.zeros((20, 20, 3), np.uint8))


class Recorder:
    """Takes the pieces of a result and remembers where they were."""

    def __init__(self, layout):
        self.array, self.regions = np.zeros(layout.shape, layout.dtype), []

    def write(self, region, array):
        self.array[region] = array
        self.regions.append(region)


@pytest.mark.parametrize("kind", ["labels", "probabilities", "objects"])
def test_a_result_comes_in_pieces_and_updates_say_where_they_are(kind):
    model, image = threshold_model(), image_of(blobs(2, 3, 40, 24), "TZYX")
    config = SegmentConfig(kind, tile=32, halo=8)
    sink = Recorder(result_layout(model, image, config))
    updates = list(segment_into(model, image, sink, config))
    assert [update.region for update in updates if update.region] == sink.regions
    assert len(sink.regions) == (6 if kind == "objects" else len(updates)) and len(updates) > 6
    covered = np.zeros(sink.array.shape, int)
    for region in sink.regions:
        covered[region] += 1
    assert (covered == 1).all()
    np.testing.assert_array_equal(sink.array, segment(model, image, kind=kind, tile=32, halo=8))


def test_intensities_that_are_known_are_not_measured_again():
    model, image = threshold_model(), image_of(blobs(16, 16), "YX")
    known = measure_intensity(lambda region: np.array([[[0.0, 1e9]]]), (1, 1, 2))
    sink = Recorder(result_layout(model, image, SegmentConfig()))
    for _ in segment_into(model, image, sink, intensity=known):
        pass
    assert (sink.array == 0).all() and segment(model, image).any()  # nothing is bright on that scale
