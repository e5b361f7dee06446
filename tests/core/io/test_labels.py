import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from ome_zarr_models import v04, v05
from pydantic_zarr.v2 import ArraySpec, GroupSpec

from napari_unet.core.io import open_image
from napari_unet.core.io.labels import labels_path, register_labels
from napari_unet.core.io.layout import Layout
from napari_unet.core.io.result import check_output, create_result, publish

DATA = Path(os.environ.get("NAPARI_UNET_DATA", Path(__file__).parents[3] / "../shared/data")).resolve()
SAMPLE = DATA / "formats_multidim/6001240_levels1-2.zarr"
needs_data = pytest.mark.skipif(not SAMPLE.is_dir(), reason=f"the real store is not in {SAMPLE.parent}")
LABELS = np.random.default_rng(0).integers(0, 9, (30, 40)).astype(np.uint8)
WHOLE = (slice(0, 30), slice(0, 40))

for model in (v04.Labels, v04.Image, v04.ImageLabel):  # pydantic looks for these names in the wrong module
    model.model_rebuild(_types_namespace={"ArraySpec": ArraySpec, "GroupSpec": GroupSpec})


def _image(path: Path, version: str, *, separator: str = "/", translation: tuple[float, ...] = ()) -> Path:
    axes = [{"name": name, "type": "channel" if name == "c" else "space"} for name in "cyx"]
    steps: list[dict[str, Any]] = [{"type": "scale", "scale": [1, 0.5, 0.5]}]
    steps += [{"type": "translation", "translation": list(translation)}] if translation else []
    multiscale = {"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": steps}]}
    if version == "0.5":
        attributes: dict[str, Any] = {"ome": {"version": "0.5", "multiscales": [multiscale]}}
        options: dict[str, Any] = {"dimension_names": list("cyx")}
    else:
        attributes = {"multiscales": [multiscale | {"version": version}]}
        options = {"chunk_key_encoding": {"name": "v2", "separator": separator}}
    group = zarr.create_group(str(path), zarr_format=3 if version == "0.5" else 2, attributes=attributes)
    group.create_array("0", data=np.zeros((2, 30, 40), np.uint16), chunks=(1, 16, 16), **options)
    return path


def _write(image: Path, name: str, *, overwrite: bool = False) -> Path:
    path = labels_path(image, name)
    check_output(path, overwrite=overwrite)
    layout = Layout((30, 40), np.dtype("u1"), "YX", (0.5, 0.5), "µm", (), image_store=image)
    temporary = image.with_name(f"{name}.unfinished.ome.zarr")
    create_result(temporary, layout, name=name).write(WHOLE, LABELS)
    publish(temporary, path, overwrite=overwrite)
    register_labels(image, name)
    return path


def _validate(image: Path, path: Path, version: str) -> Any:
    schema = v05 if version == "0.5" else v04
    schema.Image.from_zarr(zarr.open_group(str(image), mode="r", use_consolidated=False))
    schema.Labels.from_zarr(zarr.open_group(str(path.parent), mode="r", use_consolidated=False))
    label = schema.ImageLabel.from_zarr(zarr.open_group(str(path), mode="r")).attributes
    return label.ome if version == "0.5" else label


@pytest.mark.parametrize(("version", "separator"), [("0.5", "/"), ("0.4", "/"), ("0.4", ".")])
def test_labels_inside_an_image_are_stored_as_it_is(tmp_path: Path, version: str, separator: str):
    image = _image(tmp_path / "Zellen α.zarr", version, separator=separator)
    path = _write(image, "my nuclei é")
    label = _validate(image, path, version)
    assert label.image_label.source.image == "../../"
    assert (path / ({"0.5": "0/c/0/0", "0.4": f"0/0{separator}0"}[version])).is_file()
    labels = open_image(path)
    assert (labels.axes, labels.spacing, labels.unit) == ("YX", (0.5, 0.5), "µm")
    np.testing.assert_array_equal(labels.read()[0], LABELS)
    np.testing.assert_array_equal(open_image(image).read(), 0)


@needs_data
def test_labels_go_into_a_real_image_of_the_oldest_version(tmp_path: Path):
    image = tmp_path / "image.zarr"
    shutil.copytree(SAMPLE, image)
    path = _write(image, "nuclei")
    assert (path / ".zattrs").is_file() and not (path / "zarr.json").exists()
    assert "nuclei" in zarr.open_group(str(image / "labels"), mode="r").attrs["labels"]
    np.testing.assert_array_equal(open_image(path).read()[0], LABELS)


