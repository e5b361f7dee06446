"""Names of files: letters in two Unicode forms, signs that mean something elsewhere, files of systems."""

import unicodedata

import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from napari_unet.core.io import find_images, image_stem, list_positions, open_image, pair_files
from napari_unet.core.io.image import check_channels
from napari_unet.core.io.names import composed, real_path
from napari_unet.core.layouts import with_model_channels
from napari_unet.core.targets import ClassLabel

FORMS = ("NFC", "NFD")
SYSTEM_FILES = ("Thumbs.db", "desktop.ini", ".DS_Store", "._a.tif", "._.DS_Store", ".directory", "Icon\r")
NAMES = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/\\:")
    | st.sampled_from(",#%[] äé+&;'!*?"),
    min_size=1,
    max_size=20,
).filter(lambda name: not name.startswith(".") and name == name.strip())


def in_form(form, name):
    return unicodedata.normalize(form, name)


@given(name=NAMES, other=NAMES)
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_files_of_any_name_are_found_paired_and_opened(name, other, tmp_path_factory):
    assume(composed(name) != composed(other) and not name.lower().endswith(".ome"))
    folder = tmp_path_factory.mktemp("names")
    images, labels = folder / in_form("NFC", f"i {name}"), folder / in_form("NFD", f"l {name}")
    for place, form in ((images, "NFC"), (labels, "NFD")):
        place.mkdir()
        for each in (name, other):
            np.save(place / in_form(form, f"{each}.npy"), np.zeros((8, 8), np.uint8))
        for each in SYSTEM_FILES:
            (place / each).write_bytes(b"no image")
    found, masks = find_images(images), find_images(labels)
    assert len(found) == len(masks) == 2
    for image, mask in pair_files(found, masks):
        assert image_stem(image) == image_stem(mask) == open_image(mask).name
        assert find_images(image) == [image]


def test_a_pattern_finds_names_in_both_forms(tmp_path):
    for form in FORMS:
        (tmp_path / form).mkdir()
        (tmp_path / form / in_form(form, "zelle_ä.tif")).touch()
        for pattern in FORMS:
            assert len(find_images(tmp_path / "NF*" / in_form(pattern, "*ä.tif"))) == len(
                list(tmp_path.iterdir())
            )


def test_two_files_whose_names_differ_by_form_only_are_one_name_twice(tmp_path):
    images = [tmp_path / in_form(form, "ä.tif") for form in FORMS]
    with pytest.raises(ValueError, match="same name"):
        pair_files(images, images)


def test_one_file_has_one_real_path():
    assert len({real_path(in_form(form, "/data/für/ä.tif")) for form in FORMS}) == 1


@pytest.mark.parametrize("form", FORMS)
def test_channels_and_classes_are_known_by_name_in_either_form(form):
    names = ("", in_form("NFD", "grün"), "rot")
    assert check_channels([in_form(form, "grün")], 3, "cells", names) == (1,)
    assert ClassLabel(1, 0, in_form(form, "Zelle ä")) == ClassLabel(1, 0, "Zelle ä")


def test_a_model_finds_its_channels_in_either_form(make_channels):
    model, image = make_channels(["grün", "rot"]), make_channels([in_form("NFD", "grün"), "rot", "grau"])
    assert with_model_channels(model, image).n_channels == 2


@pytest.fixture
def make_channels():
    from napari_unet.core.io import Image

    def make(names):
        pixels = np.zeros((len(names), 4, 4), np.uint8)
        return Image(pixels, "CYX", (1.0, 1.0), "pixel", tuple(names), "cells")

    return make


@pytest.mark.parametrize("version", [2, 3])
def test_files_that_systems_leave_in_a_store_are_no_members(version, tmp_path):
    store = tmp_path / "a, b#c %20 [x] ä.zarr"
    zarr.create_group(str(store), zarr_format=version)
    scale = [{"type": "scale", "scale": [1.0, 1.0]}]
    axes = [{"name": name, "type": "space"} for name in "yx"]
    levels = {"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": scale}]}
    for name in ("A", "B"):
        group = zarr.create_group(
            str(store / name), zarr_format=version, attributes={"multiscales": [levels]}
        )
        group.create_array("0", data=np.ones((4, 4), np.uint8))
    for folder in (store, store / "A", store / "A" / "0"):
        for name in SYSTEM_FILES:
            (folder / name).write_bytes(b"no array")
    (store / "__MACOSX").mkdir()
    assert list_positions(store) == ("A", "B")
    assert open_image(store, position=1).read().sum() == open_image(store / "A").read().sum() == 16


def test_an_ome_tiff_of_several_files_has_any_name(tmp_path):
    path = tmp_path / "a, b#c %20 [x] ä.ome.tif"
    tifffile.imwrite(path, np.ones((4, 4), np.uint8))
    assert image_stem(path) == "a, b#c %20 [x] ä" and open_image(path).read().sum() == 16
