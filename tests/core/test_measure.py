"""The table of a stack that is read in blocks is that of scikit-image for the whole."""

import errno
import os
import warnings
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from skimage.measure import label, regionprops_table

from napari_unet.core.io import Image, open_image, open_labels
from napari_unet.core.io.image import make_image
from napari_unet.core.measuring import measure, measure_objects, scenes, sums, write_table

DATA = Path(os.environ.get("NAPARI_UNET_DATA", Path(__file__).parents[2] / "../shared/data")).resolve()

COMMON = ("n_pixels", "equivalent_diameter", "axis_major_length", "axis_minor_length", "extent")
THEIRS = {"n_pixels": "num_pixels", "equivalent_diameter": "equivalent_diameter_area"}


def table_of(work):
    while True:
        try:
            next(work)
        except StopIteration as end:
            return end.value


def test_what_segment_gives_is_measured_as_it_is():
    labels, values = np.uint8([[0, 1, 1], [0, 0, 7]]), np.arange(6.0).reshape(2, 3)
    table = table_of(measure_objects(labels, values))
    assert table["label"].tolist() == [1, 7] and table["intensity_mean"].tolist() == [1.5, 5.0]
    with pytest.raises(ValueError, match="has 4 axes: name them with an Image"):
        next(measure_objects(np.zeros((2, 2, 2, 2), np.uint8)))


def in_blocks(objects, image, n_pixels, slab):
    with patch.object(scenes, "_BLOCK", n_pixels), patch.object(sums, "_SLAB", slab):
        return table_of(measure_objects(objects, image))


def images(labels, values, spacing):
    """Labels, and an image (C, *spatial) of three channels."""
    spatial = "ZYX"[-labels.ndim :]
    sizes = dict(zip(spatial, spacing, strict=True))
    objects = make_image(labels, spatial, sizes, "µm", (), "objects")
    return objects, make_image(values, "C" + spatial, sizes, "µm", ("dna", "actin", "dna"), "image")


@st.composite
def scenes_of_blobs(draw):
    sides = [st.integers(1, 18)] * 2, [st.integers(2, 12)] * 3  # a volume of one plane is measured in 2D
    shape = draw(st.one_of(*(st.tuples(*each) for each in sides)))
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    smooth = gaussian_filter(rng.random(shape), draw(st.sampled_from([0, 0.7, 1.5])))
    labels = label(smooth > np.quantile(smooth, draw(st.sampled_from([0.3, 0.6]))), connectivity=1)
    if draw(st.booleans()):  # objects in several pieces, with numbers that leave gaps
        labels = np.where(labels, labels % 3 + 1, 0).astype(np.int64) * 5_000_000_000
    spacing = draw(st.sampled_from([(1.0,) * 3, (2.0, 0.5, 0.5), (3.0, 2.0, 0.7)]))[-len(shape) :]
    return labels.astype(np.int64), rng.normal(1000, 10, (3, *shape)), spacing


