import gc
import json
import logging
import os
import shutil
import struct
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier, Event

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_unet.core.io import describe_format, list_positions, open_image, tiff

DATA = Path(os.environ.get("NAPARI_UNET_DATA", Path(__file__).parents[3] / "../shared/data")).resolve()
FORMATS = DATA / "formats_multidim"
RNG = np.random.default_rng(0)
needs_data = pytest.mark.skipif(not FORMATS.is_dir(), reason=f"the real files are not in {FORMATS}")

RES_ACTIN, RES_HELA, RES_DNA, RES_NUCLEI = 1 / 7.547649, 1 / 19.420064, 1 / 1.953591, 1 / 1.206792
REAL = {  # axes, type, shape as stored, spacing, unit
    "aics_s_1_t_1_c_1_z_1.ome.tiff": ("YX", "u2", (325, 475), (1.0833333333333333,) * 2, "µm"),
    "t98g_timelapse_T10.tif": ("TYX", "u2", (10, 288, 288), (1.0, 1.0), "pixel"),
    "xy_rgb__cells.tif": ("YXC", "u1", (257, 280, 3), (1.0, 1.0), "pixel"),
    "xyc_16bit__cell_dna_mts_actin.tif": ("CYX", "u2", (3, 350, 350), (RES_ACTIN,) * 2, "µm"),
    "xyc_16bit__hela-cells.tif": ("YXC", "u2", (512, 672, 3), (RES_HELA,) * 2, "µm"),
    "xyc_16bit__nup_nuclei.tif": ("CYX", "u2", (2, 420, 476), (1.0, 1.0), "pixel"),
    "xyc_16bit__nup_nuclei__labels.tif": ("YX", "u1", (420, 476), (1.0, 1.0), "pixel"),
    "xyc_8bit__membranes_nuclei.tif": ("CYX", "u1", (2, 354, 475), (1.0, 1.0), "pixel"),
    "xyz_8bit__nuclei_autothresh.tif": ("ZYX", "u1", (37, 118, 132), (4.0, RES_NUCLEI, RES_NUCLEI), "µm"),
    "xyzc_16bit__dna_conf_wf.tif": (
        "ZCYX", "u2", (45, 2, 130, 133), (0.4994126016284111, RES_DNA, RES_DNA), "µm",
    ),
}  # fmt: skip


@needs_data
def test_every_real_tiff_is_expected():
    assert {path.name for path in FORMATS.glob("*.tif*")} == set(REAL)


