"""What we write ourselves, with any JSON value at any key: it is read, or refused in one sentence."""

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_unet.core.annotations import Meaning, find_annotation, save_annotation
from napari_unet.core.io.tiff import read_info
from napari_unet.core.io.values import parse_json
from napari_unet.core.journal import Journal
from napari_unet.core.modelfile import Model, load_model, read_header, save_model
from napari_unet.core.networks.unet import UNet, UNetConfig
from napari_unet.core.normalise import Intensity
from napari_unet.core.objects import ObjectRules
from napari_unet.core.plan import StackPlan
from napari_unet.core.request import changes
from napari_unet.core.targets import OBJECT_CLASSES, ClassLabel
from napari_unet.core.tiling import TileGrid

fuzz = settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
ODD = [None, True, "", "null", "\ud800", 0, -1, 1.5, 1e308, 10**400, {}, [], [None], [[1]], {"version": 1}]
values = st.sampled_from(ODD) | st.integers(-3, 3) | st.text(max_size=3)


def places(document: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every key of a document."""
    if not isinstance(document, dict | list):
        return []
    keys = document if isinstance(document, dict) else range(len(document))
    return [place for key in keys for place in [(*at, key), *places(document[key], (*at, key))]]


def changed(document: Any, data: st.DataObject) -> Any:
    """Put any value at any key."""
    document = copy.deepcopy(document)
    *way, last = data.draw(st.sampled_from(places(document)))
    holder = document
    for key in way:
        holder = holder[key]
    holder[last] = data.draw(values)
    return document


def read_or_refused(action: Any, *arguments: Any) -> Any:
    try:
        return action(*arguments)
    except (ValueError, OSError) as error:
        assert str(error) and "\n" not in str(error), error
        return None


PLAN = StackPlan(
    TileGrid((40, 40), (32, 32), (4, 4), (0, 0), (40, 40)), (1, 5), 2, Intensity((0.0,), (1.0,)), "fp32", 1
)


@fuzz
@given(st.data())
def test_a_plan(data: st.DataObject):
    plan = read_or_refused(StackPlan.from_json, changed(json.loads(json.dumps(PLAN.as_json())), data))
    assert plan is None or (len(plan) >= 1 and plan[0].n_planes >= 1)


@fuzz
@given(st.data())
def test_a_journal(tmp_path: Path, data: st.DataObject):
    lines = [{"format": 1, "plan": PLAN.as_json()}, {"phase": "tiles", "task": 1, "n_nonfinite": 0}]
    lines = changed(json.loads(json.dumps(lines)), data)
    path = tmp_path / "journal.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    journal = read_or_refused(Journal, path)
    if journal is not None:
        read_or_refused(lambda: list(journal.results("tiles")))


def test_a_journal_that_is_nested_too_deeply(tmp_path: Path):
    path = tmp_path / "journal.jsonl"
    path.write_text("[" * 100_000 + "]" * 100_000 + "\n")
    with pytest.raises(ValueError, match="is damaged: remove its folder"):
        Journal(path)


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], bytes]:
    """The table and the weights of a model of objects."""
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    network = UNet(UNetConfig(n_classes=3, width=1, depth=1))
    about = ("YX", (1.0, 1.0), "µm", ("dna",), "percentile", {"steps": 1, "loss": [0.5]}, "0")
    save_model(
        Model(network, "unet", "objects", OBJECT_CLASSES, *about, ObjectRules(0.5, 0.5, 4, (8, 9))), path
    )
    data = path.read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    return json.loads(data[8:end]), data[end:]


@fuzz
@given(st.data())
def test_a_model(tmp_path: Path, model_file: tuple[dict[str, Any], bytes], data: st.DataObject):
    table, weights = copy.deepcopy(model_file[0]), model_file[1]
    header = json.loads(table["__metadata__"]["napari-unet-model"])
    if data.draw(st.booleans()):
        table["__metadata__"]["napari-unet-model"] = json.dumps(changed(header, data))
    else:
        table = changed(table, data)
    text = json.dumps(table).encode()
    path = tmp_path / "model.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text + weights)
    for read in (read_header, load_model):
        read_or_refused(read, path)


@pytest.fixture(scope="module")
def annotation(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What a saved annotation says of its values."""
    path = tmp_path_factory.mktemp("annotation") / "strokes.tif"
    classes = (ClassLabel(1, 0, "background"), ClassLabel(2, 2, "cell"))
    options = {"axes": "ZYX", "shape": (5, 8, 8), "spacing": (5, 1, 1)}
    save_annotation(path, {(3,): np.eye(8, dtype=np.uint8)}, Meaning("classes", classes, ((3,),)), **options)
    return json.loads(read_info(path))


@fuzz
@given(st.data())
def test_an_annotation(tmp_path: Path, annotation: Any, data: st.DataObject):
    path = tmp_path / "strokes.tif"
    metadata = {"axes": "ZYX", "Info": json.dumps(changed(annotation, data))}
    tifffile.imwrite(path, np.zeros((5, 8, 8), np.uint8), imagej=True, metadata=metadata)
    read_or_refused(find_annotation, path)


@given(st.recursive(values, lambda inner: st.dictionaries(st.sampled_from(["options", "model"]), inner)))
def test_how_a_result_was_made(made: Any):
    if isinstance(made, dict):
        assert all(
            isinstance(each, str) for each in changes(made, {"model": "a", "options": {"kind": "labels"}})
        )


def test_text_that_is_nested_too_deeply():
    with pytest.raises(ValueError, match="its text is no JSON"):
        parse_json("[" * 100_000, "its text")
