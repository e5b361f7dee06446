"""Segmenting images and stacks: axes, planes, kinds, what is refused, and what is never left behind."""

import errno
import os
import subprocess
from dataclasses import replace
from functools import partial
from itertools import islice

import numpy as np
import pytest
import tifffile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_unet.core.arrays import segment, segment_into
from napari_unet.core.examples import image_intensity
from napari_unet.core.inference import Predictor
from napari_unet.core.io import Image, open_image, open_stack
from napari_unet.core.io.tiff_writer import TiffSink
from napari_unet.core.io.zarr_writer import ZarrSink
from napari_unet.core.layouts import SegmentConfig, result_layout
from napari_unet.core.modelfile import Model
from napari_unet.core.networks.unet import UNet, UNetConfig
from napari_unet.core.normalise import Intensity, measure_intensity, normalise
from napari_unet.core.numbered import connected_objects
from napari_unet.core.plan import plan_stack
from napari_unet.core.predicting import predict
from napari_unet.core.results import ArraySink
from napari_unet.core.stacks import segment_stack
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
def test_what_stops_a_segmentation_leaves_nothing_under_the_final_name(end, tmp_path):
    updates = segment_stack(
        threshold_model(), image_of(blobs(64, 64), "YX"), tmp_path / "out.tif", SegmentConfig(tile=16)
    )
    next(updates)
    with pytest.raises(end):
        updates.throw(end("stop"))
    assert [path.name for path in tmp_path.iterdir()] == ["out.tif.unfinished"]


class Failing:
    """An array that cannot be read beyond a row, but as a whole, as its fingerprint is taken."""

    def __init__(self, array, row, error):
        self.array, self.row, self.error = array, row, error
        self.shape, self.dtype = array.shape, array.dtype

    def __getitem__(self, region):
        if self.row < region[-2].stop and region[-2] != slice(0, len(self.array)):
            raise self.error
        return self.array[region]


KNOWN = Intensity((100.0,), (4000.0,), (100.0,))


@pytest.mark.parametrize(("row", "left"), [(0, []), (40, ["out.tif.unfinished"])])
def test_a_segmentation_that_fails_leaves_its_work_only_if_a_tile_was_done(row, left, tmp_path):
    data = Failing(blobs(64, 16), row, OSError("the camera burns"))
    config = SegmentConfig(tile=16, halo=0)
    updates = segment_stack(
        threshold_model(), image_of(data, "YX"), tmp_path / "out.tif", config, intensity=KNOWN
    )
    with pytest.raises(OSError, match="the camera burns"):
        finish(updates)
    assert [path.name for path in tmp_path.iterdir()] == left


def test_only_what_a_tile_needs_is_read_at_once(tmp_path):
    class Watched:
        shape, dtype, largest = (4, 3000, 3000), np.dtype(np.uint8), 0

        def __getitem__(self, region):
            sizes = [part.stop - part.start for part in region]
            self.largest = max(self.largest, int(np.prod(sizes)))
            return np.resize(np.arange(251, dtype=np.uint8), sizes)  # an empty image is searched for content

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


