"""Results that are not finished: killed at any moment, gone on with, refused when anything has changed."""

import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
import zarr

from napari_unet.core import unfinished
from napari_unet.core.devices import computes_bf16
from napari_unet.core.io import create_output, open_image
from napari_unet.core.io.labels import labels_path
from napari_unet.core.io.result import publish
from napari_unet.core.journal import Journal
from napari_unet.core.layouts import SegmentConfig
from napari_unet.core.modelfile import Model, load_model, save_model
from napari_unet.core.networks.unet import UNet, UNetConfig
from napari_unet.core.object_numbers import SeedNumbers
from napari_unet.core.objects import ObjectRules
from napari_unet.core.plan import plan_stack
from napari_unet.core.request import Request
from napari_unet.core.stacks import segment_stack
from napari_unet.core.targets import OBJECT_CLASSES, ClassLabel
from napari_unet.core.unfinished import Unfinished

KILL_NINE = Path(__file__).with_name("kill_nine_stack.py")
WAYS = [
    (kind, suffix)
    for kind in ("labels", "probabilities", "objects")
    for suffix in (".tif", ".ome.tif", ".ome.zarr")
]
N_MOMENTS = 5  # of each way at which a run is killed
CLASSES = (ClassLabel(1, 0, "background"), ClassLabel(2, 7, "cell"))


def random_model(seed=0, ndim=2):
    torch.manual_seed(seed)
    network = UNet(UNetConfig(ndim=ndim, width=2, depth=1, norm="none")).eval()
    about = ("ZYX"[-ndim:], (1.0,) * ndim, "pixel", ("",), "percentile", {}, "0")
    return Model(network, "unet", "classes", CLASSES, *about)


def growing_model():
    """Knows rim and core, and finds many objects in noise: some too small, some at the border."""
    torch.manual_seed(0)
    network = UNet(UNetConfig(width=2, depth=1, norm="none", n_classes=3)).eval()
    about = ("YX", (1.0, 1.0), "pixel", ("",), "percentile", {}, "0")
    return Model(network, "unet", "objects", OBJECT_CLASSES, *about, ObjectRules(0.6, 0.4, 9, (9, 9)))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A model and a stack of two planes that are wide, so that there is a pyramid."""
    folder = tmp_path_factory.mktemp("Zellen und Kerne ä")
    save_model(random_model(), folder / "model.safetensors")
    stack = np.random.default_rng(0).integers(0, 1000, (2, 40, 530)).astype(np.uint16)
    tifffile.imwrite(folder / "image.tif", stack, imagej=True, metadata={"axes": "ZYX"})
    return folder


@pytest.fixture(scope="module")
def segmenting(files):
    """Return what segments in another process: lines that it said, as one dict of lists."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(KILL_NINE)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, **pipes, text=True, env=environment) as process:

        def segment(output, kind="labels", config=(), **order):
            config = {"kind": kind, "tile": 136, "halo": 4} | dict(config)
            order |= {"output": str(output), "config": config}
            order = {"model": str(files / "model.safetensors"), "image": str(files / "image.tif")} | order
            process.stdin.write(json.dumps(order) + "\n")
            process.stdin.flush()
            said = {"predicted": [], "error": None}
            while "status" not in said:
                line = json.loads(process.stdout.readline())
                said["predicted"] += line.pop("predicted", [])
                said |= line
            return said

        yield segment
        process.stdin.close()


@pytest.fixture(scope="module")
def wholes(segmenting, tmp_path_factory):
    """Return what an uninterrupted run of each way gives: its bytes and how often it touches files."""
    known = {}

    def whole(kind, suffix):
        if (kind, suffix) not in known:
            output = tmp_path_factory.mktemp("whole") / f"result{suffix}"
            said = segmenting(output, kind)
            assert said["status"] == 0 and not said["error"]
            assert sorted(said["predicted"]) == list(range(8))
            known[kind, suffix] = tree_hash(output), said["n_touches"]
        return known[kind, suffix]

    return whole


def tree_hash(path):
    """SHA-256 over names and bytes of a file, or of all in a folder."""
    digest = hashlib.sha256()
    for file in [path] if path.is_file() else sorted(each for each in path.rglob("*") if each.is_file()):
        digest.update(f"{file.relative_to(path.parent).as_posix()}\n".encode() + file.read_bytes())
    return digest.hexdigest()