@needs_data
@pytest.mark.parametrize("name", REAL)
def test_a_real_file_has_its_real_axes_spacing_and_pixels(name: str):
    image = open_image(FORMATS / name)
    axes, dtype, shape, spacing, unit = REAL[name]
    assert (image.axes, image.dtype, image.data.shape, image.unit) == (axes, np.dtype(dtype), shape, unit)
    assert describe_format(FORMATS / name) == ("OME-TIFF" if ".ome." in name else "ImageJ TIFF")
    assert list_positions(FORMATS / name) == ("",)
    assert image.spacing == pytest.approx(spacing, rel=1e-8)
    raw = tifffile.imread(FORMATS / name)
    raw = raw[-1] if "T" in axes else raw
    order = [axes.replace("T", "").index(axis) for axis in "CZYX" if axis in axes]
    region = tuple(slice(n // 3, n // 3 + max(1, n // 4)) for n in image.spatial_shape)
    expected = raw.transpose(order).reshape(image.n_channels, *image.spatial_shape)[(slice(None), *region)]
    np.testing.assert_array_equal(image.read(region, t=image.n_timepoints - 1), expected)


@needs_data
def test_the_uint16_yxs_trap_is_three_channels():
    image = open_image(FORMATS / "xyc_16bit__hela-cells.tif")
    assert (image.n_channels, image.spatial_shape, image.dtype) == (3, (512, 672), np.uint16)


@needs_data
def test_the_real_lzw_ome_tiff_decodes_strip_by_strip():
    path = FORMATS / "aics_s_1_t_1_c_1_z_1.ome.tiff"
    with tifffile.TiffFile(path) as tif:
        assert tif.pages.first.compression == tifffile.COMPRESSION.LZW
        whole = tif.asarray()
    np.testing.assert_array_equal(
        open_image(path).read((slice(11, 12), slice(7, 400)))[0], whole[11:12, 7:400]
    )


@needs_data
def test_channel_names_and_spacing_come_from_the_metadata():
    assert open_image(FORMATS / "aics_s_1_t_1_c_1_z_1.ome.tiff").channels == ("Bright",)
    membranes = open_image(DATA / "em2d_isbi2012/images/isbi2012_z00-13.tif")
    assert (membranes.spacing, membranes.unit) == ((50.0, 4.0, 4.0), "nm")


LAYOUTS = [
    {},
    {"rowsperstrip": 3},
    {"compression": "lzw"},
    {"compression": "zlib", "rowsperstrip": 4, "predictor": True},
    {"compression": "zstd", "tile": (16, 16)},
    {"tile": (16, 32)},
    {"compression": "packbits", "byteorder": ">"},
    {"byteorder": ">"},
]
DTYPES = ["u1", "u2", "i2", "u4", "f4"]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_any_region_of_any_layout_reads_as_written(tmp_path: Path, data: st.DataObject):
    path = tmp_path / "drawn.tif"
    axes = data.draw(st.sampled_from(["YX", "ZYX", "TYX", "ZCYX", "TZYX", "YXS", "ZYXS", "CYX"]))
    shape = tuple(3 if axis == "S" else data.draw(st.integers(2, 40 if axis in "YX" else 4)) for axis in axes)
    dtype = data.draw(st.sampled_from(DTYPES))
    layout = dict(data.draw(st.sampled_from(LAYOUTS)))
    if dtype == "f4":
        layout.pop("predictor", None)
    ome = data.draw(st.booleans()) and axes != "ZYXS"
    pixels = np.random.default_rng(0).integers(0, 200, shape).astype(dtype)
    tifffile.imwrite(
        path,
        pixels,
        ome=ome,
        metadata={"axes": axes},
        photometric="rgb" if "S" in axes else "minisblack",
        **layout,
    )

    image = open_image(path)
    assert (image.axes, image.dtype) == (axes.replace("S", "C"), np.dtype(dtype))
    bounds = [sorted(data.draw(st.tuples(*[st.integers(0, size)] * 2))) for size in image.spatial_shape]
    region = tuple(slice(start, stop) for start, stop in bounds)
    expected = pixels[-1] if "T" in axes else pixels
    order = [image.axes.replace("T", "").index(axis) for axis in "CZYX" if axis in image.axes]
    expected = expected.transpose(order).reshape(image.n_channels, *image.spatial_shape)
    np.testing.assert_array_equal(
        image.read(region, t=image.n_timepoints - 1), expected[(slice(None), *region)]
    )


def test_planar_rgb_and_bilevel_pages_are_read(tmp_path: Path):
    planar = np.random.default_rng(0).integers(0, 255, (3, 40, 50), dtype=np.uint8)
    tifffile.imwrite(
        tmp_path / "rgb.tif",
        planar,
        photometric="rgb",
        planarconfig="separate",
        tile=(16, 16),
        compression="lzw",
    )
    image = open_image(tmp_path / "rgb.tif")
    assert image.axes == "CYX"
    np.testing.assert_array_equal(image.read((slice(5, 39), slice(17, 18))), planar[:, 5:39, 17:18])

    mask = planar[0] > 99
    tifffile.imwrite(tmp_path / "mask.tif", mask, compression="zlib")
    np.testing.assert_array_equal(open_image(tmp_path / "mask.tif").read()[0], mask)


def test_only_the_touched_tiles_are_decoded(tmp_path: Path):
    path = tmp_path / "damaged.tif"
    pixels = np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)
    tifffile.imwrite(path, pixels, tile=(32, 32), compression="zlib")
    with tifffile.TiffFile(path) as tif:
        last = tif.pages.first.dataoffsets[-1]
    _overwrite(path, last, b"\xff" * 64)
    image = open_image(path)
    np.testing.assert_array_equal(image.read((slice(0, 32), slice(0, 64)))[0], pixels[:32])
    with pytest.raises(ValueError, match=r"damaged\.tif cannot be read .*; copy the file again"):
        image.read((slice(40, 41), slice(40, 41)))


def test_pages_without_metadata_are_z(tmp_path: Path):
    tifffile.imwrite(tmp_path / "iyx.tif", np.zeros((5, 20, 30), "u1"), metadata=None)
    tifffile.imwrite(tmp_path / "qyx.tif", np.zeros((5, 20, 30), "u1"))
    assert open_image(tmp_path / "iyx.tif").axes == open_image(tmp_path / "qyx.tif").axes == "ZYX"


def test_unknown_axes_are_an_error_until_they_are_named(tmp_path: Path):
    tifffile.imwrite(tmp_path / "deep.tif", np.zeros((4, 5, 20, 30), "u1"))
    with pytest.raises(ValueError, match=r"dimensions \(4, 5, 20, 30\) are; name them with --axes"):
        open_image(tmp_path / "deep.tif")
    assert open_image(tmp_path / "deep.tif", axes="tzyx").n_timepoints == 4
    with pytest.raises(ValueError, match="give one letter"):
        open_image(tmp_path / "deep.tif", axes="ZYX")


def test_spacing_and_channels_are_overridden_together_with_axes(tmp_path: Path):
    pixels = np.random.default_rng(0).integers(0, 9, (3, 4, 20, 30), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "deep.tif", pixels, photometric="minisblack")
    image = open_image(tmp_path / "deep.tif", axes="CZYX", spacing=(2, 1, 1), channels=[2])
    assert image.spacing == (2.0, 1.0, 1.0)
    np.testing.assert_array_equal(image.read(), pixels[2:])


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"resolutionunit": "CENTIMETER", "resolution": (20000, 10000)}, ((1.0, 0.5), "µm")),
        ({"resolutionunit": "INCH", "resolution": (72, 72)}, ((1.0, 1.0), "pixel")),
        ({"resolution": (4, 2), "metadata": {"axes": "YX", "unit": "um"}}, ((0.5, 0.25), "µm")),
        ({"imagej": True, "resolution": (4, 2), "metadata": {"unit": "\\u00B5m"}}, ((0.5, 0.25), "µm")),
        ({"imagej": True, "resolution": (72, 72), "resolutionunit": "INCH"}, ((1.0, 1.0), "pixel")),
        ({"imagej": True, "metadata": {"unit": "micron"}}, ((1.0, 1.0), "µm")),
    ],
)
def test_resolution_tags_are_voxel_sizes_only_where_their_unit_says_so(tmp_path: Path, options, expected):
    tifffile.imwrite(tmp_path / "r.tif", np.zeros((20, 30), "u1"), **{"metadata": None, **options})
    image = open_image(tmp_path / "r.tif")
    assert (image.spacing, image.unit) == expected