@given(scenes_of_blobs(), st.sampled_from([1, 7, 64, 10**6]), st.sampled_from([1, 50]))
def test_whatever_the_blocks_the_table_is_that_of_the_whole(scene, n_pixels, slab):
    labels, values, spacing = scene
    table = in_blocks(*images(labels, values, spacing), n_pixels, slab)
    numbers = np.unique(labels[labels > 0])
    np.testing.assert_array_equal(table["label"], numbers)
    small = np.searchsorted(np.append(0, numbers), labels)  # scikit-image lists all numbers up to the largest
    with warnings.catch_warnings(action="ignore"):  # volumes without depth have no hull there
        theirs = regionprops_table(
            small,
            np.moveaxis(values, 0, -1),
            spacing=spacing,
            properties=[
                *(THEIRS.get(name, name) for name in COMMON),
                "area",
                "centroid",
                "bbox",
                "area_convex",
            ]
            + [f"intensity_{kind}" for kind in ("mean", "min", "max", "std")]
            + ["eccentricity"] * (labels.ndim == 2)
            + ["perimeter"] * (len(set(spacing)) == 1 and labels.ndim == 2),
        )
    for name in COMMON:
        np.testing.assert_allclose(table[name], theirs[THEIRS.get(name, name)], atol=1e-6)
    np.testing.assert_allclose(table["area" if labels.ndim == 2 else "volume"], theirs["area"])
    for i, axis in enumerate("zyx"[-labels.ndim :]):
        np.testing.assert_allclose(table[f"centroid_{axis}"], theirs[f"centroid-{i}"], atol=1e-9)
        np.testing.assert_array_equal(table[f"bbox_{axis}_start"], theirs[f"bbox-{i}"])
        np.testing.assert_array_equal(table[f"bbox_{axis}_stop"], theirs[f"bbox-{i + labels.ndim}"])
    with_hull = theirs["area_convex"] > 0
    np.testing.assert_allclose(
        table["solidity"][with_hull], theirs["area"][with_hull] / theirs["area_convex"][with_hull]
    )
    for i, channel in enumerate(("0", "actin", "2")):
        for kind in ("mean", "min", "max", "std"):
            np.testing.assert_allclose(
                table[f"intensity_{kind}_{channel}"], theirs[f"intensity_{kind}-{i}"], rtol=1e-9, atol=1e-9
            )
        np.testing.assert_allclose(
            table[f"intensity_sum_{channel}"],
            [values[i][small == n].sum() for n in range(1, len(numbers) + 1)],
        )
    for name in {"eccentricity", "perimeter"} & theirs.keys():
        np.testing.assert_allclose(table[name], theirs[name], atol=1e-6)


@given(scenes_of_blobs(), st.sampled_from([1, 50]))
def test_blocks_change_no_column(scene, n_pixels):
    pair = images(*scene)
    whole, parts = in_blocks(*pair, 10**6, 10**6), in_blocks(*pair, n_pixels, 10)
    assert whole.keys() == parts.keys()
    for name in set(whole) - {"unit", "orientation"}:  # a round object has no direction
        np.testing.assert_allclose(parts[name].astype(float), whole[name].astype(float), atol=1e-6)


def ellipse(shape, centre, radii, angle):
    y, x = (np.indices(shape).T - centre).T
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    return ((along / radii[0]) ** 2 + (across / radii[1]) ** 2 <= 1).astype(np.uint8)


def test_the_direction_and_diameter_of_an_ellipse_are_those_of_scikit_image():
    labels = ellipse((80, 90), (40, 45), (30, 10), 0.4)
    table = table_of(measure_objects(*images(labels, np.ones((3, 80, 90)), (0.5, 0.5))))
    theirs = regionprops_table(labels, properties=("orientation", "feret_diameter_max"), spacing=(0.5, 0.5))
    assert table["orientation"] == pytest.approx(theirs["orientation"])
    assert table["feret_diameter_max"] == pytest.approx(theirs["feret_diameter_max"])


def test_lengths_are_physical_and_what_touches_the_border_is_told():
    labels = np.zeros((6, 20, 20), np.uint16)
    labels[2:4, 5:9, 5:9], labels[0:2, 12:14, 12:14] = 3, 9
    table = table_of(measure_objects(make_image(labels, "ZYX", {"Z": 2, "Y": 0.5, "X": 0.5}, "µm", (), "o")))
    assert table["volume"].tolist() == [16, 4]
    assert (table["centroid_z"][0], table["centroid_z_px"][0], table["centroid_x"][0]) == (5, 2.5, 3.25)
    assert table["touches_border"].tolist() == [False, True]
    assert table["unit"].tolist() == ["µm", "µm"]
    assert not {"perimeter", "eccentricity", "plane"} & table.keys()


def test_a_row_for_each_object_and_time_point():
    labels = np.zeros((3, 8, 8), np.uint8)
    labels[0, 1:3, 1:3], labels[2, 1:3, 1:5], labels[2, 6, 6] = 1, 1, 4
    image = make_image(np.arange(3)[:, None, None] * np.ones((3, 8, 8)), "TYX", {}, "pixel", (), "image")
    table = table_of(measure_objects(make_image(labels, "TYX", {}, "pixel", (), "objects"), image))
    assert table["timepoint"].tolist() == [0, 2, 2]
    assert table["label"].tolist() == [1, 1, 4]
    assert table["area"].tolist() == [4, 8, 1]
    assert table["intensity_mean"].tolist() == [0, 2, 2]


