"""Files opened by napari through our manifest, as a user does: what lies where, and what is read of it."""

import json
import shutil

import h5py
import npe2
import numpy as np
import pytest
import tifffile
import zarr
from napari.components import ViewerModel
from napari.layers import Image, Labels
from napari.plugins._npe2 import get_readers
from npe2 import PluginManager

from napari_unet.core.io.labels import labels_path, register_labels
from napari_unet.core.io.layout import Layout
from napari_unet.core.io.result import create_result, publish
from napari_unet.session.opening import get_reader, read_layers

PLACE = {"scale": (3.0, 0.5, 0.5), "units": ("um", "um", "um"), "axis_labels": ("z", "y", "x")}


@pytest.fixture
def viewer():
    PluginManager.instance().discover()  # what napari's window does when it opens
    assert "napari-unet" in PluginManager.instance()
    return ViewerModel()


@pytest.fixture
def source(viewer):
    """The image layer that was segmented."""
    return viewer.add_image(np.zeros((3, 600, 700), np.uint8), name="cells", **PLACE)


def write_result(path, values, axes="ZYX", channels=(), kind="labels", image_store=None):
    """Write a result as a segmentation does."""
    provenance = {"napari-unet": "0.1.0", "model": "abc", "options": {"kind": kind}, "image": "cells"}
    layout = Layout(
        values.shape,
        values.dtype,
        axes,
        (3.0, 0.5, 0.5),
        "µm",
        channels,
        provenance=provenance,
        image_store=image_store,
    )
    temporary = path.with_name(f"unfinished.{path.name.partition('.')[2] or 'ome.zarr'}")
    if image_store:
        temporary = image_store.with_name("unfinished.ome.zarr")
    sink = create_result(temporary, layout, name="cells")
    sink.write(tuple(slice(0, size) for size in values.shape), values)
    for level, n_tasks in enumerate(sink.levels, start=1):
        for task in range(n_tasks):
            sink.reduce(level, task)
    path.parent.mkdir(exist_ok=True)
    publish(temporary, path, overwrite=False)
    return path


def write_image(path, values, translation=(0.0, 0.0, 0.0), scale=(3.0, 0.5, 0.5)):
    """Write an OME-Zarr image (Z, Y, X) as another program does."""
    axes = [{"name": name, "type": "space", "unit": "micrometer"} for name in "zyx"]
    steps = [
        {"type": "scale", "scale": list(scale)},
        {"type": "translation", "translation": list(translation)},
    ]
    multiscale = {"axes": axes, "datasets": [{"path": "s0", "coordinateTransformations": steps}]}
    group = zarr.create_group(str(path), attributes={"ome": {"version": "0.5", "multiscales": [multiscale]}})
    array = group.create_array("s0", shape=values.shape, dtype=values.dtype, chunks=(1, 64, 64))
    array[...] = values
    return path


def opened(viewer, path):
    return viewer.open(path, plugin="napari-unet")


def lies_over(layer, image):
    np.testing.assert_allclose(layer.extent.world, image.extent.world)
    np.testing.assert_allclose(layer.scale, image.scale)
    np.testing.assert_allclose(layer.translate, image.translate)
    return layer.units == image.units and layer.axis_labels == image.axis_labels


def objects(shape=(3, 600, 700)):
    return np.random.default_rng(0).integers(0, 9, shape).astype(np.uint8)


@pytest.mark.parametrize("name", ["cells.ome.zarr", "cells.ome.tif", "Zellen ü.ome.zarr"])
def test_labels_lie_over_the_image_that_was_segmented(viewer, source, tmp_path, name):
    values = objects()
    (layer,) = opened(viewer, write_result(tmp_path / name, values))
    assert isinstance(layer, Labels) and lies_over(layer, source) and layer.name.startswith(name[:5])
    assert layer.multiscale == name.endswith("zarr")
    finest = layer.data[0] if layer.multiscale else layer.data
    np.testing.assert_array_equal(np.asarray(finest), values)
    assert layer.metadata["provenance"]["model"] == "abc"


