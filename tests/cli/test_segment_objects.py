"""`napari-unet segment` of objects: which of them are wanted, and where that means nothing."""

import numpy as np
import pytest
import tifffile

from napari_unet.core.modelfile import Model, save_model
from napari_unet.core.networks.unet import UNet, UNetConfig
from napari_unet.core.targets import OBJECT_CLASSES


@pytest.fixture
def cells(tmp_path):
    """One with a hole, one at the border, one small one."""
    image = np.zeros((40, 50), np.uint8)
    image[10:20, 10:20], image[14:16, 14:16] = 200, 0
    image[30:, 30:36] = image[5:8, 40:42] = 200
    tifffile.imwrite(tmp_path / "cells.tif", image)
    return tmp_path / "cells.tif"


@pytest.fixture
def stack(tmp_path):
    """Two cells: one goes through three planes, shifted a little in each; the other lies in one."""
    image = np.zeros((3, 40, 50), np.uint8)
    for z in range(3):
        image[z, 10:20, 10 + z : 20 + z] = 200
    image[2, 30:38, 30:38] = 200
    tifffile.imwrite(tmp_path / "stack.tif", image, imagej=True, metadata={"axes": "ZYX"})
    return tmp_path / "stack.tif"


@pytest.fixture
def found(segment, object_model, tmp_path):
    def run(source, *options):
        out = tmp_path / f"out{len(list(tmp_path.iterdir()))}.tif"
        assert segment(source, "--out", out, *options, model=object_model) == 0
        return tifffile.imread(out)

    return run


def sizes(objects):
    return sorted(np.bincount(objects.ravel())[1:].tolist())


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], [6, 60, 100]),
        (["--min-size", "7"], [60, 100]),
        (["--min-size", "0", "--no-fill-holes"], [6, 60, 96]),
        (["--drop-border"], [6, 100]),
        (["--keep-border", "--fill-holes", "--min-size", "61"], [100]),
    ],
)
def test_small_objects_holes_and_the_border_follow_the_options(options, expected, found, cells):
    assert sizes(found(cells, *options)) == expected


def test_connected_parts_of_classes_take_the_options_too(segment, model, folder, tmp_path):
    sized = tmp_path / "sized.tif"
    options = ("--kind", "objects", "--min-size", "30", "--drop-border", "--fill-holes")
    assert segment(folder / "0.tif", "--out", sized, *options) == 0
    objects = tifffile.imread(sized)
    assert all(size >= 30 for size in sizes(objects))
    assert not objects[[0, -1]].any() and not objects[:, [0, -1]].any()


def test_objects_of_planes_are_linked_when_told_so(found, stack):
    assert sizes(found(stack)) == [64, 100, 100, 100]
    linked = found(stack, "--link")
    assert sizes(linked) == [64, 300] and len(set(linked[:, 15, 15])) == 1


def test_one_run_in_tiles_gives_the_same_objects(found, cells):
    whole, tiled = found(cells), found(cells, "--tile", "16")
    np.testing.assert_array_equal(whole > 0, tiled > 0)
    assert sizes(whole) == sizes(tiled)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--min-size", "3"], "--min-size"),
        (["--fill-holes"], "--fill-holes"),
        (["--no-fill-holes"], "--no-fill-holes"),
        (["--keep-border"], "--keep-border"),
        (["--drop-border"], "--drop-border"),
        (["--link"], "--link"),
        (["--kind", "probabilities", "--min-size", "3", "--link"], "--min-size and --link"),
    ],
)
def test_options_about_objects_are_refused_where_there_are_none(
    options, named, segment, folder, tmp_path, capsys
):
    assert segment(folder / "0.tif", "--out", tmp_path / "out.tif", *options) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"Error: {named}") and error.endswith("add --kind objects\n")
    assert error.count("\n") == 1 and not (tmp_path / "out.tif").exists()


def test_a_single_plane_has_nothing_to_link(segment, object_model, cells, tmp_path, capsys):
    assert segment(cells, "--out", tmp_path / "out.tif", "--link", model=object_model) == 2
    error = capsys.readouterr().err
    assert "no objects of planes to link" in error and error.count("\n") == 1


def test_a_3d_model_has_no_planes_to_link(segment, tmp_path, stack, capsys):
    network = UNet(UNetConfig(ndim=3, n_classes=3, width=1, depth=1))
    meaning = ("unet", "objects", OBJECT_CLASSES, "ZYX", (1.0, 1.0, 1.0), "pixel", ("",), "percentile")
    save_model(Model(network, *meaning, {}, "0"), tmp_path / "volume.safetensors")
    options = ("--out", tmp_path / "out.tif", "--link")
    assert segment(stack, *options, model=tmp_path / "volume.safetensors") == 2
    error = capsys.readouterr().err
    assert error.startswith("Error: --link") and "3D" in error and error.count("\n") == 1


def test_a_negative_size_is_one_sentence(segment, object_model, cells, tmp_path, capsys):
    assert segment(cells, "--out", tmp_path / "out.tif", "--min-size", "-1", model=object_model) == 2
    error = capsys.readouterr().err
    assert "minimum size of -1" in error and error.count("\n") == 1