def test_planes_are_measured_in_2d_on_request_and_a_single_one_always():
    labels = np.zeros((2, 8, 8), np.uint8)
    labels[:, 1:4, 1:4], labels[1, 6, 6] = 1, 2
    stack = make_image(labels, "ZYX", {"Z": 7}, "pixel", (), "objects")
    table = table_of(measure_objects(stack, planes=True))
    assert (table["plane"].tolist(), table["area"].tolist()) == ([0, 1, 1], [9, 9, 1])
    one = table_of(measure_objects(make_image(labels[:1], "ZYX", {"Z": 7}, "pixel", (), "objects")))
    assert one["area"].tolist() == [9] and one["perimeter"].tolist() == [8]


def test_a_volume_of_one_plane_is_measured_where_scikit_image_has_no_hull():
    labels = np.zeros((4, 8, 8), np.uint8)
    labels[1, 2:5, 2:6] = 1
    table = table_of(measure_objects(make_image(labels, "ZYX", {}, "pixel", (), "objects")))
    assert table["solidity"].tolist() == [1]


def test_labels_without_voxel_size_have_that_of_the_image():
    labels, values = np.ones((4, 4), np.uint8), np.ones((4, 4))
    image = make_image(values, "YX", {"Y": 0.5, "X": 0.5}, "µm", (), "image")
    table = table_of(measure_objects(make_image(labels, "YX", {}, "pixel", (), "objects"), image))
    assert (table["area"].tolist(), table["unit"].tolist()) == ([4], ["µm"])


def test_pixels_that_are_not_square_have_no_perimeter():
    labels = make_image(np.ones((4, 4), np.uint8), "YX", {"Y": 2}, "pixel", (), "objects")
    assert np.isnan(table_of(measure_objects(labels))["perimeter"]).all()


def test_an_object_that_is_too_large_at_once_has_all_but_its_hull():
    labels = np.zeros((20, 20), np.uint8)
    labels[1:19, 1:19], labels[0, 0] = 1, 2
    objects = make_image(labels, "YX", {}, "pixel", (), "objects")
    with patch.object(measure, "LARGEST", 100), patch.object(scenes, "_BLOCK", 64):
        table = table_of(measure_objects(objects))
    for name in ("solidity", "feret_diameter_max", "perimeter"):
        assert np.isnan(table[name]).tolist() == [True, False]
    assert (table["area"].tolist(), table["bbox_x_stop"].tolist()) == ([324, 1], [19, 1])


def test_without_objects_the_table_has_columns_and_no_rows():
    pair = images(np.zeros((5, 5), np.uint8), np.ones((3, 5, 5)), (1.0, 1.0))
    table = table_of(measure_objects(*pair))
    assert {"label", "area", "intensity_mean_actin"} <= table.keys()
    assert {len(column) for column in table.values()} == {0}


def test_blocks_are_whole_chunks(tmp_path):
    zarr.create_array(f"{tmp_path}/a.zarr", shape=(40, 90, 70), chunks=(8, 16, 16), dtype="uint16")
    with patch.object(scenes, "_BLOCK", 20_000):
        shape = scenes.block_shape(scenes.Scene(open_labels(tmp_path / "a.zarr"), None, 0))
    assert (
        np.prod(shape) <= 20_000
        and [side % chunk for side, chunk in zip(shape, (8, 16, 16), strict=True)] == [0] * 3
    )


class OnlyOnce:
    """Labels that count how many of their pixels are read."""

    def __init__(self, labels):
        self.labels, self.shape, self.dtype, self.n_read = labels, labels.shape, labels.dtype, 0

    def __getitem__(self, region):
        self.n_read += self.labels[region].size
        return self.labels[region]