@pytest.mark.parametrize("kind", ["labels", "probabilities", "objects"])
def test_a_run_goes_on_where_an_earlier_one_was_stopped(kind):
    model, image = threshold_model(), image_of(blobs(4, 40, 24), "ZYX")
    config = SegmentConfig(kind, tile=16, halo=0)
    layout = result_layout(model, image, config)
    whole, pieces = Recorder(layout), Recorder(layout)
    for _ in segment_into(model, image, whole, config):
        pass
    predictor = Predictor(model.network, torch.device("cpu"))
    plan = plan_stack(predictor, model, image, config)
    first = segment_into(model, image, pieces, config, plan=plan)
    last = [update for update in islice(first, len(plan) // 2 + 1) if update.region][-1]
    first.close()
    done = Recorder(layout)  # what had not been told yet may have been written already
    done.array[...] = pieces.array
    for _ in segment_into(model, image, done, config, plan=plan, first=last.task + 1):
        pass
    assert len(done.regions) < len(whole.regions)
    if kind == "objects":  # numbers of the second run begin with 1 again
        np.testing.assert_array_equal(done.array > 0, whole.array > 0)
    else:
        np.testing.assert_array_equal(done.array, whole.array)


@pytest.fixture
def zarr_stack(tmp_path):
    """A plain Zarr of a chunk for each plane; returns it and the path of the chunk of the last plane."""
    zarr = pytest.importorskip("zarr")
    array = zarr.create_array(
        str(tmp_path / "in.zarr"),
        shape=(4, 20, 30),
        chunks=(1, 20, 30),
        dtype="uint16",
        dimension_names="zyx",
    )
    array[:] = blobs(4, 20, 30)
    return tmp_path / "in.zarr", tmp_path / "in.zarr" / "c" / "3" / "0" / "0"


def test_a_chunk_that_cannot_be_decoded_stops_the_run_which_goes_on_when_it_is_mended(zarr_stack, tmp_path):
    path, chunk = zarr_stack
    output, facts, good = tmp_path / "out.ome.zarr", chunk.stat(), chunk.read_bytes()

    def damage(content):
        chunk.write_bytes(content)
        os.utime(chunk, ns=(facts.st_atime_ns, facts.st_mtime_ns))  # as a backup gives it back

    damage(bytes(reversed(good)))
    run = partial(segment_stack, threshold_model(), open_image(path), output, intensity=KNOWN)
    with pytest.raises(ValueError, match=r"in\.zarr cannot be read .* copy the file again or save it anew"):
        finish(run(SegmentConfig(halo=0)))
    assert not output.exists()
    damage(good)
    updates = list(run(SegmentConfig(halo=0), resume=True))
    assert 0 < len(updates) < 4
    np.testing.assert_array_equal(open_image(output).read()[0] > 0, blobs(4, 20, 30) > 1000)


def test_a_file_cut_short_in_the_middle_of_a_stack_is_named(tmp_path):
    paths = [tmp_path / f"plane {z}.tif" for z in range(4)]
    for path in paths:
        tifffile.imwrite(path, blobs(64, 64), rowsperstrip=8)
    whole = paths[2].read_bytes()
    image = open_stack(paths)
    paths[2].write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"plane 2\.tif"):
        finish(
            segment_stack(
                threshold_model(), image, tmp_path / "out.tif", SegmentConfig(halo=0), intensity=KNOWN
            )
        )
    assert not (tmp_path / "out.tif").exists()


@pytest.mark.parametrize("suffix", [".tif", ".ome.zarr"])
def test_a_disk_that_fills_up_is_said_in_a_sentence_and_the_run_goes_on_when_there_is_space(
    suffix, tmp_path, monkeypatch
):
    output, image = tmp_path / f"out{suffix}", image_of(blobs(4, 20, 30), "ZYX")
    sink = TiffSink if suffix == ".tif" else ZarrSink
    write, calls = sink.write, []

    def full(self, region, array):
        calls.append(region)
        if len(calls) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(self, region, array)

    monkeypatch.setattr(sink, "write", full)
    with pytest.raises(OSError, match=r"no space for .*out.* free some or write to another disk"):
        finish(segment_stack(threshold_model(), image, output))
    assert [path.name for path in tmp_path.iterdir()] == [f"{output.name}.unfinished"]
    assert len(list(segment_stack(threshold_model(), image, output, resume=True))) == 2
    np.testing.assert_array_equal(open_image(output).read()[0] > 0, blobs(4, 20, 30) > 1000)


@pytest.fixture
def small_disk(tmp_path):
    """A folder that is a disk of 1 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if not hasattr(os, "geteuid") or os.geteuid():
        pytest.skip("only root may mount a small tmpfs")
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True
    ).returncode:
        pytest.skip("tmpfs cannot be mounted here")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.parametrize("suffix", [".tif", ".ome.zarr"])
def test_a_disk_that_is_too_small_is_said_in_a_sentence(suffix, small_disk):
    noise = np.random.default_rng(0).integers(0, 4000, (8, 512, 512)).astype(np.uint16)
    config = SegmentConfig("probabilities", tile=256, halo=0)
    with pytest.raises(
        OSError, match=r"no space for .*out.* \(16\.8 MB\); free some or write to another disk"
    ):
        finish(segment_stack(threshold_model(), image_of(noise, "ZYX"), small_disk / f"out{suffix}", config))
    assert not (small_disk / f"out{suffix}").exists()


def test_a_disk_that_may_only_be_read_is_refused_before_anything_is_computed(small_disk):
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    updates = segment_stack(threshold_model(), image_of(blobs(20, 30), "YX"), small_disk / "out.tif")
    with pytest.raises(OSError, match="read-only"):
        next(updates)


def test_planes_without_a_number_and_blank_planes_simply_work(tmp_path):
    array = blobs(4, 20, 30).astype(np.float32)
    array[1], array[2] = np.nan, 0
    result = finish(segment_stack(threshold_model(), image_of(array, "ZYX"), tmp_path / "out.ome.zarr"))
    assert result.n_nonfinite == 600
    labels = open_image(tmp_path / "out.ome.zarr").read()[0]
    assert labels.any(axis=(1, 2)).tolist() == [True, False, False, True]


def test_a_stack_without_pixels_is_refused(tmp_path):
    np.save(tmp_path / "empty.npy", np.zeros((0, 20, 30), np.uint16))
    with pytest.raises(ValueError, match="empty"):
        finish(segment_stack(threshold_model(), open_image(tmp_path / "empty.npy"), tmp_path / "out.tif"))


@pytest.mark.parametrize("suffix", [".tif", ".ome.tif", ".ome.zarr"])
def test_spaces_and_letters_of_any_alphabet_are_welcome_in_names(suffix, tmp_path):
    folder = tmp_path / "Ζellen und Kerne ä 細胞"
    folder.mkdir()
    tifffile.imwrite(folder / "Bild é 1.tif", blobs(20, 30))
    output = folder / f"mein Ergebnis ü{suffix}"
    finish(segment_stack(threshold_model(), open_image(folder / "Bild é 1.tif"), output))
    np.testing.assert_array_equal(open_image(output).read()[0] > 0, blobs(20, 30) > 1000)


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")])
def test_memory_that_runs_out_makes_pieces_smaller_and_the_result_the_same(error, tmp_path, monkeypatch):
    image = image_of(blobs(2, 64, 64), "ZYX")
    config = SegmentConfig("probabilities", halo="exact", precision="fp32")
    finish(segment_stack(threshold_model(), image, tmp_path / "plenty.tif", config))
    predict_batch, refused = Predictor._predict_batch, []

    def scarce(self, blocks, crops, classes):
        if sum(block[0].size for block in blocks) > 60**2:
            refused.append(len(blocks))
            raise error
        return predict_batch(self, blocks, crops, classes)

    monkeypatch.setattr(Predictor, "_predict_batch", scarce)
    finish(segment_stack(threshold_model(), image, tmp_path / "scarce.tif", config))
    assert refused
    plenty, scarce_one = (open_image(tmp_path / f"{name}.tif").read() for name in ("plenty", "scarce"))
    np.testing.assert_allclose(scarce_one, plenty, atol=1e-5)


@pytest.mark.parametrize(("n_planes", "dtype"), [(3, "uint8"), (130, "uint16")])
def test_a_file_of_objects_has_the_smallest_type_that_numbers_them(n_planes, dtype, tmp_path):
    image = image_of(blobs(n_planes, 14, 10), "ZYX")
    finish(
        segment_stack(threshold_model(), image, tmp_path / "out.ome.zarr", SegmentConfig("objects", halo=0))
    )
    written = open_image(tmp_path / "out.ome.zarr")
    assert written.dtype == dtype and written.read().max() == 2 * n_planes


def test_an_intensity_that_is_known_is_that_of_the_channels_that_it_was_measured_on():
    model = replace(threshold_model(), channels=("cells",))
    pixels = np.stack([blobs(20, 30) // 50, blobs(20, 30)])
    image = replace(image_of(pixels, "CYX"), channels=("other", "cells"))
    sink = ArraySink(np.zeros((20, 30), np.uint8))
    finish(segment_into(model, image, sink, intensity=image_intensity(image)))
    np.testing.assert_array_equal(sink.array > 0, blobs(20, 30) > 1000)
