"""Metadata of any type: what is optional is ignored and noted, what is needed is one sentence."""

import copy
import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_unet.core.annotations import find_annotation
from napari_unet.core.io import describe_format, list_positions, open_image
from napari_unet.core.io.labels import labels_path, store_format
from napari_unet.core.io.provenance import read_provenance

PIXELS = np.arange(48, dtype=np.uint16).reshape(6, 8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**400), 10**400) | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)
QUICK = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def ome(version):
    """Metadata with everything in it."""
    axes = [{"name": name, "type": "space", "unit": "micrometer"} for name in "yx"]
    scale = {"type": "scale", "scale": [0.5, 0.5]}
    document = {
        "version": version,
        "multiscales": [
            {
                "version": version,
                "name": "cells",
                "axes": axes,
                "datasets": [{"path": "0", "coordinateTransformations": [dict(scale)]}],
                "coordinateTransformations": [dict(scale)],
            }
        ],
        "omero": {"channels": [{"label": "dna", "color": "FFFFFF", "window": {"start": 0, "end": 9}}]},
    }
    return {"ome": document} if version == "0.5" else document


def places(document, at=()):
    """Every place in a document where another value could be."""
    yield at
    if isinstance(document, dict | list):
        keys = document if isinstance(document, dict) else range(len(document))
        for key in keys:
            yield from places(document[key], (*at, key))


def changed(document, at, value):
    document = copy.deepcopy(document)
    holder = document
    for key in at[:-1]:
        holder = holder[key]
    if at:
        holder[at[-1]] = value
    return document if at else {"": value}


def store(folder, version):
    zarr_format = 3 if version == "0.5" else 2
    path = Path(folder, f"v{version}.zarr")
    group = zarr.open_group(str(path), mode="w", zarr_format=zarr_format)
    group.create_array("0", shape=PIXELS.shape, dtype=PIXELS.dtype, chunks=(6, 8))[...] = PIXELS
    return path


def write(path, attributes):
    if (path / "zarr.json").exists():
        header = json.loads((path / "zarr.json").read_text())
        (path / "zarr.json").write_text(json.dumps({**header, "attributes": attributes}))
    else:
        (path / ".zattrs").write_text(json.dumps(attributes))


def is_read_or_refused(*calls):
    """Nothing but a ValueError in one sentence comes out; what opens has the pixels."""
    for call in calls:
        try:
            found = call()
        except (ValueError, FileNotFoundError) as error:
            assert "\n" not in str(error) and str(error)
        else:
            if hasattr(found, "read") and found.data.shape == PIXELS.shape:
                assert (np.sort(found.read().ravel()) == np.sort(PIXELS.ravel())).all()


@pytest.mark.parametrize("version", ["0.3", "0.4", "0.5"])
def test_any_value_anywhere_in_the_metadata_of_a_store(tmp_path, version):
    path, document = store(tmp_path, version), ome(version)

    @QUICK
    @given(at=st.sampled_from(list(places(document))), value=VALUES)
    def check(at, value):
        write(path, changed(document, at, value))
        is_read_or_refused(
            lambda: open_image(path),
            lambda: list_positions(path),
            lambda: describe_format(path),
            lambda: store_format(path),
            lambda: read_provenance(path),
            lambda: labels_path(path, "nuclei"),
        )

    check()


OPTIONAL = [
    ("omero",),
    ("omero", "channels"),
    ("omero", "channels", 0),
    ("omero", "channels", 0, "label"),
    ("multiscales", 0, "axes"),
    ("multiscales", 0, "axes", 0, "unit"),
    ("multiscales", 0, "coordinateTransformations"),
    ("multiscales", 0, "coordinateTransformations", 0),
    ("multiscales", 0, "datasets", 0, "coordinateTransformations"),
    ("multiscales", 0, "datasets", 0, "coordinateTransformations", 0, "scale"),
    ("multiscales", 0, "name"),
    ("multiscales", 0, "version"),
    ("version",),
]