def test_mixed_ome_units_become_one(tmp_path: Path):
    sizes = {"PhysicalSizeZ": 50, "PhysicalSizeZUnit": "nm", "PhysicalSizeY": 0.004, "PhysicalSizeX": 0.004}
    tifffile.imwrite(tmp_path / "m.ome.tif", np.zeros((3, 9, 9), "u1"), metadata={"axes": "ZYX", **sizes})
    image = open_image(tmp_path / "m.ome.tif")
    assert (image.spacing, image.unit, image.name) == ((0.05, 0.004, 0.004), "µm", "m")


KINDS = {
    "imagej": {"imagej": True, "metadata": {"axes": "ZYX"}},
    "imagej-lzw": {"imagej": True, "compression": "lzw", "metadata": {"axes": "ZYX"}},
    "shaped": {},
    "tiled": {"compression": "zlib", "tile": (32, 32)},
    "ome": {"ome": True, "metadata": {"axes": "ZYX"}},
    "ome-lzw": {"ome": True, "compression": "lzw", "metadata": {"axes": "ZYX"}},
    "plain": {"metadata": None},
    "plain-lzw": {"compression": "lzw", "metadata": None},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("kept", [0.0, 0.0005, 0.02, 0.3, 0.5, 0.9, 0.999])
def test_a_cut_off_tiff_is_one_clear_sentence(tmp_path: Path, kind: str, kept: float, caplog):
    path = tmp_path / "cut.tif"
    tifffile.imwrite(
        path, np.random.default_rng(0).integers(0, 9999, (6, 70, 80)).astype("u2"), **KINDS[kind]
    )
    os.truncate(path, int(path.stat().st_size * kept))
    with pytest.raises(
        ValueError, match=r"^cut\.tif cannot be read \(.*\); copy the file again or save it anew$"
    ):
        open_image(path).read()
    assert not caplog.records


def test_a_plane_cut_off_in_the_middle_of_its_pixels_is_refused(tmp_path: Path):
    path = tmp_path / "cut.tif"
    tifffile.imwrite(path, np.zeros((70, 80), "u2"))
    os.truncate(path, path.stat().st_size - 100)
    with pytest.raises(ValueError, match="cut off"):
        open_image(path)


def test_ome_metadata_that_names_a_file_outside_its_folder_is_refused(tmp_path: Path):
    inner = tmp_path / "inner"
    inner.mkdir()
    secret = tmp_path / "secret.ome.tif"
    tifffile.imwrite(secret, np.ones((4, 4), "u1"), metadata={"axes": "YX"})
    path = inner / "a.ome.tif"
    tifffile.imwrite(path, np.zeros((4, 4), "u1"), metadata={"axes": "YX"})
    with tifffile.TiffFile(path) as tif:
        named = tif.ome_metadata.replace(
            '<TiffData IFD="0" PlaneCount="1"/>',
            '<TiffData IFD="0" PlaneCount="1"><UUID FileName="../secret.ome.tif">urn:uuid:1</UUID>'
            "</TiffData>",
        )
    assert "secret" in named
    tifffile.imwrite(path, np.zeros((4, 4), "u1"), description=named.encode(), metadata=None)
    with pytest.raises(ValueError, match=r"secret\.ome\.tif', outside its folder"):
        open_image(path)


def test_an_ome_tiff_of_several_files_is_one_image_until_a_file_is_missing(tmp_path: Path):
    pixels = np.random.default_rng(0).integers(0, 255, (2, 20, 30), dtype=np.uint8)
    xml = (
        '<?xml version="1.0"?>'
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:{me}">'
        '<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint8" SizeX="30" SizeY="20" '
        'SizeZ="2" SizeC="1" SizeT="1"><Channel ID="Channel:0:0" SamplesPerPixel="1"/>'
        '<TiffData FirstZ="0" IFD="0" PlaneCount="1"><UUID FileName="z0.ome.tif">urn:uuid:0</UUID></TiffData>'
        '<TiffData FirstZ="1" IFD="0" PlaneCount="1"><UUID FileName="z1.ome.tif">urn:uuid:1</UUID></TiffData>'
        "</Pixels></Image></OME>"
    )
    for z, plane in enumerate(pixels):
        description = xml.replace("{me}", str(z)).encode()
        tifffile.imwrite(tmp_path / f"z{z}.ome.tif", plane, description=description, metadata=None)
    image = open_image(tmp_path / "z0.ome.tif")
    assert image.axes == "ZYX"
    np.testing.assert_array_equal(image.read()[0], pixels)

    (tmp_path / "z1.ome.tif").unlink()
    with pytest.raises(ValueError, match="only 1 of its planes"):
        open_image(tmp_path / "z0.ome.tif")


def test_a_pyramid_opens_at_its_finest_level(tmp_path: Path):
    pixels = np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)
    with tifffile.TiffWriter(tmp_path / "p.ome.tif") as tif:
        tif.write(pixels, subifds=1, tile=(32, 32), metadata={"axes": "YX"})
        tif.write(pixels[::2, ::2], subfiletype=1, tile=(16, 16))
    np.testing.assert_array_equal(open_image(tmp_path / "p.ome.tif").read()[0], pixels)


