"""What we write, judged by a library that knows the schema of OME-NGFF."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import zarr
from ome_zarr_models import v05

from napari_unet.core.io.layout import Layout
from napari_unet.core.io.result import create_result


@pytest.fixture(params=["YX", "ZYX", "TYX", "TZYX"])
def axes(request: pytest.FixtureRequest) -> Iterator[str]:
    yield request.param


def _create(path: Path, axes: str, dtype: str, channels: tuple[str, ...] = ()) -> zarr.Group:
    sizes = {"T": 2, "C": len(channels), "Z": 3, "Y": 1100, "X": 40}
    spacing = {"Z": 5.0, "Y": 0.5, "X": 0.25}
    layout = Layout(
        tuple(sizes[axis] for axis in axes),
        np.dtype(dtype),
        axes,
        tuple(spacing[axis] for axis in "ZYX" if axis in axes),
        "µm",
        channels,
        provenance={"model": "5ea1", "options": {"halo": "auto", "tile": 512}},
    )
    create_result(path, layout, name="cells")
    return zarr.open_group(str(path), mode="r")


def test_labels_are_images_whose_axes_units_and_scales_are_right(tmp_path: Path, axes: str):
    group = _create(tmp_path / "l.ome.zarr", axes, "u2")
    label = v05.ImageLabel.from_zarr(group).attributes.ome
    (multiscale,) = v05.Image.from_zarr(group).attributes.ome.multiscales
    assert label.version == "0.5" and label.image_label.colors[0].label_value == 0
    types = {"t": ("time", None), "z": ("space", "micrometer")}
    assert [(axis.name, axis.type, axis.unit) for axis in multiscale.axes] == [
        (name, *types.get(name, ("space", "micrometer"))) for name in axes.lower()
    ]
    scales = {"T": 1.0, "Z": 5.0, "Y": 2.0, "X": 1.0}
    transformations = multiscale.datasets[2].coordinateTransformations
    assert [step.type for step in transformations] == ["scale"]
    assert transformations[0].scale == [scales[axis] for axis in axes]


def test_probabilities_name_their_channels_and_lie_between_the_pixels_they_average(tmp_path: Path, axes: str):
    axes = axes.replace("T", "TC") if "T" in axes else f"C{axes}"
    group = _create(tmp_path / "p.ome.zarr", axes, "f4", ("background", "nucleus"))
    ome = v05.Image.from_zarr(group).attributes.ome
    assert [step.type for step in ome.multiscales[0].datasets[1].coordinateTransformations] == [
        "scale", "translation"
    ]  # fmt: skip
    shifts = {"Y": 0.25, "X": 0.125}
    assert ome.multiscales[0].datasets[1].coordinateTransformations[1].translation == [
        shifts.get(axis, 0.0) for axis in axes
    ]
    attributes = dict(group.attrs)["ome"]
    assert [channel["label"] for channel in attributes["omero"]["channels"]] == ["background", "nucleus"]
    assert "image-label" not in attributes


def test_an_unknown_unit_and_the_unit_of_time_are_left_out(tmp_path: Path):
    layout = Layout((2, 8, 8), np.dtype("u1"), "TYX", (1, 1), "pixel", ())
    create_result(tmp_path / "a.ome.zarr", layout, name="a")
    (multiscale,) = v05.Image.from_zarr(
        zarr.open_group(str(tmp_path / "a.ome.zarr"))
    ).attributes.ome.multiscales
    assert [axis.unit for axis in multiscale.axes] == [None, None, None]


def test_where_a_result_comes_from_is_kept(tmp_path: Path):
    group = _create(tmp_path / "l.ome.zarr", "YX", "u1")
    assert group.attrs["napari-unet"] == {"model": "5ea1", "options": {"halo": "auto", "tile": 512}}


@pytest.mark.parametrize("dtype", ["u1", "f2", "f4"])
def test_the_contrast_of_probabilities_is_that_of_their_type(tmp_path: Path, dtype: str):
    group = _create(tmp_path / "p.ome.zarr", "CYX", dtype, ("a", "b"))
    (first, _) = dict(group.attrs)["ome"]["omero"]["channels"]
    assert first["window"]["end"] == (255 if dtype == "u1" else 1)