@pytest.mark.parametrize("version", ["0.5", "0.4"])
def test_labels_that_are_there_stay(tmp_path: Path, version: str):
    image = _image(tmp_path / "a.zarr", version)
    for name in ("first", "second", "second"):
        _write(image, name, overwrite=True)
    attributes = dict(zarr.open_group(str(image / "labels"), mode="r").attrs)
    assert attributes.get("ome", attributes)["labels"] == ["first", "second"]  # type: ignore[call-overload,index]
    assert sorted(entry.name for entry in (image / "labels").iterdir() if entry.is_dir()) == [
        "first",
        "second",
    ]


def test_labels_of_the_same_name_are_refused_without_overwrite(tmp_path: Path):
    image = _image(tmp_path / "a.zarr", "0.5")
    _write(image, "nuclei")
    with pytest.raises(FileExistsError, match="nuclei exists; give --overwrite to replace it"):
        check_output(labels_path(image, "nuclei"), overwrite=False)
    check_output(labels_path(image, "nuclei"), overwrite=True)


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../../x", "a/b", "a\\b", ".hidden", "/abs", "C:x", "zarr.json"]
)
def test_a_name_that_would_leave_the_store_or_hide_is_refused(tmp_path: Path, name: str):
    image = _image(tmp_path / "a.zarr", "0.5")
    with pytest.raises(ValueError, match="cannot be a name of labels; use one without slashes"):
        labels_path(image, name)


def test_a_labels_folder_that_is_a_link_out_of_the_store_is_refused(tmp_path: Path):
    image = _image(tmp_path / "a.zarr", "0.5")
    (tmp_path / "elsewhere").mkdir()
    try:
        (image / "labels").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    except OSError:
        pytest.skip("symbolic links cannot be made here")
    with pytest.raises(ValueError, match=r"leads out of a\.zarr"):
        labels_path(image, "nuclei")


def test_what_is_no_ome_zarr_image_takes_no_labels(tmp_path: Path):
    zarr.create_array(str(tmp_path / "plain.zarr"), data=np.zeros((4, 4)))
    zarr.create_group(str(tmp_path / "group.zarr"))
    (tmp_path / "folder").mkdir()
    (tmp_path / "a.tif").write_bytes(b"")
    for name in ("group.zarr", "folder", "a.tif", "none.zarr"):
        with pytest.raises(ValueError, match="is no OME-Zarr image; give one, or one of its positions"):
            labels_path(tmp_path / name, "nuclei")
    with pytest.raises(ValueError, match=r"plain\.zarr"):
        labels_path(tmp_path / "plain.zarr", "nuclei")


def test_probabilities_are_no_labels(tmp_path: Path):
    image = _image(tmp_path / "a.zarr", "0.5")
    with pytest.raises(
        ValueError, match=r"cannot be labels inside a\.zarr; write probabilities to a store of"
    ):
        Layout((2, 30, 40), np.dtype("f4"), "CYX", (1, 1), "µm", ("a", "b"), image_store=image)


def test_labels_lie_where_a_shifted_image_lies(tmp_path: Path):
    image = _image(tmp_path / "a.zarr", "0.5", translation=(0, 10, 2.5))
    label = _validate(image, _write(image, "nuclei"), "0.5")
    assert label.multiscales[0].datasets[0].coordinateTransformations[1].translation == [10, 2.5]


@pytest.mark.skipif(os.name != "posix", reason="Windows cannot lock a folder")
def test_runs_that_end_at_once_are_all_listed(tmp_path: Path):
    image = _image(tmp_path / "a.zarr", "0.5")
    names = [f"labels {i}" for i in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(partial(register_labels, image), names))
    listed: Any = zarr.open_group(str(image / "labels"), mode="r").attrs["ome"]
    assert sorted(listed["labels"]) == names


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.filterwarnings("ignore:Consolidated metadata")
def test_labels_are_found_where_one_file_repeats_all_metadata(tmp_path: Path, version: str):
    image = _image(tmp_path / "a.zarr", version)
    zarr.consolidate_metadata(str(image), zarr_format=2 if version == "0.4" else 3)
    _write(image, "nuclei")
    group = zarr.open_group(str(image), mode="r")
    assert group.metadata.consolidated_metadata is not None
    np.testing.assert_array_equal(group["labels/nuclei/0"][:], LABELS)  # type: ignore[index]


def test_a_folder_that_is_called_labels_is_no_part_of_an_image(tmp_path: Path):
    (tmp_path / "labels").mkdir()
    with pytest.raises(ValueError, match=r"choose \.tif"):
        check_output(tmp_path / "labels/nuclei", overwrite=False)
