"""Axes of size 1: results have the axes that were asked for, labels fit an image with or without them."""

from itertools import combinations, product

import h5py
import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_unet.core.draining import drain
from napari_unet.core.examples import read_examples
from napari_unet.core.io import create_output, open_image, open_labels
from napari_unet.core.io.axes import spatial_of
from napari_unet.core.io.image import make_image
from napari_unet.core.io.singletons import with_axes_of
from napari_unet.core.label_values import LabelOptions, compact_ids
from napari_unet.core.measuring import measure_objects

ALL_AXES = ["".join(chosen) + "YX" for n in range(4) for chosen in combinations("TCZ", n)]
SPACING = {"Z": 2.0, "Y": 0.5, "X": 0.5}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    axes=st.sampled_from(ALL_AXES),
    sizes=st.tuples(*[st.integers(1, 3)] * 3, *[st.sampled_from([1, 8, 17])] * 2),
    dtype=st.sampled_from(["uint8", "uint16", "uint32", "float32"]),
    suffix=st.sampled_from([".tif", ".ome.tif", ".ome.zarr"]),
)
def test_a_result_reads_back_as_it_was_written(tmp_path, axes, sizes, dtype, suffix):
    of_axis = dict(zip("TCZYX", sizes, strict=True))
    shape = tuple(of_axis[axis] for axis in axes)
    pixels = np.random.default_rng(0).integers(0, 200, shape).astype(dtype)
    spacing = [SPACING[axis] for axis in spatial_of(axes)]
    path = tmp_path / f"a{suffix}"
    output = create_output(path, shape, dtype, axes=axes, spacing=spacing, unit="µm", overwrite=True)
    with output:
        output.write(tuple(slice(0, size) for size in shape), pixels)
    image = open_image(path)
    assert (image.axes, image.data.shape, image.dtype) == (axes, shape, pixels.dtype)
    assert (list(image.spacing), image.unit) == (spacing, "µm")
    assert (np.asarray(image.data[tuple(slice(0, size) for size in shape)]) == pixels).all()


def squares():
    labels = np.zeros((40, 50), np.uint8)
    labels[5:15, 5:15], labels[20:35, 20:40] = 1, 2
    return labels


@pytest.mark.parametrize(("image_z", "labels_z"), list(product([False, True], repeat=2)))
def test_labels_fit_their_image_with_and_without_a_z_of_one(image_z, labels_z):
    labels, pixels = squares(), np.random.default_rng(0).normal(size=(40, 50))
    image = make_image(pixels[None] if image_z else pixels, "ZYX"[not image_z :], {}, "pixel", (), "image")
    told = make_image(labels[None] if labels_z else labels, "ZYX"[not labels_z :], {}, "pixel", (), "labels")
    data = read_examples([(image, told)], LabelOptions("objects"))
    [example] = data.examples
    assert example.annotation.shape == example.image.shape[1:] == (40, 50)
    assert (example.annotation == labels.astype(int) + 1).all()
    table = drain(measure_objects(told, image))
    assert table["label"].tolist() == [1, 2]
    assert with_axes_of(told, image).spatial_shape == image.spatial_shape


def test_a_stack_of_planes_does_not_fit_a_plane():
    image = make_image(np.zeros((8, 9)), "YX", {}, "pixel", (), "image")
    stack = make_image(np.zeros((2, 8, 9), np.uint8), "ZYX", {}, "pixel", (), "labels")
    assert with_axes_of(stack, image) is stack
    with pytest.raises(ValueError, match="give labels of the same shape"):
        read_examples([(image, stack)])


@pytest.mark.parametrize(
    "shape", [(40, 50), (1, 40, 50), (1, 1, 40, 50), (1, 1, 1, 40, 50), (40, 50, 1), (1, 1, 40, 50, 1)]
)
@pytest.mark.parametrize("suffix", [".npy", ".h5"])
def test_plain_arrays_with_axes_of_one_are_planes(tmp_path, shape, suffix):
    path = tmp_path / f"labels{suffix}"
    if suffix == ".npy":
        np.save(path, squares().reshape(shape))
    else:
        with h5py.File(path, "w") as file:
            file.create_dataset("exported_data", data=squares().reshape(shape))
    tifffile.imwrite(tmp_path / "image.tif", squares())
    [example] = read_examples([(open_image(tmp_path / "image.tif"), open_labels(path))]).examples
    assert (example.annotation == squares().astype(int) + 1).all()


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=30))
def test_ids_of_any_size_stay_apart(ids):
    values = np.array(ids, np.uint64)
    compacted = compact_ids(values)
    assert compacted.max() <= 2**54
    assert ((compacted[:, None] == compacted[None]) == (values[:, None] == values[None])).all()
    small = values <= 2**53
    assert (compacted[small] == values[small]).all()


def test_objects_with_ids_beyond_signed_integers_are_trained_on_and_measured_one_by_one():
    labels = squares().astype(np.uint64)
    labels[labels == 1], labels[labels == 2] = 2**63, 2**64 - 1
    image = make_image(np.zeros((40, 50)), "YX", {}, "pixel", (), "image")
    told = make_image(labels, "YX", {}, "pixel", (), "labels")
    [example] = read_examples([(image, told)], LabelOptions("objects")).examples
    assert len(np.unique(example.annotation)) == 3 and (example.annotation > 0).all()
    assert (example.annotation == 1).sum() == (labels == 0).sum()
    assert drain(measure_objects(told))["label"].tolist() == [2**63, 2**64 - 1]