@pytest.mark.parametrize("at", OPTIONAL, ids=lambda at: ".".join(map(str, at)))
@pytest.mark.parametrize("value", [None, 3, "x", [None], {"a": 1}, True])
def test_what_is_optional_is_ignored(tmp_path, at, value):
    path = store(tmp_path, "0.4")
    write(path, changed(ome("0.4"), at, value))
    image = open_image(path)
    assert image.axes == "YX" and (image.read()[0] == PIXELS).all()


def test_what_is_ignored_is_noted(tmp_path):
    path = store(tmp_path, "0.4")
    document = changed(ome("0.4"), ("multiscales", 0, "axes", 0, "unit"), None)
    document = changed(document, ("multiscales", 0, "axes", 1, "unit"), None)
    write(path, changed(document, ("omero",), None))
    assert open_image(path).notes == (
        "v0.4: unit is null and is ignored",
        "v0.4: omero is null and is ignored",
    )


def test_metadata_that_name_no_array_are_one_sentence(tmp_path):
    path = store(tmp_path, "0.4")
    write(path, changed(ome("0.4"), ("multiscales", 0, "datasets", 0, "path"), 7))
    with pytest.raises(ValueError, match=r"v0\.4\.zarr cannot be read \(its multiscales name no array"):
        open_image(path)


@QUICK
@given(
    attributes=st.dictionaries(
        st.sampled_from(["axistags", "axes", "_ARRAY_DIMENSIONS", "element_size_um", "spacing", "unit"]),
        VALUES.map(json.dumps) | st.text(max_size=5) | st.lists(st.floats() | st.integers(-5, 5), max_size=4),
    )
)
def test_any_attribute_of_hdf5(tmp_path, attributes):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset("d", data=PIXELS)
        for key, value in attributes.items():
            dataset.attrs[key] = value.replace("\0", "") if isinstance(value, str) else value
    is_read_or_refused(lambda: open_image(path))


@pytest.mark.parametrize("tags", ["null", "3", "[]", '{"axes": null}', '{"axes": [null, 3]}', "{"])
def test_axis_tags_that_are_none_are_ignored(tmp_path, tags):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("d", data=PIXELS).attrs["axistags"] = tags
    image = open_image(path)
    assert image.axes == "YX" and "axistags" in image.notes[-1]


@QUICK
@given(
    extra=st.dictionaries(
        st.sampled_from(["axes", "spacing", "spacing_zyx", "unit", "channels", "Info", "shape"]), VALUES
    )
)
def test_any_description_of_tifffile(tmp_path, extra):
    path = tmp_path / "a.tif"
    description = json.dumps({"shape": list(PIXELS.shape), **extra})
    tifffile.imwrite(path, PIXELS, metadata=None, description=description.encode())
    is_read_or_refused(lambda: open_image(path), lambda: find_annotation(path), lambda: read_provenance(path))


OURS = '<OME><StructuredAnnotations><MapAnnotation Namespace="napari-unet"><Value></OME>'


@QUICK
@given(cut=st.integers(0, 400), text=st.text(max_size=6))
def test_any_damage_to_the_xml_of_a_result(tmp_path, cut, text):
    """Also of our own results, which say where they come from."""
    path = tmp_path / "a.ome.tif"
    metadata = {"MapAnnotation": {"Namespace": "napari-unet", "Value": {"model": "{}", "options": "{"}}}
    tifffile.imwrite(path, PIXELS, ome=True, metadata={"axes": "YX", "PhysicalSizeX": 0.5, **metadata})
    with tifffile.TiffFile(path) as tif:
        xml = tif.ome_metadata
    at = cut * len(xml) // 400
    damaged = (xml[:at] + "".join(letter for letter in text if letter.isprintable()) + xml[at + 3 :]).encode()
    tifffile.tiffcomment(path, damaged)
    is_read_or_refused(lambda: open_image(path), lambda: list_positions(path), lambda: read_provenance(path))


def test_malformed_xml_of_our_own_is_one_sentence(tmp_path):
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, PIXELS, description=OURS, metadata=None)
    with pytest.raises(ValueError, match=r"a\.ome\.tif cannot be read"):
        read_provenance(path)