def test_series_of_an_ome_tiff_are_positions_with_their_own_metadata(tmp_path: Path):
    first, second = RNG.integers(0, 9, (3, 20, 30), "u1"), RNG.integers(0, 9, (2, 22, 32), "u1")
    with tifffile.TiffWriter(tmp_path / "m.ome.tif") as tif:
        tif.write(
            first,
            photometric="minisblack",
            metadata={"axes": "ZYX", "Name": "a", **dict.fromkeys(map("PhysicalSize{}".format, "ZYX"), 0.5)},
        )
        names = {"Name": ["dna", "actin"]}
        tif.write(second, photometric="minisblack", metadata={"axes": "CYX", "Name": "b", "Channel": names})
    assert list_positions(tmp_path / "m.ome.tif") == ("a", "b")
    default, image = open_image(tmp_path / "m.ome.tif"), open_image(tmp_path / "m.ome.tif", position=1)
    assert (default.axes, default.spacing, default.unit) == ("ZYX", (0.5, 0.5, 0.5), "µm")
    assert (image.axes, image.spacing, image.channels) == ("CYX", (1.0, 1.0), ("dna", "actin"))
    np.testing.assert_array_equal(default.read()[0], first)
    np.testing.assert_array_equal(image.read(), second)
    with pytest.raises(
        ValueError, match=r"^m\.ome\.tif has no position 2: it has 2 \(a, b\), choose among 0 to 1$"
    ):
        open_image(tmp_path / "m.ome.tif", position=2)