def noted(output, phase="tiles"):
    """Return the tasks that the journal of an unfinished result holds."""
    journal = Path(f"{output}.unfinished", "journal.jsonl")
    lines = journal.read_bytes().splitlines(keepends=True)[1:] if journal.exists() else []
    whole = [json.loads(line) for line in lines if line.endswith(b"\n")]
    return {line["task"] for line in whole if line["phase"] == phase}


def is_over(output):
    """Tell whether the result has its name and no journal is left."""
    return output.exists() and not Path(f"{output}.unfinished", "journal.jsonl").exists()


def expect_whole(output, whole):
    """The result is what an uninterrupted run gives, and at most a folder with a lock that nobody has."""
    assert tree_hash(output) == whole
    left = Path(f"{output}.unfinished")
    assert set(os.listdir(output.parent)) <= {output.name, left.name}
    assert not left.exists() or set(os.listdir(left)) <= {"lock"}


@pytest.mark.parametrize(("kind", "suffix"), WAYS)
def test_a_run_that_was_killed_at_any_moment_is_gone_on_with(kind, suffix, segmenting, wholes, tmp_path):
    whole, n_touches = wholes(kind, suffix)
    shift = WAYS.index((kind, suffix))  # other moments for each way
    for kill_at in np.linspace(2 + shift, n_touches - shift % 3, N_MOMENTS).astype(int).tolist():
        output = tmp_path / str(kill_at) / f"result{suffix}"
        output.parent.mkdir()
        assert segmenting(output, kind, kill_at=kill_at)["status"] in (-9, 0)  # threads: not quite as often
        if output.exists():
            assert tree_hash(output) == whole  # only what is whole has the name
        done = noted(output)
        if not is_over(output):
            said = segmenting(output, kind, resume=True)
            assert (said["status"], said["error"]) == (0, None)
            assert sorted(said["predicted"]) == sorted(set(range(8)) - done)
        expect_whole(output, whole)


