"""The model file: round trips, what is refused, and that a failed save leaves nothing."""

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from napari_unet.core import modelfile
from napari_unet.core.modelfile import Model, load_model, model_hash, read_header, save_model
from napari_unet.core.networks import ARCHITECTURES, build_network, network_config
from napari_unet.core.objects import ObjectRules
from napari_unet.core.targets import ClassLabel


def make_model(architecture: str = "unet", ndim: int = 2, seed: int = 0) -> Model:
    torch.manual_seed(seed)
    config = network_config(architecture, ndim=ndim, in_channels=2, n_classes=3, width=2, depth=3)
    return Model(
        network=build_network(architecture, config).eval(),
        architecture=architecture,
        task="classes",
        classes=(ClassLabel(1, 0, "background"), ClassLabel(2, 1, "Zellkern"), ClassLabel(5, 4, "µ-tubule")),
        axes="ZYX"[-ndim:],
        spacing=(50.0, 4.0, 4.0)[-ndim:],
        unit="nm",
        channels=("DAPI", ""),
        normalisation="percentile",
        training={"steps": 12, "loss": "ce+dice", "dice": [0.5, None]},
        package_version="0.1.0",
    )


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    save_model(make_model(), path)
    return path


def parts(path: Path) -> tuple[dict, bytes]:
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def with_table(path: Path, change: Callable[[dict], object]) -> None:
    table, weights = parts(path)
    change(table)
    text = json.dumps(table).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + weights)


def with_header(path: Path, change: Callable[[dict], object]) -> None:
    def edit(table: dict) -> None:
        header = json.loads(table["__metadata__"]["napari-unet-model"])
        change(header)
        table["__metadata__"]["napari-unet-model"] = json.dumps(header)

    with_table(path, edit)


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_loaded_model_says_what_the_saved_one_said(architecture: str, ndim: int, tmp_path: Path) -> None:
    model = make_model(architecture, ndim)
    save_model(model, tmp_path / "model.safetensors")
    loaded = load_model(tmp_path / "model.safetensors")
    image = torch.rand(1, 2, *model.network.input_shape((8,) * ndim))
    with torch.no_grad():
        assert torch.equal(loaded.network(image), model.network(image))
    assert replace(loaded, network=model.network).__dict__ == model.__dict__
    assert loaded.network.config == model.network.config
    assert not loaded.network.training


