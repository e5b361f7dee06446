import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_unet.core.io import count_missing_chunks, describe_format, list_positions, open_image

DATA = Path(os.environ.get("NAPARI_UNET_DATA", Path(__file__).parents[3] / "../shared/data")).resolve()
SAMPLE = DATA / "formats_multidim/6001240_levels1-2.zarr"
needs_data = pytest.mark.skipif(not SAMPLE.is_dir(), reason=f"the real store is not in {SAMPLE.parent}")
PIXELS = np.random.default_rng(0).integers(0, 999, (2, 4, 20, 30)).astype(np.uint16)


@needs_data
def test_the_real_old_store_opens_with_its_names():
    image = open_image(SAMPLE)
    assert (image.axes, image.data.shape) == ("TCZYX", (1, 2, 236, 137, 135))
    assert (image.channels, image.spacing, image.unit) == (("LaminB1", "Dapi"), (1.0, 1.0, 1.0), "pixel")
    assert image.dtype == np.uint16 and describe_format(SAMPLE) == "OME-Zarr 0.1 (Zarr v2)"
    assert list_positions(SAMPLE) == ("",) and count_missing_chunks(image) == 0
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
    with pytest.raises(ValueError, match=r"^a\.zarr cannot be read \(region \[0:2, 0:4, 0:20, .*copy"):
        image.read()
    assert image.read((slice(2, 4), slice(0, 20), slice(0, 30))).shape == (2, 2, 20, 30)
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


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_region_of_any_layout_reads_as_stored(tmp_path: Path, data: st.DataObject):
    pixels = PIXELS[(0,) * (4 - data.draw(st.integers(2, 4)))]
    pixels = pixels.astype(data.draw(st.sampled_from(["u1", ">u2", "f4"])))
    chunks = tuple(data.draw(st.integers(-(-size // 3), size)) for size in pixels.shape)
    shards = tuple(2 * size for size in chunks) if data.draw(st.booleans()) else None
    zarr_format = 3 if shards else data.draw(st.sampled_from([2, 3]))
    zarr.create_array(
        str(tmp_path / "drawn.zarr"),
        data=pixels,
        chunks=chunks,
        shards=shards,
        zarr_format=zarr_format,
        overwrite=True,
    )
    image = open_image(tmp_path / "drawn.zarr")
    bounds = [sorted(data.draw(st.tuples(*[st.integers(0, n)] * 2))) for n in image.spatial_shape]
    region = tuple(slice(start, stop) for start, stop in bounds)
    expected = pixels[(..., *region)].reshape(image.n_channels, *(stop - start for start, stop in bounds))
    np.testing.assert_array_equal(image.read(region), expected)


@pytest.mark.parametrize(
    ("version", "axes", "expected"),
    [
        ("0.1", None, "TCZYX"),
        ("0.2", None, "TCZYX"),
        ("0.3", ["t", "z", "c", "y", "x"], "TZCYX"),
        ("0.3", ["z", "y", "x"], "ZYX"),
    ],
)
def test_the_older_versions_open_with_their_axes(tmp_path: Path, version: str, axes, expected: str):
    multiscale = {"version": version, "datasets": [{"path": "0"}]} | ({"axes": axes} if axes else {})
    pixels = PIXELS[(np.newaxis,) * (len(expected) - 4)] if len(expected) > 3 else PIXELS[0]
    attributes = {"multiscales": [multiscale]}
    group = zarr.create_group(str(tmp_path / "a.zarr"), zarr_format=2, attributes=attributes)
    group.create_array("0", data=pixels, chunk_key_encoding={"name": "v2", "separator": "/"})
    image = open_image(tmp_path / "a.zarr")
    assert (image.axes, image.data.shape) == (expected, pixels.shape)
    assert describe_format(tmp_path / "a.zarr") == f"OME-Zarr {version} (Zarr v2)"


def test_attributes_of_a_plain_array_tell_axes_and_voxel_size(tmp_path: Path):
    attributes = {"_ARRAY_DIMENSIONS": ["time", "z", "y", "x"], "resolution": [40, 4, 4], "units": ["nm"] * 3}
    zarr.create_array(str(tmp_path / "p.zarr"), data=PIXELS, zarr_format=2, attributes=attributes)
    image = open_image(tmp_path / "p.zarr")
    assert (image.axes, image.spacing, image.unit) == ("TZYX", (40.0, 4.0, 4.0), "nm")
    assert describe_format(tmp_path / "p.zarr") == "Zarr v2"


def _converted(path: Path) -> tuple[str, ...]:
    """As bioformats2raw writes several series."""
    for name in ("0", "1"):
        _store(path / name, "0.4")
    zarr.create_group(str(path), zarr_format=2, attributes={"bioformats2raw.layout": 3})
    zarr.create_group(str(path / "OME"), zarr_format=2, attributes={"series": ["0", "1"]})
    return ("0", "1")


def _unlisted(path: Path) -> tuple[str, ...]:
    names = _converted(path)
    zarr.create_group(str(path / "OME"), zarr_format=2, overwrite=True)
    return names


def _plate(path: Path) -> tuple[str, ...]:
    wells = [{"path": "A/1"}, {"path": "B/12"}]
    zarr.create_group(
        str(path), zarr_format=3, attributes={"ome": {"version": "0.5", "plate": {"wells": wells}}}
    )
    for well in wells:
        images = {"ome": {"version": "0.5", "well": {"images": [{"path": "0"}]}}}
        zarr.create_group(str(path / well["path"]), zarr_format=3, attributes=images)
        _store(path / well["path"] / "0", "0.5")
    return ("A/1/0", "B/12/0")


def _group(path: Path) -> tuple[str, ...]:
    for name in ("left", "right"):
        _store(path / name, "0.5")
    zarr.create_group(str(path), zarr_format=3)
    return ("left", "right")


@pytest.mark.parametrize("make", [_converted, _unlisted, _plate, _group])
def test_images_of_a_store_are_positions(tmp_path: Path, make):
    path = tmp_path / "many.zarr"
    names = make(path)
    second = zarr.open_array(str(path / names[1] / "0"), mode="r+")
    second[...] = PIXELS + 1
    assert list_positions(path) == names
    np.testing.assert_array_equal(open_image(path).read(), PIXELS)
    image = open_image(path, position=1)
    np.testing.assert_array_equal(image.read(), PIXELS + 1)
    assert image.axes == "CZYX" and count_missing_chunks(image) == 0
    np.testing.assert_array_equal(image.source.open().read(), PIXELS + 1)
    with pytest.raises(ValueError, match=rf"^many\.zarr has no position 2: it has 2 \({', '.join(names)}\)"):
        open_image(path, position=2)


def test_wells_and_series_that_leave_the_store_are_refused(tmp_path: Path):
    _store(tmp_path / "secret", "0.5")
    plate = {"ome": {"version": "0.5", "plate": {"wells": [{"path": "../secret"}]}}}
    zarr.create_group(str(tmp_path / "plate.zarr"), zarr_format=3, attributes=plate)
    well = {"ome": {"version": "0.5", "well": {"images": [{"path": "../secret"}]}}}
    zarr.create_group(str(tmp_path / "well.zarr"), zarr_format=3, attributes=well)
    zarr.create_group(str(tmp_path / "series.zarr"), zarr_format=3)
    series = {"ome": {"version": "0.5", "series": ["../secret"]}}
    zarr.create_group(str(tmp_path / "series.zarr/OME"), zarr_format=3, attributes=series)
    for name in ("plate", "well", "series"):
        with pytest.raises(
            ValueError, match=rf"^{name}\.zarr cannot be read .*'\.\./secret', outside the store"
        ):
            open_image(tmp_path / f"{name}.zarr")


def test_a_member_that_is_a_link_out_of_the_store_is_refused(tmp_path: Path):
    _store(tmp_path / "a.zarr", "0.5")
    (tmp_path / "a.zarr/0").rename(tmp_path / "secret")
    try:
        (tmp_path / "a.zarr/0").symlink_to(tmp_path / "secret", target_is_directory=True)
    except OSError:
        pytest.skip("symbolic links cannot be made here")
    with pytest.raises(ValueError, match="outside the store"):
        open_image(tmp_path / "a.zarr")


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_missing_chunks_are_counted_where_the_image_is_read(tmp_path: Path, version: str):
    _store(tmp_path / "a.zarr", version)  # chunks (1, 2, 16, 16) of (2, 4, 20, 30)
    image = open_image(tmp_path / "a.zarr")
    assert count_missing_chunks(image) == 0
    chunks = [path for path in (tmp_path / "a.zarr/0").rglob("*") if path.is_file() and path.name[0] in "01"]
    assert len(chunks) == 16
    missing = ["c/1/0/1/1", "c/1/1/0/0"] if version == "0.5" else ["1.0.1.1", "1.1.0.0"]
    for name in missing:
        (tmp_path / "a.zarr/0" / name).unlink()
    assert count_missing_chunks(image) == 2
    assert count_missing_chunks(open_image(tmp_path / "a.zarr", channels=["actin"])) == 2
    assert count_missing_chunks(open_image(tmp_path / "a.zarr", channels=["dna"])) == 0
    assert not image.read()[1, :2, 16:, 16:].any() and not image.read()[1, 2:, :16, :16].any()


@pytest.mark.parametrize(("zarr_format", "encoding"), [(2, "v2"), (3, "v2"), (3, "default")])
@pytest.mark.parametrize("separator", [".", "/"])
def test_missing_chunks_are_counted_however_they_are_named(
    tmp_path: Path, zarr_format: int, encoding: str, separator: str
):
    names = {"name": encoding, "separator": separator}
    pixels = zarr.create_array(
        str(tmp_path / "a.zarr"),
        data=PIXELS + 1,
        chunks=(1, 2, 16, 16),
        zarr_format=zarr_format,
        chunk_key_encoding=names,
    )
    folder = tmp_path / "a.zarr"
    assert count_missing_chunks(open_image(folder)) == 0
    for place in ((0, 1, 1, 0), (1, 0, 1, 1)):
        (folder / pixels.metadata.encode_chunk_key(place)).unlink()
    (folder / "7.7.7.7").touch()  # none of its chunks
    (folder / "c.0").touch()
    assert count_missing_chunks(open_image(folder)) == 2
    assert count_missing_chunks(open_image(folder, channels=[0])) == 1
    for path in folder.rglob("*"):
        if path.is_file() and not path.name.startswith((".z", "zarr.json")):
            path.unlink()
    assert count_missing_chunks(open_image(folder)) == 16


def test_chunks_of_several_channels_and_shards_are_counted_once(tmp_path: Path):
    options = {"chunks": (1, 2, 10, 10), "shards": (2, 4, 10, 30)}
    zarr.create_array(str(tmp_path / "a.zarr"), data=PIXELS + 1, **options)
    (tmp_path / "a.zarr/c/0/0/1/0").unlink()
    assert count_missing_chunks(open_image(tmp_path / "a.zarr")) == 1
    assert count_missing_chunks(open_image(tmp_path / "a.zarr", channels=[1, 0])) == 1


def test_opening_reads_metadata_only(tmp_path: Path):
    shape = (1000, 100_000, 100_000)
    zarr.create_array(str(tmp_path / "a.zarr"), shape=shape, chunks=(1, 64, 64), dtype="u1", fill_value=7)
    image = open_image(tmp_path / "a.zarr")  # 2.4 billion chunks
    assert image.read((slice(9, 10), slice(90_000, 90_002), slice(5, 6))).tolist() == [[[[7], [7]]]]


def test_threads_read_the_same_store_at_once(tmp_path: Path):
    _store(tmp_path / "a.zarr", "0.5")
    image = open_image(tmp_path / "a.zarr")
    regions = [(slice(z, z + 1), slice(i, 20), slice(0, 25)) for z in range(4) for i in range(8)]
    with ThreadPoolExecutor(8) as pool:
        for region, read in zip(regions, pool.map(image.read, regions), strict=True):
            np.testing.assert_array_equal(read, PIXELS[(slice(None), *region)])


def test_axes_that_do_not_fit_are_refused_with_their_own_remedy(tmp_path: Path):
    zarr.create_array(str(tmp_path / "a.zarr"), data=PIXELS)
    with pytest.raises(
        ValueError, match=r"^a: axes 'ZYX' name 3 dimensions .*; give one letter of TCZYX for each$"
    ):
        open_image(tmp_path / "a.zarr", axes="ZYX")
    zarr.create_array(str(tmp_path / "empty.zarr"), shape=(0, 4, 4), dtype="u1")
    with pytest.raises(
        ValueError, match=r"^empty: an image of shape \(0, 4, 4\) has no pixels; give another$"
    ):
        open_image(tmp_path / "empty.zarr")


def test_an_empty_or_broken_store_is_one_clear_sentence(tmp_path: Path):
    (tmp_path / "e.zarr").mkdir()
    with pytest.raises(ValueError, match=r"e\.zarr cannot be read"):
        open_image(tmp_path / "e.zarr")
    _store(tmp_path / "a.zarr", "0.5")
    shutil.rmtree(tmp_path / "a.zarr/0")
    with pytest.raises(ValueError, match=r"a\.zarr cannot be read"):
        open_image(tmp_path / "a.zarr")