def test_objects_that_are_grown_sifted_and_linked_survive_a_kill_in_any_phase(segmenting, files, tmp_path):
    wish = {"min_size": 12, "keep_border": False, "link": True}
    save_model(growing_model(), tmp_path / "growing.safetensors")
    order = {"kind": "objects", "config": wish, "model": str(tmp_path / "growing.safetensors")}
    (tmp_path / "whole").mkdir()
    said = segmenting(tmp_path / "whole" / "result.ome.zarr", **order)
    whole, n_touches = tree_hash(tmp_path / "whole" / "result.ome.zarr"), said["n_touches"]
    assert not said["error"] and open_image(tmp_path / "whole" / "result.ome.zarr").read().max() > 20
    reached = set()
    for kill_at in np.linspace(n_touches // 8, n_touches - 5, 6).astype(int).tolist():
        output = tmp_path / str(kill_at) / "result.ome.zarr"
        output.parent.mkdir()
        assert segmenting(output, kill_at=kill_at, **order)["status"] in (-9, 0)
        done = {phase: len(noted(output, phase)) for phase in ("tiles", "seeds", "objects", "links")}
        reached |= {phase for phase, n_tasks in done.items() if n_tasks}
        if not is_over(output):
            said = segmenting(output, resume=True, **order)
            assert (said["error"], len(said["predicted"])) == (None, 8 - done["tiles"])
        expect_whole(output, whole)
    assert reached == {"tiles", "seeds", "objects", "links"}


@pytest.mark.parametrize(("kind", "suffix"), [("objects", ".ome.zarr"), ("labels", ".tif")])
def test_a_run_that_is_killed_again_and_again_ends_as_if_nothing_had_happened(
    kind, suffix, segmenting, wholes, tmp_path
):
    whole, n_touches = wholes(kind, suffix)
    output, statuses, predicted = tmp_path / f"result{suffix}", [], []
    while not is_over(output):
        kill_at = n_touches // 4 + len(statuses)  # a little later each time: it takes some to begin again
        said = segmenting(output, kind, resume=True, kill_at=kill_at)
        statuses.append(said["status"])
        predicted += said["predicted"]
        assert len(statuses) < 20
    assert len(statuses) > 2 and set(statuses[:-1]) == {-9}
    assert set(predicted) == set(range(8))
    expect_whole(output, whole)


def test_a_run_is_killed_by_the_clock(segmenting, wholes, tmp_path):
    whole, _ = wholes("objects", ".ome.zarr")
    output = tmp_path / "result.ome.zarr"
    for seconds in (0.02, 0.05, 0.1, 0.2):
        segmenting(output, "objects", resume=True, seconds=seconds)
        if is_over(output):
            break
    else:
        assert not segmenting(output, "objects", resume=True)["error"]
    expect_whole(output, whole)


def test_a_result_that_was_killed_when_it_had_its_name_is_finished_by_the_next_run(
    segmenting, wholes, tmp_path
):
    whole, n_touches = wholes("objects", ".ome.zarr")
    output = tmp_path / "result.ome.zarr"
    for kill_at in range(n_touches, 0, -1):
        assert not segmenting(output, "objects", kill_at=kill_at, overwrite=True)["error"]
        if not is_over(output):
            break
    assert tree_hash(output) == whole
    assert "--overwrite to replace it" in segmenting(output, "objects")["error"]
    said = segmenting(output, "objects", resume=True)
    assert (said["error"], said["predicted"]) == (None, [])
    expect_whole(output, whole)


@pytest.fixture
def begun(files, tmp_path):
    """A run that was stopped after some tiles; returns what goes on with it, or not."""
    for name in ("image.tif", "model.safetensors"):
        shutil.copy2(files / name, tmp_path)
    output = tmp_path / "result.tif"

    def run(model=None, config=(), image=None, **options):
        model = model or load_model(tmp_path / "model.safetensors")
        config = SegmentConfig(**{"kind": "labels", "tile": 136, "halo": 4} | dict(config))
        image = image or open_image(tmp_path / "image.tif")
        return segment_stack(model, image, output, config, **options)

    stopped = run()
    next(stopped)
    next(stopped)
    stopped.close()
    assert noted(output) and not output.exists()
    return run


def refused(updates, match):
    with pytest.raises((ValueError, FileExistsError), match=match):
        next(updates)


def test_unfinished_work_is_neither_lost_nor_gone_on_with_unless_that_was_said(begun, tmp_path):
    before = noted(tmp_path / "result.tif")
    refused(begun(), "holds an unfinished result: --resume goes on with it, --overwrite begins anew")
    assert noted(tmp_path / "result.tif") == before
    n_updates = len(list(begun(overwrite=True)))
    assert n_updates == 8
    assert sorted(os.listdir(tmp_path)) == ["image.tif", "model.safetensors", "result.tif"]


def test_with_nothing_to_go_on_with_a_run_that_may_resume_begins(files, tmp_path):
    image = open_image(files / "image.tif")
    config = SegmentConfig("labels", tile=136, halo=4)
    assert len(list(segment_stack(random_model(), image, tmp_path / "a.tif", config, resume=True))) == 8


def test_another_model_is_refused(begun):
    refused(begun(random_model(seed=1), resume=True), "have changed: the model; begin anew with --overwrite")


def test_an_image_that_was_saved_again_or_differs_in_a_pixel_is_refused(begun, tmp_path):
    path = tmp_path / "image.tif"
    stack = tifffile.imread(path)
    facts = path.stat()
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns + 1))
    refused(begun(resume=True), "have changed: the image;")
    stack[0, 0, 0] += 1
    tifffile.imwrite(path, stack, imagej=True, metadata={"axes": "ZYX"})
    refused(begun(resume=True), "have changed: the image;")


@pytest.mark.parametrize(
    ("option", "value", "before"),
    [
        ("kind", "objects", "labels"),
        ("halo", "exact", "4"),
        ("tile", 64, "136"),
        ("precision", "fp32" if computes_bf16(torch.device("cpu")) else "bf16", ".*"),
        ("match_spacing", True, "False"),
        ("score_type", "uint8", "float32"),
        ("min_size", 5, "None"),
        ("keep_border", False, "True"),
    ],
)
def test_another_option_is_refused(option, value, before, begun, tmp_path):
    image, model = (
        open_image(tmp_path / "image.tif", spacing=(1, 1, 1)),
        load_model(tmp_path / "model.safetensors"),
    )
    if option == "match_spacing":  # which needs voxel sizes
        image, model = replace(image, unit="nm"), replace(model, unit="nm")
    refused(begun(model, {option: value}, image, resume=True), rf"{option} \({before} then, {value} now\)")


def test_another_voxel_size_or_other_axes_are_refused(begun, tmp_path):
    path = tmp_path / "image.tif"
    refused(
        begun(image=open_image(path, spacing=(2, 1, 1)), resume=True), r"spacing \(\[1.0, 1.0, 1.0\] then"
    )
    refused(begun(image=open_image(path, axes="TYX"), resume=True), r"axes \(ZYX then, TYX now\)")


def test_another_version_is_refused(begun, monkeypatch):
    monkeypatch.setattr("napari_unet.core.request.__version__", "99.0")
    refused(begun(resume=True), "have changed: napari-unet;")


