import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import zarr

from napari_unet.core.io import open_image

DATA = Path(os.environ.get("NAPARI_UNET_DATA", Path(__file__).parents[3] / "../shared/data")).resolve()
SAMPLE = DATA / "formats_multidim/6001240_levels1-2.zarr"
needs_data = pytest.mark.skipif(not SAMPLE.is_dir(), reason=f"the real store is not in {SAMPLE.parent}")
PIXELS = np.random.default_rng(0).integers(0, 999, (2, 4, 20, 30)).astype(np.uint16)


@needs_data
def test_the_real_old_store_opens_with_its_names():
    image = open_image(SAMPLE)
    assert (image.axes, image.data.shape) == ("TCZYX", (1, 2, 236, 137, 135))
    assert (image.channels, image.spacing, image.unit) == (("LaminB1", "Dapi"), (1.0, 1.0, 1.0), "pixel")
    plane = image.read((slice(118, 119), slice(0, 137), slice(0, 135)))
    np.testing.assert_array_equal(plane[1, 0], zarr.open_array(str(SAMPLE / "1"), mode="r")[0, 1, 118])


def _store(
    path: Path, version: str, units: tuple[str | None, ...] = ("nanometer", "micrometer", "micrometer")
) -> None:
    axes = [{"name": "c", "type": "channel"}]
    axes += [
        {"name": name, "type": "space"} | ({"unit": unit} if unit else {})
        for name, unit in zip("zyx", units, strict=True)
    ]
    multiscale = {
        "axes": axes,
        "datasets": [
            {"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [1, 25, 0.002, 0.002]}]}
        ],
        "coordinateTransformations": [{"type": "scale", "scale": [1, 2, 2, 2]}],
    }
    omero = {"channels": [{"label": "dna"}, {"label": "actin"}]}
    ome = {"multiscales": [multiscale], "omero": omero}
    attributes = {"ome": {"version": version, **ome}} if version == "0.5" else ome
    group = zarr.create_group(str(path), zarr_format=3 if version == "0.5" else 2, attributes=attributes)
    group.create_array("0", data=PIXELS, chunks=(1, 2, 16, 16))


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_axes_scale_units_and_names_come_from_ome_metadata(tmp_path: Path, version: str):
    _store(tmp_path / "a.ome.zarr", version)
    image = open_image(tmp_path / "a.ome.zarr")
    assert (image.axes, image.name, image.channels) == ("CZYX", "a", ("dna", "actin"))
    assert (image.spacing, image.unit) == ((0.05, 0.004, 0.004), "µm")
    np.testing.assert_array_equal(image.read((slice(1, 3), slice(5, 19), slice(0, 30))), PIXELS[:, 1:3, 5:19])


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_plain_array_opens_by_its_number_of_dimensions(tmp_path: Path, zarr_format: int):
    zarr.create_array(str(tmp_path / "p.zarr"), data=PIXELS.astype(">u2"), zarr_format=zarr_format)
    image = open_image(tmp_path / "p.zarr")
    assert (image.axes, image.dtype.isnative) == ("CZYX", True)
    np.testing.assert_array_equal(image.read(), PIXELS)


def test_a_plain_array_with_names_keeps_them(tmp_path: Path):
    zarr.create_array(str(tmp_path / "p.zarr"), data=PIXELS, dimension_names=["t", "z", "y", "x"])
    assert open_image(tmp_path / "p.zarr").axes == "TZYX"
    assert open_image(tmp_path / "p.zarr", axes="CZYX").axes == "CZYX"


def test_metadata_that_leaves_the_store_is_refused(tmp_path: Path):
    zarr.create_array(str(tmp_path / "secret"), data=PIXELS)
    _store(tmp_path / "a.zarr", "0.5")
    document = tmp_path / "a.zarr/zarr.json"
    for outside in ("../secret", str(tmp_path / "secret")):
        content = json.loads(document.read_text())
        content["attributes"]["ome"]["multiscales"][0]["datasets"][0]["path"] = outside
        document.write_text(json.dumps(content))
        with pytest.raises(ValueError, match="outside the store"):
            open_image(tmp_path / "a.zarr")


def test_a_chunk_that_does_not_decode_is_one_clear_sentence_and_a_missing_one_is_the_fill_value(
    tmp_path: Path,
):
    _store(tmp_path / "a.zarr", "0.5")
    chunk = tmp_path / "a.zarr/0/c/0/0/0/0"
    chunk.write_bytes(b"nonsense")
    image = open_image(tmp_path / "a.zarr")
    with pytest.raises(ValueError, match=r"^a\.zarr cannot be read .*copy the file again"):
        image.read()
    chunk.unlink()
    assert not image.read()[0, :2, :16, :16].any()


def test_a_group_without_an_image_names_its_members(tmp_path: Path):
    group = zarr.create_group(str(tmp_path / "g.zarr"), zarr_format=3)
    for name in ("raw", "labels"):
        group.create_array(name, data=PIXELS)
    with pytest.raises(ValueError, match=r"g\.zarr is a group .* holds labels, raw; open one of these$"):
        open_image(tmp_path / "g.zarr")
    assert open_image(tmp_path / "g.zarr/raw").axes == "CZYX"
    shutil.rmtree(tmp_path / "g.zarr/labels")
    assert open_image(tmp_path / "g.zarr").axes == "CZYX"  # the only one


def test_an_empty_or_broken_store_is_one_clear_sentence(tmp_path: Path):
    (tmp_path / "e.zarr").mkdir()
    with pytest.raises(ValueError, match=r"e\.zarr cannot be read"):
        open_image(tmp_path / "e.zarr")
    _store(tmp_path / "a.zarr", "0.5")
    shutil.rmtree(tmp_path / "a.zarr/0")
    with pytest.raises(ValueError, match=r"a\.zarr cannot be read"):
        open_image(tmp_path / "a.zarr")
