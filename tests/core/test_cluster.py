"""Stacks on a Dask cluster: real worker processes, which are killed, and what several processes cannot do."""

import json
import os
import shutil
import signal
import subprocess
import sys
from functools import partial
from hashlib import sha256
from operator import length_hint
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
import zarr

pytest.importorskip("distributed", reason="pip install 'napari-unet[cluster]'")
import psutil  # comes with distributed

from napari_unet.core.cluster import connect, local_client, segment_on_cluster, trust_warning
from napari_unet.core.cluster.job import handed_over, run_tasks
from napari_unet.core.cluster.spreading import AHEAD, spread
from napari_unet.core.io import Image, open_image
from napari_unet.core.layouts import SegmentConfig
from napari_unet.core.modelfile import Model, save_model
from napari_unet.core.networks.unet import UNet, UNetConfig
from napari_unet.core.objects import ObjectRules
from napari_unet.core.request import Request
from napari_unet.core.stacks import segment_stack
from napari_unet.core.targets import OBJECT_CLASSES, ClassLabel
from napari_unet.core.unfinished import Unfinished

CONFIG = SegmentConfig(halo=16, tile=32)
N_TILES = 5 * 3 * 3

# what the driver does that is killed: it ends itself in the middle, without a chance to tidy up
KILLED_DRIVER = """
import os, signal, sys
from napari_unet.core import load_model, open_image
from napari_unet.core.cluster import connect, segment_on_cluster
from napari_unet.core.layouts import SegmentConfig
model, image, output, address = sys.argv[1:]
with connect(address) as client:
    updates = segment_on_cluster(
        load_model(model), open_image(image), output, SegmentConfig("objects", 16, 32), client=client
    )
    for n_done, _ in enumerate(updates, 1):
        if n_done == 11:
            os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(scope="module")
def client():
    with local_client(2) as client:
        yield client


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    classes = (ClassLabel(1, 0, "background"), ClassLabel(2, 7, "cell"))
    network = UNet(UNetConfig(width=4, depth=1)).eval()
    return Model(network, "unet", "classes", classes, "YX", (1.0, 1.0), "pixel", ("",), "percentile", {}, "0")


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    path = tmp_path_factory.mktemp("images") / "ein Stapel.tif"
    pixels = np.random.default_rng(0).integers(0, 4000, (5, 90, 70)).astype(np.uint16)
    tifffile.imwrite(path, pixels)
    return path


def bytes_of(store):
    files = sorted(path for path in store.rglob("*") if path.is_file())
    assert files
    return {str(path.relative_to(store)): sha256(path.read_bytes()).hexdigest() for path in files}


def unfinished(output):
    return output.with_name(f"{output.name}.unfinished")


def tasks_of(folder, phase):
    lines = map(json.loads, (folder / "journal.jsonl").read_text().splitlines())
    return sorted(line["task"] for line in lines if line.get("phase") == phase)


@pytest.mark.parametrize(
    ("kind", "precision"), [("labels", "auto"), ("probabilities", "fp32"), ("objects", "bf16")]
)
def test_a_cluster_writes_the_bytes_that_one_process_writes(kind, precision, client, model, stack, tmp_path):
    config = SegmentConfig(kind, 16, 32, precision=precision)
    one, many = tmp_path / "one.ome.zarr", tmp_path / "many.ome.zarr"
    alone = list(segment_stack(model, open_image(stack), one, config))
    updates = list(segment_on_cluster(model, open_image(stack), many, config, client=client))
    assert bytes_of(many) == bytes_of(one)
    assert sorted((u.phase, u.task) for u in updates) == sorted((u.phase, u.task) for u in alone)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["many.ome.zarr", "one.ome.zarr"]


def test_a_cluster_grows_sifts_and_links_the_objects_of_one_process(client, stack, tmp_path):
    torch.manual_seed(0)
    network = UNet(UNetConfig(width=4, depth=1, n_classes=3)).eval()
    with torch.no_grad():
        network.head.weight *= 100  # so that it is sure of something
    about = ("YX", (1.0, 1.0), "pixel", ("",), "percentile", {}, "0")
    model = Model(network, "unet", "objects", OBJECT_CLASSES, *about, ObjectRules(0.6, 0.4, 9, (9, 9)))
    config = SegmentConfig(halo=16, tile=32, min_size=5, keep_border=False, link=True)
    one, many = tmp_path / "one.ome.zarr", tmp_path / "many.ome.zarr"
    list(segment_stack(model, open_image(stack), one, config))
    phases = {
        update.phase for update in segment_on_cluster(model, open_image(stack), many, config, client=client)
    }
    assert bytes_of(many) == bytes_of(one)
    assert {"seeds", "objects", "links", "numbers"} < phases
    assert open_image(many).read().max() > 10


def test_a_worker_that_is_killed_costs_only_its_tasks(client, model, stack, tmp_path, caplog):
    caplog.set_level("CRITICAL", "distributed")  # one of its messages about lost results cannot be formatted
    one, many = tmp_path / "one.ome.zarr", tmp_path / "many.ome.zarr"
    list(segment_stack(model, open_image(stack), one, CONFIG))
    before = client.run(os.getpid)
    updates = segment_on_cluster(model, open_image(stack), many, CONFIG, client=client)
    seen = [next(updates)]
    os.kill(next(iter(before.values())), signal.SIGKILL)
    seen += updates
    assert bytes_of(many) == bytes_of(one)
    assert len(seen) == N_TILES
    client.wait_for_workers(2)
    assert set(client.run(os.getpid).values()) != set(before.values())


def test_a_driver_that_is_killed_is_gone_on_with_by_either(client, model, stack, tmp_path):
    config = SegmentConfig("objects", 16, 32)
    whole, many, one = (tmp_path / f"{name}.ome.zarr" for name in ("whole", "many", "one"))
    list(segment_stack(model, open_image(stack), whole, config))
    save_model(model, tmp_path / "model.safetensors")
    command = [sys.executable, "-c", KILLED_DRIVER, tmp_path / "model.safetensors", stack, many]
    killed = subprocess.run([*map(str, command), client.scheduler.address], check=False)
    assert killed.returncode == -signal.SIGKILL and not many.exists()
    shutil.copytree(unfinished(many), unfinished(one))
    n_done = len(tasks_of(unfinished(many), "tiles"))
    assert 0 < n_done < N_TILES

    updates = list(segment_on_cluster(model, open_image(stack), many, config, client=client, resume=True))
    assert sum(update.phase == "tiles" for update in updates) == N_TILES - n_done
    list(segment_stack(model, open_image(stack), one, config, resume=True))
    assert bytes_of(many) == bytes_of(one) == bytes_of(whole)


def test_what_is_cancelled_stops_on_the_workers_and_can_be_gone_on_with(client, model, stack, tmp_path):
    one, many = tmp_path / "one.ome.zarr", tmp_path / "many.ome.zarr"
    updates = segment_on_cluster(model, open_image(stack), many, CONFIG, client=client)
    next(updates)
    updates.close()
    assert not many.exists() and not list(unfinished(many).glob("job-*"))
    with pytest.raises(FileExistsError, match="--resume"):
        next(segment_on_cluster(model, open_image(stack), many, CONFIG, client=client))
    list(segment_on_cluster(model, open_image(stack), many, CONFIG, client=client, resume=True))
    list(segment_stack(model, open_image(stack), one, CONFIG))
    assert bytes_of(many) == bytes_of(one)


def test_an_error_in_a_worker_is_the_sentence_of_one_process(client, model, tmp_path):
    path, output = tmp_path / "image.zarr", tmp_path / "out.ome.zarr"
    pixels = np.random.default_rng(0).integers(0, 4000, (5, 90, 70)).astype(np.uint16)
    zarr.create_array(str(path), data=pixels, chunks=(1, 90, 70), dimension_names=("z", "y", "x"))
    chunk = path / "c" / "4" / "0" / "0"
    facts, good = chunk.stat(), chunk.read_bytes()

    def hold(content):
        chunk.write_bytes(content)
        os.utime(chunk, ns=(facts.st_atime_ns, facts.st_mtime_ns))  # as a backup gives it back

    begun = segment_stack(model, open_image(path), output, CONFIG)
    next(begun)
    begun.close()
    hold(bytes(reversed(good)))
    run = partial(segment_on_cluster, model, open_image(path), output, CONFIG, client=client, resume=True)
    with pytest.raises(
        ValueError, match=r"image\.zarr cannot be read .* copy the file again or save it anew"
    ):
        list(run())
    assert not output.exists() and len(tasks_of(unfinished(output), "tiles")) < N_TILES
    hold(good)
    assert len(list(run())) < N_TILES
    assert output.exists()


@pytest.mark.parametrize(
    ("name", "config", "sentence"),
    [
        ("out.tif", CONFIG, r"several workers cannot write one out.tif: choose an output that ends in .ome"),
        ("out.ome.zarr", SegmentConfig(match_spacing=True), "match-spacing"),
        ("out.png", CONFIG, "no suffix of an output"),
    ],
)
def test_what_several_processes_cannot_do_is_refused_at_once(name, config, sentence, model, stack, tmp_path):
    with pytest.raises(ValueError, match=sentence):
        next(segment_on_cluster(model, open_image(stack), tmp_path / name, config, client=None))
    assert not list(tmp_path.iterdir())


def test_an_image_in_memory_is_refused(model, tmp_path):
    image = Image(np.zeros((20, 30), np.uint8), "YX", (1.0, 1.0), "nm", ("",), "sample")
    with pytest.raises(ValueError, match="workers cannot open sample, which is no file: open it with"):
        next(segment_on_cluster(model, image, tmp_path / "out.ome.zarr", client=None))


def test_a_worker_that_comes_late_does_nothing(model, stack, tmp_path):
    request = Request(model, open_image(stack), tmp_path / "out.ome.zarr", SegmentConfig(precision="fp32"))
    with pytest.raises(KeyboardInterrupt), Unfinished(request) as run:
        with handed_over(request, run.journal.header) as job:
            (note,) = run_tasks(job, "tiles", 0, [(0, None)])
            run.journal.note("tiles", 0, note)
        files = bytes_of(run.folder)
        for late in (job, f"{job}.other"):  # what is open already, and what is not
            with pytest.raises(OSError, match=r"nobody waits for|does not find"):
                run_tasks(late, "tiles", 0, [(1, None)])
        assert bytes_of(run.folder) == files
        raise KeyboardInterrupt


def test_a_worker_of_another_version_is_refused(model, stack, tmp_path):
    request = Request(model, open_image(stack), tmp_path / "out.ome.zarr", SegmentConfig(precision="fp32"))
    with Unfinished(request) as run, handed_over(request, run.journal.header) as job:
        text = json.dumps(json.loads(Path(job).read_text()) | {"napari-unet": "0.0"}).encode()
        other = tmp_path / f"job-{sha256(text).hexdigest()[:16]}.json"
        other.write_bytes(text)
        with pytest.raises(ValueError, match=r"has napari-unet .* and this run 0\.0: install the same"):
            run_tasks(str(other), "tiles", 0, [(0, None)])


def test_workers_that_do_not_fit_into_the_memory_are_refused(client, model, stack, tmp_path, monkeypatch):
    monkeypatch.setattr("napari_unet.core.cluster.segmenting.free_memory", lambda device: 6e8)
    output = tmp_path / "out.ome.zarr"
    with pytest.raises(ValueError, match=r"2 workers need about .* and 0\.6 GB are free: .* --tile or fewer"):
        next(segment_on_cluster(model, open_image(stack), output, CONFIG, client=client))
    assert not list(tmp_path.iterdir())


def test_a_worker_without_the_package_is_named(model, stack, tmp_path, client, monkeypatch):
    """The name of a package that no worker has stands for a worker that has none."""
    monkeypatch.setattr("napari_unet.core.cluster.segmenting.PACKAGE", "no-such-package")
    with pytest.raises(ValueError, match=r"the worker tcp://127\.0\.0\.1:\d+ lacks no-such-package"):
        next(segment_on_cluster(model, open_image(stack), tmp_path / "out.ome.zarr", CONFIG, client=client))
    assert not list(tmp_path.iterdir())


def test_tiny_tasks_go_in_batches_of_which_few_are_on_their_way(client):
    todo, n_ahead = iter(range(20_000)), []
    for n_done, (task, result) in enumerate(
        spread(client, lambda tasks: [each * each for each in tasks], todo), 1
    ):
        assert result == task * task
        n_ahead.append(20_000 - length_hint(todo) - n_done)
    assert n_done == 20_000
    assert n_ahead[0] < 4 * AHEAD  # it is not known yet how long a task takes
    assert max(n_ahead) >= 100


def test_an_error_of_one_task_cancels_the_others(client):
    def fail_at_7(tasks):
        if 7 in tasks:
            raise OSError("no space for it; free some")
        return tasks

    with pytest.raises(OSError, match="no space for it; free some"):
        list(spread(client, fail_at_7, range(10**9)))
    assert list(spread(client, lambda tasks: tasks, [3])) == [(3, 3)]


def test_a_task_that_keeps_ending_workers_ends_with_a_sentence(client):
    def end_worker(tasks):
        os.kill(os.getpid(), signal.SIGKILL)

    before = client.run_on_scheduler(allow_failures, n=0)
    try:
        with pytest.raises(OSError, match=r"1 workers ended one after another .* a smaller --tile"):
            list(spread(client, end_worker, [0]))
    finally:
        client.run_on_scheduler(allow_failures, n=before)


def allow_failures(dask_scheduler, n):
    before, dask_scheduler.allowed_failures = dask_scheduler.allowed_failures, n
    return before


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("8786", "no address of a scheduler: give tcp://host:port or tls"),
        ("http://localhost:8786", "no address of a scheduler"),
        (
            "tls://localhost:8786",
            "no certificates for tls://localhost:8786: name them in distributed.comm.tls",
        ),
    ],
)
def test_what_is_no_address_is_refused(address, sentence):
    with pytest.raises(ValueError, match=sentence), connect(address):
        pass


def test_a_scheduler_that_does_not_answer_is_an_error(monkeypatch):
    monkeypatch.setattr("napari_unet.core.cluster.clients._SECONDS", 1)
    with (
        pytest.raises(OSError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9"),
        connect("tcp://127.0.0.1:9"),
    ):
        pass


def test_who_connects_to_another_machine_without_tls_is_warned():
    assert "pickles" in trust_warning("tcp://10.0.0.7:8786")
    for trusted in (
        "tcp://localhost:8786",
        "tcp://127.0.0.1:8786",
        "tcp://[::1]:8786",
        "tls://10.0.0.7:8786",
    ):
        assert trust_warning(trusted) is None


def test_nothing_outside_this_machine_reaches_local_workers(client):
    here = psutil.Process()
    open_to = {
        connection.laddr.ip
        for process in (here, *here.children(recursive=True))
        for connection in process.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    }
    assert open_to == {"127.0.0.1"}


def test_no_workers_and_no_dask_are_sentences(monkeypatch):
    with pytest.raises(ValueError, match="there are to be 0 workers"), local_client(0):
        pass
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ValueError, match=r"pip install 'napari-unet\[cluster\]'"), local_client(2):
        pass