def test_a_journal_of_another_kind_is_refused(begun, tmp_path):
    path = tmp_path / "result.tif.unfinished" / "journal.jsonl"
    header, *rest = path.read_text().splitlines(keepends=True)
    path.write_text(json.dumps(json.loads(header) | {"format": 99}) + "\n" + "".join(rest))
    refused(begun(resume=True), "begun by another version of napari-unet: begin anew with --overwrite")


@pytest.mark.parametrize("options", [{"resume": True}, {"overwrite": True}])
def test_two_runs_cannot_write_one_result(options, begun, tmp_path):
    first = begun(resume=True)
    next(first)
    with pytest.raises(OSError, match=r"^another run writes"):
        next(begun(**options))
    assert len(list(first)) > 0
    assert sorted(os.listdir(tmp_path)) == ["image.tif", "model.safetensors", "result.tif"]


def test_nobody_interferes_while_a_result_gets_its_name(begun, tmp_path, monkeypatch):
    tried = []

    def published(*arguments, **options):
        publish(*arguments, **options)
        tried.append(1)
        with pytest.raises(OSError, match=r"^another run writes"):
            next(begun(resume=True))

    monkeypatch.setattr(unfinished, "publish", published)
    list(begun(resume=True))
    assert tried
    assert sorted(os.listdir(tmp_path)) == ["image.tif", "model.safetensors", "result.tif"]


def test_nobody_interferes_while_a_result_is_planned(files, tmp_path, monkeypatch):
    image, output = open_image(files / "image.tif"), tmp_path / "a.tif"
    config, tried = SegmentConfig("labels", tile=136, halo=4), []

    def planned(*arguments):
        if not tried:
            tried.append(1)
            with pytest.raises(OSError, match=r"^another run writes"):
                next(segment_stack(random_model(), image, output, config))
        return plan_stack(*arguments)

    monkeypatch.setattr(unfinished, "plan_stack", planned)
    assert len(list(segment_stack(random_model(), image, output, config))) == 8
    assert tried and os.listdir(tmp_path) == ["a.tif"]


def test_what_another_run_has_finished_meanwhile_is_not_begun_anew(begun, tmp_path):
    request = Request(
        load_model(tmp_path / "model.safetensors"),
        open_image(tmp_path / "image.tif"),
        tmp_path / "result.tif",
        SegmentConfig("labels", tile=136, halo=4),
    )
    waiting = [Unfinished(request, resume=True, overwrite=overwrite) for overwrite in (False, True)]
    list(begun(resume=True))
    before = (tmp_path / "result.tif").stat().st_mtime_ns
    for run, match in zip(waiting, ("exists; give --overwrite", "has ended .* meanwhile"), strict=True):
        with pytest.raises(OSError, match=match):
            run.__enter__()
    assert (tmp_path / "result.tif").stat().st_mtime_ns == before
    assert sorted(os.listdir(tmp_path)) == ["image.tif", "model.safetensors", "result.tif"]


def test_what_another_run_has_done_meanwhile_is_not_done_again(begun, tmp_path):
    request = Request(
        load_model(tmp_path / "model.safetensors"),
        open_image(tmp_path / "image.tif"),
        tmp_path / "result.tif",
        SegmentConfig("labels", tile=136, halo=4),
    )
    run = Unfinished(request, resume=True)
    other = begun(resume=True)
    next(other)
    other.close()
    with pytest.raises(KeyboardInterrupt), run:
        assert set(run.done(next(run.work.phases()))) == noted(tmp_path / "result.tif")
        raise KeyboardInterrupt


def test_work_that_was_being_thrown_away_is_not_gone_on_with(begun, tmp_path, monkeypatch):
    def killed(path):
        path.unlink()
        raise KeyboardInterrupt

    monkeypatch.setattr("napari_unet.core.io.lock.remove", killed)
    with pytest.raises(KeyboardInterrupt):
        next(begun(overwrite=True))
    monkeypatch.undo()
    assert len(list(begun(resume=True))) == 8
    assert sorted(os.listdir(tmp_path)) == ["image.tif", "model.safetensors", "result.tif"]


def test_a_leftover_folder_without_a_journal_is_begun_anew(files, tmp_path):
    image, config = open_image(files / "image.tif"), SegmentConfig("labels", tile=136, halo=4)
    folder = tmp_path / "a.tif.unfinished"
    folder.mkdir()
    (folder / "result.tif").write_bytes(b"torn")
    (folder / "journal.jsonl").write_bytes(b'{"form')
    assert len(list(segment_stack(random_model(), image, tmp_path / "a.tif", config))) == 8
    assert os.listdir(tmp_path) == ["a.tif"]