def test_coarser_levels_are_those_of_the_file(viewer, tmp_path):
    path = write_result(tmp_path / "cells.ome.zarr", objects())
    (layer,) = opened(viewer, path)
    stored = zarr.open_group(str(path), mode="r")
    for number, level in enumerate(layer.data):
        np.testing.assert_array_equal(np.asarray(level), stored[str(number)][...])
    assert len(layer.data) == 2


@pytest.mark.parametrize(
    ("name", "dtype", "end"), [("a.ome.zarr", np.float32, 1), ("a.ome.tif", np.uint8, 255)]
)
def test_probabilities_are_a_layer_for_each_class(viewer, source, tmp_path, name, dtype, end):
    values = np.random.default_rng(0).uniform(0, end, (2, 3, 600, 700)).astype(dtype)
    path = write_result(tmp_path / name, values, "CZYX", ("background", "nucleus"), "probabilities")
    layers = opened(viewer, path)
    assert [layer.name for layer in layers] == ["a background", "a nucleus"]
    for layer, each in zip(layers, values, strict=True):
        assert isinstance(layer, Image) and lies_over(layer, source)
        np.testing.assert_array_equal(np.asarray(layer.data[0] if layer.multiscale else layer.data), each)
        assert layer.contrast_limits == [0, end] and layer.blending == "additive"
    assert layers[0].colormap != layers[1].colormap


def test_an_image_opens_with_the_labels_that_lie_in_it(viewer, tmp_path):
    store = write_image(tmp_path / "image.zarr", objects((3, 40, 50)), translation=(6.0, 5.0, 0.5))
    values = objects((3, 40, 50)) % 2
    write_result(labels_path(store, "nuclei"), values, image_store=store)
    register_labels(store, "nuclei")
    image, labels = opened(viewer, store)
    assert isinstance(image, Image) and isinstance(labels, Labels)
    assert (image.name, labels.name) == ("image", "nuclei")
    np.testing.assert_allclose(image.translate, (6, 5, 0.5))
    assert lies_over(labels, image)
    np.testing.assert_array_equal(labels.data, values)


def test_small_labels_can_be_touched_up(viewer, tmp_path):
    (layer,) = opened(viewer, write_result(tmp_path / "cells.ome.zarr", objects((3, 40, 50))))
    layer.mode = "paint"
    layer.paint((1, 5, 5), 7)
    assert layer.data[1, 5, 5] == 7


def test_only_what_is_shown_is_read(viewer, tmp_path, monkeypatch):
    from napari_unet.core.io.zarr import ZarrPixels

    path, regions = write_image(tmp_path / "image.zarr", objects((40, 64, 64))), []
    read = ZarrPixels.__getitem__
    monkeypatch.setattr(ZarrPixels, "__getitem__", lambda self, at: (regions.append(at), read(self, at))[1])
    opened(viewer, path)
    viewer.dims.set_point(0, 3 * 33)
    planes = {at[0].start for at in regions}
    assert 33 in planes and len(planes) <= 5  # napari looks at a few for the contrast


def test_a_part_of_a_plane_is_read_by_itself_however_many_chunks_there_are(tmp_path, monkeypatch):
    from napari_unet.core.io.zarr import ZarrPixels

    shape, regions = (200_000, 256, 256), []
    group = zarr.open_group(str(write_image(tmp_path / "a.zarr", objects((1, 64, 64)))), mode="r+")
    group.create_array("s0", shape=shape, dtype=np.uint8, chunks=(1, 64, 64), overwrite=True)
    monkeypatch.setattr(
        ZarrPixels, "__getitem__", lambda self, at: (regions.append(at), np.ones((1, 9, 9)))[1]
    )
    ((data, _, _),) = read_layers(str(tmp_path / "a.zarr"))
    assert data.npartitions <= 10_000
    assert np.asarray(data[777, 100:109, 3:12]).shape == (9, 9)
    assert regions == [(slice(777, 778), slice(100, 109), slice(3, 12))]