def test_arrays_of_different_shapes_in_one_tiff_are_positions(tmp_path: Path):
    with tifffile.TiffWriter(tmp_path / "m.tif") as tif:
        for size in (20, 24):
            tif.write(np.full((size, 30), size, "u1"))
    assert list_positions(tmp_path / "m.tif") == ("0", "1")
    assert open_image(tmp_path / "m.tif", position=1).read().shape == (1, 24, 30)


def _write_lsm(path: Path, pixels: np.ndarray, n_positions: int = 0) -> None:
    """Write planes (positions × z, C, Y, X) the way Zeiss does, as far as readers look at it."""
    fields = [(name or f"_{i}", kind) for i, (name, kind) in enumerate(tifffile.TIFF.CZ_LSMINFO)]
    info = np.zeros(1, np.dtype(fields).newbyteorder("<"))
    sizes = (pixels.shape[3], pixels.shape[2], len(pixels) // max(n_positions, 1), pixels.shape[1])
    for name, value in zip(("X", "Y", "Z", "Channels", "Time", "P"), (*sizes, 1, n_positions), strict=True):
        info[f"Dimension{name}"] = value
    info["MagicNumber"], info["StructureSize"], info["ScanType"] = 67127628, info.itemsize, 0
    info["VoxelSizeX"] = info["VoxelSizeY"] = 2e-7
    info["VoxelSizeZ"] = 1e-6
    with tifffile.TiffWriter(path, byteorder="<") as tif:
        for i, plane in enumerate(pixels):
            tags = [(34412, 1, info.nbytes, info.tobytes(), True)] if i == 0 else []
            tif.write(plane, photometric="minisblack", planarconfig="separate", metadata=None, extratags=tags)
            tif.write(np.zeros((8, 8, 3), "u1"), photometric="rgb", subfiletype=1, metadata=None)  # thumbnail


def test_an_lsm_has_its_voxel_size_and_no_thumbnails(tmp_path: Path):
    pixels = RNG.integers(0, 999, (4, 3, 20, 30), "u2")
    _write_lsm(tmp_path / "a.lsm", pixels)
    image = open_image(tmp_path / "a.lsm")
    assert (image.axes, image.spacing, image.unit) == ("ZCYX", (1.0, 0.2, 0.2), "µm")
    np.testing.assert_array_equal(image.read(), pixels.swapaxes(0, 1))
    assert list_positions(tmp_path / "a.lsm") == ("",)
    assert describe_format(tmp_path / "a.lsm") == "LSM"


def test_positions_along_an_axis_are_opened_one_by_one(tmp_path: Path):
    pixels = RNG.integers(0, 999, (4, 3, 20, 30), "u2")
    _write_lsm(tmp_path / "p.lsm", pixels, n_positions=2)
    assert list_positions(tmp_path / "p.lsm") == ("0", "1")
    for position in (0, 1):
        image = open_image(tmp_path / "p.lsm", position=position)
        expected = pixels[2 * position :][:2].swapaxes(0, 1)
        assert image.axes == "ZCYX"
        np.testing.assert_array_equal(image.read(), expected)
        region = (slice(1, 2), slice(3, 9), slice(0, 5))
        np.testing.assert_array_equal(image.read(region), expected[(slice(None), *region)])


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"ome": True}, "OME-TIFF"),
        ({"imagej": True}, "ImageJ TIFF"),
        ({"bigtiff": True}, "TIFF (BigTIFF)"),
        ({}, "TIFF"),
    ],
)
def test_a_tiff_tells_its_kind(tmp_path: Path, options, kind: str):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((5, 6), "u1"), **options)
    assert describe_format(tmp_path / "a.tif") == kind
    assert open_image(tmp_path / "a.tif").read().shape == (1, 5, 6)