@given(
    foreground=st.floats(0, 1, exclude_min=True),
    core=st.floats(0, 1, exclude_min=True),
    min_size=st.integers(0, 2**32 - 1),
    reach=st.one_of(st.just(()), st.tuples(*[st.integers(1, 2**20)] * 2)),
)
@settings(max_examples=20)
def test_rules_of_objects_survive(
    foreground: float,
    core: float,
    min_size: int,
    reach: tuple[int, ...],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    path = tmp_path_factory.mktemp("models") / "model.safetensors"
    rules = ObjectRules(foreground, core, min_size, reach)
    save_model(replace(make_model(), objects=rules), path)
    assert load_model(path).objects == rules


def test_a_file_of_the_first_format_has_no_rules_and_is_read(saved: Path) -> None:
    def older(header: dict) -> None:
        header["format_version"] = 1
        del header["objects"]

    with_header(saved, older)
    loaded = load_model(saved)
    assert loaded.objects is None and model_hash(loaded) == model_hash(make_model())
    assert read_header(saved)["format_version"] == 2  # as it would be written again


@settings(max_examples=20, deadline=None)
@given(
    names=st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=3, max_size=3),
    spacing=st.tuples(*[st.floats(1e-6, 1e6)] * 2),
    training=st.dictionaries(
        st.text("abcµ"), st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False))
    ),
)
def test_any_text_and_number_of_the_header_survives(
    names: list[str], spacing: tuple[float, float], training: dict, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("models") / "model.safetensors"
    classes = tuple(ClassLabel(value, value, name) for value, name in enumerate(names, start=1))
    model = replace(make_model(), classes=classes, spacing=spacing, training=training)
    save_model(model, path)
    loaded = load_model(path)
    assert (loaded.classes, loaded.spacing, loaded.training) == (classes, spacing, training)


def test_the_same_model_gives_the_same_bytes_and_its_hash_is_theirs(saved: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.safetensors"
    save_model(load_model(saved), again)
    assert again.read_bytes() == saved.read_bytes()
    assert model_hash(make_model()) == hashlib.sha256(saved.read_bytes()).hexdigest()
    assert model_hash(make_model(seed=1)) != model_hash(make_model())


def test_a_loaded_model_can_be_trained_without_touching_its_file(saved: Path) -> None:
    before = saved.read_bytes()
    network = load_model(saved).network.train()
    network(torch.rand(1, 2, 16, 16)).sum().backward()
    with torch.no_grad():
        for weight in network.parameters():
            weight -= weight.grad
    assert saved.read_bytes() == before


def test_channels_last_weights_are_saved_alike(saved: Path, tmp_path: Path) -> None:
    model = make_model()
    model.network.to(memory_format=torch.channels_last)
    save_model(model, tmp_path / "last.safetensors")
    assert (tmp_path / "last.safetensors").read_bytes() == saved.read_bytes()


def test_the_header_is_read_without_the_weights(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(modelfile, "load", None)
    header = read_header(saved)
    assert header["architecture"] == "unet"
    assert header["config"]["width"] == 2
    assert header["classes"][2] == {"annotation_value": 5, "output_value": 4, "name": "µ-tubule"}
    assert json.loads(json.dumps(header))["format_version"] == 2


def test_the_file_is_a_plain_safetensors_file_without_a_time(saved: Path) -> None:
    table, _ = parts(saved)
    assert list(table["__metadata__"]) == ["napari-unet-model"]
    assert not any(
        "time" in name or "date" in name for name in json.loads(table["__metadata__"]["napari-unet-model"])
    )


# what is not a model


def refusal(path: Path) -> str:
    with pytest.raises(ValueError, match="is not a usable model") as loading:
        load_model(path)
    with pytest.raises(ValueError) as reading:
        read_header(path)
    assert str(loading.value) == str(reading.value)
    assert "\n" not in str(loading.value) and str(path) in str(loading.value)
    return str(loading.value)


PNG = bytes.fromhex("89504e470d0a1a0a0000000d49484452") + bytes(100)
FOREIGN = {
    "empty": b"",
    "png": PNG,
    "text": b"hello, world, this is text",
    "claims a huge header": (2**63).to_bytes(8, "little") + b"{}",
    "header is a list": (2).to_bytes(8, "little") + b"[]",
    "header is no text": (4).to_bytes(8, "little") + b"\xff\xfe\x00\x01",
    "header is nested": (200_000).to_bytes(8, "little") + b"[" * 200_000,
    "metadata is a list": (20).to_bytes(8, "little") + b'{"__metadata__": []}',
}


@pytest.mark.parametrize("content", FOREIGN.values(), ids=FOREIGN)
def test_a_file_that_is_no_model_is_refused_with_what_to_choose(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    path.write_bytes(content)
    reason = refusal(path)
    assert "napari-unet train" in reason or "nested" in reason


def test_weights_of_another_program_are_refused(tmp_path: Path) -> None:
    save_file({"conv.weight": torch.zeros(3)}, tmp_path / "other.safetensors", metadata={"format": "pt"})
    assert "it is not from napari-unet" in refusal(tmp_path / "other.safetensors")


@pytest.mark.parametrize("kept", [4, 100, 3000, -1])
def test_a_truncated_file_is_refused(kept: int, saved: Path) -> None:
    saved.write_bytes(saved.read_bytes()[:kept])
    assert "copy it again" in refusal(saved)


def test_a_file_with_more_bytes_than_its_network_is_refused(saved: Path) -> None:
    saved.write_bytes(saved.read_bytes() + bytes(1000))
    assert "bytes of weights instead of" in refusal(saved)


def test_a_newer_format_asks_for_an_update(saved: Path) -> None:
    with_header(saved, lambda header: header.update(format_version=3, surprise=1))
    assert "its format is 3 and this one reads 2, so update napari-unet" in refusal(saved)


def test_a_header_that_claims_a_giant_network_takes_no_memory(saved: Path) -> None:
    with_header(saved, lambda header: header["config"].update(width=10**9))
    assert "width is 1000000000: choose a value from 1 to 1024" in refusal(saved)
    with_header(saved, lambda header: header["config"].update(width=1024, depth=8, pools=[[2, 2]] * 8))
    assert "is not that of the network" in refusal(saved)


CONFIG_DAMAGE = [
    {"width": "2"},
    {"width": 2.0},
    {"width": True},
    {"padding": "mirror"},
    {"norm": None},
    {"dropout": "no"},
    {"pools": [[2, 2]]},
    {"pools": 3},
    {"pools": [[0, 2]] * 3},
    {"checkpointing": 1},
    {"extra": 1},
]
HEADER_DAMAGE = [
    {"architecture": "segnet"},
    {"architecture": "fcn8s"},
    {"task": "guess"},
    {"classes": []},
    {"classes": [{"annotation_value": 0, "output_value": 0, "name": ""}] * 3},
    {"classes": [{"annotation_value": 1, "name": ""}] * 3},
    {"classes": {}},
    {"axes": "XY"},
    {"axes": "ZYX"},
    {"spacing": [1.0]},
    {"spacing": [1, -1]},
    {"spacing": [1, float("nan")]},
    {"unit": 3},
    {"channels": ["DAPI"]},
    {"normalisation": "none"},
    {"training": []},
    {"training": {"loss": float("nan")}},
    {"training": {"name": "\ud800"}},
    {"format_version": "1"},
    {"format_version": 0},
    {"format_version": True},
    {"config": None},
    {"objects": 0.5},
]
RULES_DAMAGE = [
    ({"foreground": 0}, "foreground 0 is no probability above 0: give one such as 0.5"),
    ({"foreground": 1.5}, "foreground 1.5 is no probability"),
    ({"core": float("nan")}, "core nan is no probability"),
    ({"core": "0.5"}, "its core is not what it should be"),
    ({"min_size": -1}, "a minimum size of -1 pixels is not from 0 to"),
    ({"min_size": 2**32}, "a minimum size of 4294967296 pixels is not from 0 to"),
    ({"reach": [9, 9, 9]}, "that does not fit a model of"),
    ({"min_size": 2.5}, "its min_size is not what it should be"),
    ({"reach": [0, 3]}, "is less than a pixel"),
    ({"reach": [2.0, 3.0]}, "its reach is not what it should be"),
    ({"reach": None}, "its reach is not what it should be"),
    ({"surprise": 1}, "its objects does not have the fields"),
]


@pytest.mark.parametrize("damage", HEADER_DAMAGE, ids=str)
def test_a_header_that_makes_no_sense_is_refused(damage: dict, saved: Path) -> None:
    with_header(saved, lambda header: header.update(damage))
    refusal(saved)


@pytest.mark.parametrize(("damage", "sentence"), RULES_DAMAGE, ids=str)
def test_rules_of_objects_that_make_no_sense_are_refused(damage: dict, sentence: str, saved: Path) -> None:
    with_header(saved, lambda header: header.update(objects=asdict(ObjectRules()) | damage))
    assert sentence in refusal(saved)


def test_a_file_of_this_format_without_a_word_of_rules_is_refused(saved: Path) -> None:
    with_header(saved, lambda header: header.pop("objects"))
    assert "its header does not have the fields" in refusal(saved)


@pytest.mark.parametrize("damage", CONFIG_DAMAGE, ids=str)
def test_a_config_that_makes_no_sense_is_refused(damage: dict, saved: Path) -> None:
    with_header(saved, lambda header: header["config"].update(damage))
    refusal(saved)


def overlap(table: dict) -> None:
    table["head.bias"]["data_offsets"] = table["head.weight"]["data_offsets"]


@pytest.mark.parametrize(
    "change",
    [
        lambda table: table.pop("head.bias"),
        lambda table: table.update({"other": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}}),
        lambda table: table["head.bias"].update(dtype="F16"),
        lambda table: table["head.bias"].update(shape=[3, 1]),
        lambda table: table.update({"head.bias": 1}),
    ],
)
def test_weights_that_are_not_those_of_the_network_are_refused(
    change: Callable[[dict], object], saved: Path
) -> None:
    with_table(saved, change)
    assert "weight" in refusal(saved)


@pytest.mark.parametrize("offsets", [[0, 12], [-1, 3], [0, 2**70], "ab", None])
def test_weights_that_lie_elsewhere_are_refused(offsets: object, saved: Path) -> None:
    with_table(saved, lambda table: table["head.bias"].update(data_offsets=offsets))
    with pytest.raises(ValueError, match="is not a usable model"):
        load_model(saved)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nothing\.safetensors does not exist: check the path"):
        load_model(tmp_path / "nothing.safetensors")
    with pytest.raises(OSError, match="choose a file that"):
        load_model(tmp_path)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("fuzz") / "model.safetensors"
    save_model(make_model(), path)
    return path.read_bytes()


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_gives_a_model_or_a_clear_error(data: st.DataObject, whole: bytes, tmp_path: Path) -> None:
    damaged = bytearray(whole)
    header_end = 8 + int.from_bytes(whole[:8], "little")
    for place in data.draw(st.lists(st.integers(0, header_end - 1), max_size=3)):
        damaged[place] ^= 1 << data.draw(st.integers(0, 7))
    kept = data.draw(st.one_of(st.just(len(whole)), st.integers(0, len(whole))))
    path = tmp_path / "damaged.safetensors"
    path.write_bytes(damaged[:kept])
    for read in (read_header, load_model):
        try:
            read(path)
        except (ValueError, OSError) as error:
            assert str(path) in str(error)


# a model that makes no sense


def test_what_is_not_json_is_refused_before_anything_is_trained() -> None:
    with pytest.raises(ValueError, match="JSON"):
        replace(make_model(), training={"loss": float("nan")})
    with pytest.raises(TypeError, match="JSON"):
        replace(make_model(), training={"path": Path("x")})  # type: ignore[dict-item]


def test_a_model_whose_parts_do_not_fit_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"channels is \('DAPI',\): that does not fit"):
        replace(make_model(), channels=("DAPI",))


# saving


def test_an_existing_model_is_kept_unless_it_may_be_replaced(saved: Path) -> None:
    before = saved.read_bytes()
    with pytest.raises(FileExistsError, match=r"model\.safetensors exists: .* --overwrite"):
        save_model(make_model(seed=1), saved)
    assert saved.read_bytes() == before
    save_model(make_model(seed=1), saved, overwrite=True)
    assert saved.read_bytes() != before
    assert [entry.name for entry in saved.parent.iterdir()] == [saved.name]


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="cannot be written"):
        save_model(make_model(), tmp_path / "nowhere" / "model.safetensors")


def test_a_folder_in_the_way_is_kept_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").mkdir()
    with pytest.raises(OSError, match="cannot be written"):
        save_model(make_model(), tmp_path / "model.safetensors", overwrite=True)
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.safetensors"]


@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_save_that_breaks_off_keeps_the_old_model(
    failure: BaseException, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: int) -> None:
        raise failure

    before = saved.read_bytes()
    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(type(failure)):
        save_model(make_model(seed=1), saved, overwrite=True)
    assert saved.read_bytes() == before
    assert [entry.name for entry in saved.parent.iterdir()] == [saved.name]


@pytest.fixture
def tiny_disk() -> Iterator[Path]:
    """A disk of 64 kB, where this machine lets us mount one."""
    with tempfile.TemporaryDirectory() as folder:  # not tmp_path, which other runs of pytest clean up
        mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder]
        if not shutil.which("mount") or subprocess.run(mount, capture_output=True, check=False).returncode:
            pytest.skip("mounting a small tmpfs is not allowed here")
        yield Path(folder)
        subprocess.run(["umount", folder], check=True)


def test_a_full_disk_leaves_nothing(tiny_disk: Path) -> None:
    (tiny_disk / "filler").write_bytes(bytes(60_000))
    with pytest.raises(
        OSError, match=r"cannot be written \(No space left on device\): choose a folder that has room"
    ):
        save_model(make_model(), tiny_disk / "model.safetensors")
    assert [entry.name for entry in tiny_disk.iterdir()] == ["filler"]


def test_a_folder_that_cannot_be_written_is_named(tiny_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(tiny_disk)], check=True)
    with pytest.raises(OSError, match=r"model\.safetensors cannot be written"):
        save_model(make_model(), tiny_disk / "model.safetensors")
    assert not list(tiny_disk.iterdir())
