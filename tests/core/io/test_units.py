"""Voxel sizes and their units, as OME, ImageJ and others write them."""

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from napari_unet.core.io import open_image
from napari_unet.core.io.axes import _LENGTHS, USUAL_UNITS, common_unit, is_length, known_spacing, unit_symbol

STACK = np.zeros((5, 32, 40), np.uint8)
METRES = {symbol: metres for symbol, (_, metres) in _LENGTHS.items()}


def ome(path, **sizes):
    tifffile.imwrite(path, STACK, metadata={"axes": "ZYX", **sizes})
    return open_image(path)


def physical(**units):
    """Sizes of 0.3 with a unit for each axis."""
    return {
        name: value
        for axis, unit in units.items()
        for name, value in ((f"PhysicalSize{axis}", 0.3), (f"PhysicalSize{axis}Unit", unit))
    }


@pytest.mark.parametrize("unit", sorted(METRES))
def test_every_length_of_ome_becomes_a_usual_one(tmp_path, unit):
    image = ome(tmp_path / "a.ome.tif", **physical(Z=unit, Y=unit, X=unit))
    assert image.unit in USUAL_UNITS and not image.notes
    assert np.allclose([size * METRES[image.unit] for size in image.spacing], 0.3 * METRES[unit], rtol=1e-9)


@given(st.sampled_from(sorted(METRES)), st.sampled_from(sorted(METRES)), st.floats(1e-3, 1e3))
def test_mixed_units_keep_their_lengths(one, other, size):
    sizes, unit = common_unit({"Z": (size, one), "X": (size, other)})
    assert sizes["Z"] * METRES[unit] == pytest.approx(size * METRES[one])
    assert sizes["X"] * METRES[unit] == pytest.approx(size * METRES[other])


def test_z_in_decimetres(tmp_path):
    sizes = physical(Y="µm", X="µm") | {"PhysicalSizeZ": 1e-5, "PhysicalSizeZUnit": "dm"}
    image = ome(tmp_path / "a.ome.tif", **sizes)
    assert (image.spacing, image.unit) == ((1.0, 0.3, 0.3), "µm")


@pytest.mark.parametrize("unit", ["reference frame", "pixel", "furlong"])
def test_what_is_no_length_stays_pixels(tmp_path, unit):
    image = ome(tmp_path / "a.ome.tif", **physical(Z=unit, Y=unit, X=unit))
    assert image.unit == "pixel"
    assert bool(image.notes) == (unit != "pixel")
    if unit != "pixel":
        assert image.spacing == (1, 1, 1) and f"the unit {unit!r} is no length" in image.notes[0]


@pytest.mark.parametrize("known", [("X",), ("Y", "X"), ("Z",)])
def test_a_size_that_is_missing_is_not_made_up(tmp_path, known):
    image = ome(tmp_path / "a.ome.tif", **physical(**dict.fromkeys(known, "µm")))
    assert (image.spacing, image.unit) == ((1, 1, 1), "pixel")
    missing = " and ".join(axis for axis in "ZYX" if axis not in known)
    assert f"the voxel size along {missing} is not given" in image.notes[0]


def test_an_axis_of_one_pixel_needs_no_size():
    assert known_spacing({"Y": 0.5, "X": 0.5}, "µm", {"Z": 1, "Y": 9, "X": 9}) == (
        {"Z": 0.5, "Y": 0.5, "X": 0.5},
        "µm",
        "",
    )


def test_imagej_may_give_each_axis_a_unit_of_its_own(tmp_path):
    description = "ImageJ=1.53q\nimages=5\nslices=5\nunit=micron\nzunit=nm\nspacing=500\nloop=false\n"
    with tifffile.TiffWriter(tmp_path / "a.tif") as tif:
        for number, plane in enumerate(STACK):
            text = {"description": description} if not number else {}
            tif.write(
                plane, contiguous=False, metadata=None, resolution=(10, 10), resolutionunit="NONE", **text
            )
    image = open_image(tmp_path / "a.tif")
    assert (image.spacing, image.unit) == ((0.5, 0.1, 0.1), "µm")


@pytest.mark.parametrize(
    ("text", "symbol"),
    [("Micrometers", "µm"), ("UM", "µm"), ("MM", "mm"), ("Mm", "Mm"), ("inches", "in"), ("decimetre", "dm")],
)
def test_spellings(text, symbol):
    assert unit_symbol(text) == symbol and is_length(symbol)