def test_many_pages_take_little_memory_once_open(tmp_path: Path):
    path = tmp_path / "many.tif"
    planes = (np.full((16, 16), z % 200, "u1") for z in range(2000))
    tifffile.imwrite(path, planes, shape=(2000, 16, 16), dtype="u1", compression="lzw", metadata=None)
    gc.collect()
    tracemalloc.start()
    image = open_image(path)
    gc.collect()
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 200 * 2000  # bytes; tifffile's own pages take a thousand each
    assert image.read((slice(1500, 1501), slice(0, 1), slice(0, 1))).item() == 1500 % 200


def test_threads_read_the_same_file_at_once(tmp_path: Path):
    pixels = RNG.integers(0, 255, (16, 64, 64), "u1")
    tifffile.imwrite(tmp_path / "a.tif", pixels, compression="zlib", tile=(16, 16), photometric="minisblack")
    image = open_image(tmp_path / "a.tif")
    regions = [(slice(z, z + 1), slice(z, 64), slice(0, 50)) for z in range(16)] * 4
    with ThreadPoolExecutor(8) as pool:
        for region, read in zip(regions, pool.map(image.read, regions), strict=True):
            np.testing.assert_array_equal(read[0], pixels[region])


def test_a_page_that_does_not_decode_is_named(tmp_path: Path):
    path = tmp_path / "stack.tif"
    tifffile.imwrite(
        path, RNG.integers(0, 255, (5, 40, 40), "u1"), compression="zlib", photometric="minisblack"
    )
    with tifffile.TiffFile(path) as tif:
        offset = tif.pages[3].dataoffsets[0]
    _overwrite(path, offset, b"\xff" * 64)
    image = open_image(path)
    assert image.read((slice(0, 3), slice(0, 40), slice(0, 40))).shape == (1, 3, 40, 40)
    with pytest.raises(ValueError, match=r"^stack\.tif cannot be read \(page 3: .*\); copy the file again"):
        image.read()