def test_few_pixels_are_read_twice():
    labels = np.zeros((512, 512), np.uint16)
    corners = np.arange(4, 500, 12)
    for number, (y, x) in enumerate(np.ndindex(len(corners), len(corners)), start=1):
        labels[corners[y] : corners[y] + 8, corners[x] : corners[x] + 8] = number
    counted = OnlyOnce(labels)
    with patch.object(scenes, "_BLOCK", 2**14):
        table_of(measure_objects(Image(counted, "YX", (1.0, 1.0), "pixel", ("",), "objects")))
    assert labels.size < counted.n_read < 1.5 * labels.size


@pytest.mark.parametrize(
    ("labels", "values", "sentence"),
    [
        (np.ones((4, 4)), None, "labels objects are float64"),
        (np.full((4, 4), -1), None, "negative value -1"),
        (np.ones((4, 4), int), np.ones((4, 5)), "(4, 5)"),
        (np.full((4, 4), 8), np.full((4, 4), np.nan), "16 pixels of objects, such as object 8"),
    ],
)
def test_bad_input_is_one_sentence_with_the_value(labels, values, sentence):
    image = None if values is None else make_image(values, "YX", {}, "pixel", (), "image")
    with pytest.raises(ValueError) as error:
        table_of(measure_objects(make_image(labels, "YX", {}, "pixel", (), "objects"), image))
    assert sentence in str(error.value) and "; " in str(error.value)


def test_nan_outside_the_objects_does_not_matter():
    labels, values = np.eye(4, dtype=int), np.where(np.eye(4), 3.0, np.nan)
    table = table_of(measure_objects(*(make_image(a, "YX", {}, "pixel", (), "a") for a in (labels, values))))
    assert table["intensity_mean"].tolist() == [3]


@pytest.mark.parametrize("name", ["mouse_embryo_8cell", "gonuclear_1135"])
def test_real_volumes_have_the_table_of_scikit_image(name):
    folder = DATA / "fluo3d_small"
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}: set NAPARI_UNET_DATA to the folder that has it")
    objects, image = open_labels(folder / f"labels/{name}.tif"), open_image(folder / f"images/{name}.tif")
    table = in_blocks(objects, image, 50_000, 10_000)
    theirs = regionprops_table(
        objects.read()[0],
        image.read()[0],
        properties=("label", "area", "axis_major_length", "intensity_std"),
        spacing=objects.spacing,
    )
    for mine, their in zip(
        ("label", "volume", "axis_major_length", "intensity_std"), theirs.values(), strict=True
    ):
        np.testing.assert_allclose(table[mine], their)


TABLE = {"label": np.array([1, 2]), "area": np.array([0.1, np.nan]), "unit": np.array(["µm", "a,b"])}


@pytest.mark.parametrize(
    ("suffix", "first"), [(".csv", 'label,area,unit\n1,0.1,µm\n2,,"a,b"\n'), (".tsv", "label\tarea")]
)
def test_a_table_is_text(tmp_path, suffix, first):
    write_table(TABLE, tmp_path / f"t{suffix}")
    assert (tmp_path / f"t{suffix}").read_text(encoding="utf-8").startswith(first)


def test_an_existing_table_is_replaced_only_on_request(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("mine")
    with pytest.raises(FileExistsError, match="overwrite"):
        write_table(TABLE, path)
    assert path.read_text() == "mine"
    write_table(TABLE, path, overwrite=True)
    assert path.read_text(encoding="utf-8").startswith("label")


def test_a_full_disk_is_said_and_nothing_is_left(tmp_path):
    with (
        patch.object(os, "fsync", side_effect=OSError(errno.ENOSPC, "No space left on device")),
        pytest.raises(OSError, match=r"no space for .*t\.csv; free some"),
    ):
        write_table(TABLE, tmp_path / "t.csv")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "sentence"),
    [("t.xlsx", "end in .csv or .tsv"), ("no/t.csv", "does not exist"), ("d.csv", "is a folder")],
)
def test_a_name_that_cannot_be_written_is_refused(tmp_path, name, sentence):
    (tmp_path / "d.csv").mkdir()
    with pytest.raises((ValueError, OSError), match=sentence):
        write_table(TABLE, tmp_path / name)