def test_channels_have_their_names_and_colours_stay_together(viewer, tmp_path):
    values = np.arange(2 * 30 * 40, dtype=np.uint16).reshape(2, 30, 40)
    two, rgb = tmp_path / "two.ome.tif", tmp_path / "rgb.ome.tif"
    metadata = {"axes": "CYX", "Channel": {"Name": ["dna", "actin"]}, "PhysicalSizeX": 0.5}
    tifffile.imwrite(two, values, ome=True, metadata=metadata, photometric="minisblack")
    tifffile.imwrite(rgb, np.zeros((30, 40, 3), np.uint8), ome=True, photometric="rgb")
    layers = opened(viewer, two)
    assert [layer.name for layer in layers] == ["two dna", "two actin"]
    np.testing.assert_array_equal(np.asarray(layers[1].data), values[1])
    (layer,) = opened(viewer, rgb)
    assert layer.rgb and layer.ndim == 2


@pytest.mark.parametrize(
    "at", [2, slice(1, 4, 2), slice(3, 0, -1), (1, slice(4, 9), 7), (slice(0), 3), [4, 0]]
)
def test_any_part_of_a_layer_can_be_taken(viewer, tmp_path, at):
    values = objects((5, 40, 50))
    (layer,) = opened(viewer, write_image(tmp_path / "a.ome.zarr", values))
    np.testing.assert_array_equal(np.asarray(layer.data[at]), values[at])


def test_arrays_are_opened_lazily(viewer, tmp_path):
    values = np.arange(4 * 30 * 40, dtype=">u2").reshape(4, 30, 40)
    with h5py.File(tmp_path / "stack.h5", "w") as file:
        file["raw"] = values
    (layer,) = opened(viewer, tmp_path / "stack.h5")
    assert not isinstance(layer.data, np.ndarray) and layer.data.dtype.isnative
    np.testing.assert_array_equal(np.asarray(layer.data), values)


def test_planes_that_are_chosen_together_are_a_stack(viewer, tmp_path):
    paths = [tmp_path / f"z{z}.ome.tif" for z in range(3)]
    for z, path in enumerate(paths):
        tifffile.imwrite(path, np.full((30, 40), z, np.uint8))
    (layer,) = viewer.open(paths, plugin="napari-unet", stack=True)
    assert layer.data.shape == (3, 30, 40) and np.asarray(layer.data[2]).max() == 2


def test_napari_reads_by_itself_what_it_reads_well(viewer, tmp_path):
    (tmp_path / "folder").mkdir()
    for name in ("folder/a.tif", "folder/b.tif", "c.ome.tif", "c.ome.tiff", "d.tif"):
        tifffile.imwrite(tmp_path / name, objects((40, 50)))
    np.save(tmp_path / "e.npy", objects((40, 50)))
    write_image(tmp_path / "f.ome.zarr", objects((3, 40, 50)))
    offered = [path.name for path in sorted(tmp_path.iterdir()) if "napari-unet" in get_readers(path)]
    assert offered == ["c.ome.tif", "c.ome.tiff", "f.ome.zarr", "folder"]  # a folder may be a store
    assert get_reader(str(tmp_path / "folder")) is None
    assert get_reader(str(tmp_path / "f.ome.zarr")) is read_layers
    (layer,) = npe2.read([str(tmp_path / "folder")], stack=False)
    assert layer[0].shape == (2, 40, 50)