@pytest.mark.parametrize("content", [b"", b"plain text", b"II*\x00" + bytes(60)])
def test_a_tif_that_is_none_is_refused(tmp_path: Path, content: bytes):
    (tmp_path / "no.tif").write_bytes(content)
    with pytest.raises(ValueError, match=r"no\.tif cannot be read"):
        open_image(tmp_path / "no.tif")


def test_paths_with_spaces_and_non_ascii_letters_work(tmp_path: Path):
    path = tmp_path / "große Zelle µ.tif"
    tifffile.imwrite(path, np.zeros((4, 5), "u1"), compression="zlib")
    assert open_image(path).read().shape == (1, 4, 5)


@needs_data
def test_a_real_stack_cut_in_the_middle_is_refused(tmp_path: Path):
    path = tmp_path / "cut.tif"
    shutil.copy(DATA / "em2d_isbi2012/images/isbi2012_z00-13.tif", path)
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(ValueError, match=r"cut\.tif cannot be read"):
        open_image(path)


def _overwrite(path: Path, offset: int, content: bytes) -> None:
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(content)


def test_a_damaged_file_in_another_thread_does_not_damage_this_one(tmp_path):
    """The logger of tifffile, whose records tell of some damage, belongs to the whole process."""
    sound, damaged = tmp_path / "sound.tif", tmp_path / "damaged.tif"
    tifffile.imwrite(sound, np.zeros((9, 9), np.uint8), imagej=True)
    content = bytearray(sound.read_bytes())
    with tifffile.TiffFile(sound) as tif:
        tag = tif.pages[0].tags[270]
        content[tag.offset + 8 : tag.offset + 12] = (2**31).to_bytes(4, "little")
    damaged.write_bytes(content)
    begun, stop, refused = Barrier(2), Event(), []

    def read_damaged():
        begun.wait()
        while not stop.is_set():
            with pytest.raises(ValueError, match="cannot be read"):
                open_image(damaged)
            refused.append(True)

    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(read_damaged)
        begun.wait()
        try:
            while len(refused) < 40 and not other.done():
                assert open_image(sound).axes == "YX"
        finally:
            stop.set()
        other.result()


def test_a_record_counts_whatever_other_readers_do_while_it_is_logged(tmp_path):
    """A filter that another thread removes at that moment would make the record skip the next one."""
    logger = logging.getLogger("tifffile")
    before = list(logger.filters)
    with tiff._unlogged():
        assert logger.filters == before
    with pytest.raises(ValueError, match="description is cut off"), tiff._unlogged():
        logger.error("TiffTag 270 @70> invalid value offset 1")


def test_more_tiles_than_there_are_take_no_memory(tmp_path):
    path = tmp_path / "many.tif"
    tifffile.imwrite(path, np.ones((64, 64), np.uint8), compression="zlib", tile=(16, 16))
    content = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as tif:
        for code in (256, 257):  # width, height
            at = tif.pages[0].tags[code].offset
            content[at + 2 : at + 12] = struct.pack("<HII", 4, 1, 2**24)
    path.write_bytes(content)
    with pytest.raises(ValueError, match="has 16 strips or tiles, not 1099511627776"):
        open_image(path)


@pytest.mark.parametrize("key", ["shape", "axes"])
@pytest.mark.parametrize("value", [None, 5, "x", [5], [5, 8, "a"], {}, [-1, 4]])
def test_what_tifffile_noted_of_an_array_is_no_reason_to_refuse_its_pixels(tmp_path, key, value):
    pixels = np.arange(5 * 32 * 32, dtype=np.uint16).reshape(5, 32, 32)
    noted = {"shape": [5, 32, 32]} | {key: value}
    tifffile.imwrite(tmp_path / "a.tif", pixels, description=json.dumps(noted), metadata=None)
    image = open_image(tmp_path / "a.tif")
    assert image.axes == "ZYX"
    np.testing.assert_array_equal(image.read()[0], pixels)