@pytest.mark.parametrize("phase", ["seeds", "count", "publish"])
def test_a_disk_that_is_full_in_the_end_is_named_in_a_sentence(phase, files, tmp_path, monkeypatch):
    note = Journal.note

    def full(self, name, task, result):
        if name == phase:
            raise OSError(errno.ENOSPC, "No space left on device")
        note(self, name, task, result)

    monkeypatch.setattr(Journal, "note", full)
    image, config = open_image(files / "image.tif"), SegmentConfig("objects", tile=136, halo=4)
    with pytest.raises(OSError, match=r"no space for .*a\.tif"):
        list(segment_stack(random_model(), image, tmp_path / "a.tif", config))
    monkeypatch.undo()
    assert list(segment_stack(random_model(), image, tmp_path / "a.tif", config, resume=True)) is not None
    assert os.listdir(tmp_path) == ["a.tif"]


def test_what_seeds_are_called_is_found_out_once(files, tmp_path, monkeypatch):
    made = []

    class Counted(SeedNumbers):
        def __init__(self, *notes):
            made.append(self)
            super().__init__(*notes)

    monkeypatch.setattr(unfinished, "SeedNumbers", Counted)
    image, config = open_image(files / "image.tif"), SegmentConfig("objects", tile=136, halo=4)
    for _ in segment_stack(random_model(), image, tmp_path / "o.ome.zarr", config):
        pass
    assert len(made) == 1


def unplanned(*_):
    raise AssertionError("what cannot be written is refused before that")


def plate(folder):
    """An image as a field of a plate."""
    store = folder / "plate.zarr"
    zarr.create_group(store, zarr_format=3)
    zarr.create_group(store / "A", zarr_format=3)
    zarr.create_group(store / "A/1", zarr_format=3)
    field = store / "A/1/0"
    pixels = np.random.default_rng(0).integers(0, 99, (40, 530)).astype(np.uint16)
    with create_output(folder / "field.ome.zarr", (40, 530), "uint16", axes="YX", spacing=(1, 1)) as output:
        output.write((slice(0, 40), slice(0, 530)), pixels)
    (folder / "field.ome.zarr").rename(field)
    return field


def test_what_the_format_cannot_store_is_refused_before_anything_is_measured(files, tmp_path, monkeypatch):
    monkeypatch.setattr(unfinished, "plan_stack", unplanned)
    image, field = open_image(files / "image.tif"), plate(tmp_path)
    config = SegmentConfig("probabilities", score_type="float16")
    with pytest.raises(ValueError, match="OME-TIFF cannot store float16"):
        next(segment_stack(random_model(), image, tmp_path / "a.ome.tif", config))
    with pytest.raises(ValueError, match="cannot be labels inside 0"):
        inside = labels_path(field, "cells")
        next(segment_stack(random_model(), open_image(field), inside, config, image_store=field))
    assert os.listdir(tmp_path) == ["plate.zarr"]


@pytest.mark.filterwarnings("ignore:Consolidated metadata")
def test_labels_inside_a_field_of_a_plate_are_gone_on_with(tmp_path):
    field = plate(tmp_path)
    zarr.consolidate_metadata(field, zarr_format=3)
    config = SegmentConfig("labels", tile=136, halo=4)

    def run(name, **options):
        inside = labels_path(field, name)
        return segment_stack(random_model(), open_image(field), inside, config, image_store=field, **options)

    stopped = run("cells")
    next(stopped)
    stopped.close()
    assert sorted(os.listdir(tmp_path)) == ["plate.zarr", "plate.zarr.A.1.0.labels.cells.unfinished"]
    list(run("others"))  # which changes the metadata of the image
    assert len(list(run("cells", resume=True))) > 0
    assert os.listdir(tmp_path) == ["plate.zarr"]
    labels = zarr.open_group(field / "labels", mode="r").attrs["ome"]["labels"]
    assert labels == ["others", "cells"]


def test_a_sink_is_shown_what_was_there_before(begun, tmp_path):
    class Layer:
        def __init__(self):
            self.array = np.full((2, 40, 530), 9)

        def write(self, region, array):
            self.array[region] = array

    layer = Layer()
    list(begun(resume=True, also=layer))
    np.testing.assert_array_equal(layer.array, open_image(tmp_path / "result.tif").read()[0])