@pytest.mark.parametrize("n_channels", [1, 2])
@pytest.mark.parametrize("n_levels", [1, 2])
def test_labels_with_channels_are_a_layer_for_each(viewer, tmp_path, n_channels, n_levels):
    values = objects((n_channels, 3, 40, 50))
    path = write_image(tmp_path / "a.ome.zarr", values[0])
    group = zarr.open_group(str(path), mode="r+")
    group.create_array("s0", shape=values.shape, dtype=np.uint8, overwrite=True)[...] = values
    group.create_array("s1", shape=(n_channels, 3, 20, 25), dtype=np.uint8)
    described = json.loads((path / "zarr.json").read_text())
    ome = described["attributes"]["ome"]
    (multiscale,) = ome["multiscales"]
    multiscale["axes"].insert(0, {"name": "c", "type": "channel"})
    fine, coarse = ({"type": "scale", "scale": [1.0, 3.0, step, step]} for step in (0.5, 1.0))
    multiscale["datasets"] = [
        {"path": "s0", "coordinateTransformations": [fine]},
        {"path": "s1", "coordinateTransformations": [coarse]},
    ][:n_levels]
    (path / "zarr.json").write_text(
        json.dumps(described | {"attributes": {"ome": ome | {"image-label": {}}}})
    )
    layers = opened(viewer, path)
    assert [layer.name for layer in layers] == (["a"] if n_channels == 1 else ["a 0", "a 1"])
    for layer, each in zip(layers, values, strict=True):
        assert isinstance(layer, Labels) and tuple(layer.scale) == (3, 0.5, 0.5)
        assert layer.multiscale == (n_levels == 2)
        np.testing.assert_array_equal(np.asarray(layer.data[0] if layer.multiscale else layer.data), each)


def test_coarser_levels_that_are_not_there_are_left_out(viewer, tmp_path):
    path = write_result(tmp_path / "cells.ome.zarr", objects())
    shutil.rmtree(path / "1")
    (layer,) = opened(viewer, path)
    np.testing.assert_array_equal(np.asarray(layer.data), objects())


def test_levels_that_cannot_be_read_are_refused_in_one_sentence(tmp_path):
    path = write_result(tmp_path / "cells.ome.zarr", objects())
    (path / "1" / "zarr.json").write_text("{")
    with pytest.raises(ValueError, match=r"cells\.ome\.zarr cannot be read"):
        read_layers(str(path))


def test_time_is_the_first_axis_of_a_film(viewer, tmp_path):
    path = tmp_path / "film.ome.tif"
    metadata = {"axes": "TYX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.25}
    tifffile.imwrite(path, np.zeros((5, 30, 40), np.uint8), ome=True, metadata=metadata)
    (layer,) = opened(viewer, path)
    assert layer.axis_labels == ("t", "y", "x") and tuple(layer.scale) == (1, 0.25, 0.5)
    assert [str(unit) for unit in layer.units] == ["pixel", "micrometer", "micrometer"]


def test_a_unit_that_napari_does_not_know_is_pixels(viewer, tmp_path):
    np_path = tmp_path / "a.ome.zarr"
    store = write_image(np_path, objects((3, 40, 50)))
    described = json.loads((store / "zarr.json").read_text())
    for axis in described["attributes"]["ome"]["multiscales"][0]["axes"]:
        axis["unit"] = "furlong"
    (store / "zarr.json").write_text(json.dumps(described))
    (layer,) = opened(viewer, store)
    assert {str(unit) for unit in layer.units} == {"pixel"} and tuple(layer.scale) == (6, 1, 1)


@pytest.mark.parametrize("where", ["datasets", "labels"])
def test_metadata_that_lead_out_of_the_store_are_refused(tmp_path, where):
    store = write_image(tmp_path / "a.zarr", objects((3, 40, 50)))
    write_image(tmp_path / "other.zarr", objects((3, 40, 50)))
    if where == "labels":
        zarr.create_group(str(store / "labels"), attributes={"ome": {"labels": ["../../other.zarr"]}})
    else:
        described = json.loads((store / "zarr.json").read_text())
        datasets = described["attributes"]["ome"]["multiscales"][0]["datasets"]
        datasets.append({**datasets[0], "path": "../other.zarr/s0"})
        (store / "zarr.json").write_text(json.dumps(described))
    with pytest.raises(ValueError, match=r"outside the store; open a part by itself$"):
        read_layers(str(store))


def test_what_cannot_be_read_is_refused_in_one_sentence(tmp_path):
    (tmp_path / "a.ome.tif").write_bytes(b"II*\0")
    with pytest.raises(ValueError, match=r"a\.ome\.tif"):
        read_layers(str(tmp_path / "a.ome.tif"))
