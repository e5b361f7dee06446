import threading
from dataclasses import dataclass, field

import numpy as np
import pytest
from napari.layers import Image, Labels

from napari_unet.session import autosave as module
from napari_unet.session.annotated import Annotated
from napari_unet.session.autosave import PAUSE_SECONDS, RETRY_SECONDS, Autosave
from napari_unet.session.classes import DEFAULT_CLASSES, add_class
from napari_unet.session.images import ImageChoice
from napari_unet.session.jobs import run_now
from napari_unet.session.kept import find_kept


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("NAPARI_UNET_HOME", str(tmp_path))
    return tmp_path


@dataclass(frozen=True)
class Choice:
    name: str = "nuclei"
    annotation_shape: tuple[int, ...] = (3, 4, 5)


@dataclass(eq=False)
class Painted:
    key: str = "nuclei"
    task: str = "classes"
    choice: Choice = field(default_factory=Choice)
    complete: set = field(default_factory=set)
    data: np.ndarray = field(default_factory=lambda: np.zeros((3, 4, 5), np.int32))

    @property
    def planes(self):
        return tuple((z,) for z in range(3) if self.data[z].any() or (z,) in self.complete)

    @property
    def cells(self):
        return {(z,): {(0, 0): self.data[z].copy()} for z in range(3) if self.data[z].any()}


class Later:
    """Start jobs when the test says so."""

    def __init__(self):
        self.jobs = []

    def __call__(self, *job):
        self.jobs.append(job)

    def run(self):
        run_now(*self.jobs.pop(0))


def painted_with(value, **kwargs):
    painted = Painted(**kwargs)
    painted.data[0, 0] = value
    return painted


def value_kept(key="nuclei", task=None):
    return dict(find_kept(key, task).cells())[0,][0, 0][0, 0]


def fail_loudly(failure):
    raise AssertionError(failure.details)


def test_strokes_are_kept_with_complete_planes_and_classes():
    saving, painted = Autosave(run_now, fail_loudly), painted_with(2, complete={(1,)})
    saving.note(painted, add_class(DEFAULT_CLASSES))
    saving.tick(0)
    found = find_kept("nuclei")
    np.testing.assert_array_equal(dict(found.cells())[0,][0, 0], painted.data[0])
    assert (found.image_name, found.task, found.shape) == ("nuclei", "classes", (3, 4, 5))
    assert found.complete == {(1,)}
    assert found.classes == add_class(DEFAULT_CLASSES)


def test_what_is_painted_on_a_layer_is_kept():
    image, labels = Image(np.zeros((3, 40, 50)), name="stack"), Labels(np.zeros((3, 40, 50), np.uint8))
    annotated = Annotated(ImageChoice((image,), "ZYX"), labels, "classes")
    saving = Autosave(run_now, fail_loudly)
    labels.brush_size = 6
    labels.paint((1, 20, 20), 2)
    annotated.changed_planes()
    saving.note(annotated, DEFAULT_CLASSES)
    saving.flush()
    planes = {index: cells[0, 0] for index, cells in find_kept(annotated.key).cells()}
    assert list(planes) == [(1,)]
    np.testing.assert_array_equal(planes[1,], labels.data[1])


def test_every_few_seconds_and_only_when_something_changed(home):
    start = Later()
    saving, painted = Autosave(start, fail_loudly), painted_with(1)
    saving.tick(0)
    assert not start.jobs
    saving.note(painted, DEFAULT_CLASSES)
    saving.tick(1)
    start.run()
    saving.note(painted, DEFAULT_CLASSES)
    saving.tick(1 + PAUSE_SECONDS / 2)
    assert not start.jobs
    saving.tick(1 + PAUSE_SECONDS)
    start.run()
    saving.tick(1 + 2 * PAUSE_SECONDS)
    assert not start.jobs


def test_a_slow_disk_is_asked_less_often(monkeypatch):
    clock = iter([0.0, 3.0])
    monkeypatch.setattr(module, "perf_counter", lambda: next(clock))
    start = Later()
    saving, painted = Autosave(start, fail_loudly), painted_with(1)
    saving.note(painted, DEFAULT_CLASSES)
    saving.tick(0)
    start.run()
    saving.note(painted, DEFAULT_CLASSES)
    saving.tick(29)
    assert not start.jobs
    saving.tick(30)
    assert start.jobs


def test_there_are_never_two_jobs_at_once():
    start = Later()
    saving, painted = Autosave(start, fail_loudly), painted_with(1)
    for now in (0, 100, 200):
        saving.note(painted, DEFAULT_CLASSES)
        saving.tick(now)
    assert len(start.jobs) == 1
    start.run()
    saving.tick(300)
    assert len(start.jobs) == 1


def test_what_is_painted_while_a_job_waits_does_not_reach_it():
    start = Later()
    saving, painted = Autosave(start, fail_loudly), painted_with(1)
    saving.note(painted, DEFAULT_CLASSES)
    saving.tick(0)
    painted.data[0, 0] = 9
    start.run()
    assert value_kept() == 1


def test_strokes_that_are_erased_are_erased_where_they_are_kept():
    saving, painted = Autosave(run_now, fail_loudly), painted_with(1)
    painted.data[2] = 1
    saving.note(painted, DEFAULT_CLASSES)
    saving.tick(0)
    painted.data[2] = 0
    saving.note(painted, DEFAULT_CLASSES)
    saving.tick(10)
    assert list(find_kept("nuclei").corners) == [(0,)]


def test_an_annotation_without_strokes_leaves_no_trace(home):
    saving = Autosave(run_now, fail_loudly)
    saving.note(Painted(), DEFAULT_CLASSES)
    saving.tick(0)
    saving.flush()
    assert not any(home.iterdir())


def test_each_image_and_task_is_kept_and_gets_the_model_of_its_task():
    saving = Autosave(run_now, fail_loudly)
    saving.note(painted_with(1), DEFAULT_CLASSES)
    saving.note_model("classes", lambda path: path.write_text("model"))
    saving.tick(0)
    saving.note(painted_with(2, key="cells"), DEFAULT_CLASSES)
    saving.note(painted_with(3, task="objects"), DEFAULT_CLASSES)
    saving.tick(10)
    assert (value_kept("nuclei", "classes"), value_kept("cells"), value_kept("nuclei", "objects")) == (
        1,
        2,
        3,
    )
    models = [find_kept(key, "classes").model.read_text() for key in ("cells", "nuclei")]
    assert models == ["model", "model"] and find_kept("nuclei", "objects").model is None
    assert find_kept("nuclei", "classes").path.parent == find_kept("nuclei", "objects").path.parent


def test_the_model_is_written_once_for_each_change():
    calls = []
    saving = Autosave(run_now, fail_loudly)
    saving.note(painted_with(1), DEFAULT_CLASSES)
    saving.note_model("classes", calls.append)
    for now in (0, 10, 20):
        saving.tick(now)
    assert len(calls) == 1
    saving.note_model("classes", calls.append)
    saving.tick(30)
    assert len(calls) == 2


def test_the_close_writes_everything_before_it_returns():
    saving, painted = Autosave(Later(), fail_loudly), painted_with(1)
    saving.note(painted, DEFAULT_CLASSES)
    saving.flush()
    assert value_kept() == 1


def test_a_job_that_comes_after_the_close_overwrites_nothing():
    start = Later()
    saving, painted = Autosave(start, fail_loudly), painted_with(1)
    saving.note(painted, DEFAULT_CLASSES)
    saving.tick(0)
    painted.data[0, 0] = 2
    saving.note(painted, DEFAULT_CLASSES)
    saving.flush()
    start.run()
    assert value_kept() == 2


def test_the_close_waits_for_the_job_that_is_writing():
    writing, go_on = threading.Event(), threading.Event()
    order, threads = [], []

    def slow(path):
        writing.set()
        go_on.wait()
        order.append("job")

    def in_thread(*job):
        threads.append(threading.Thread(target=run_now, args=job))
        threads[-1].start()

    saving = Autosave(in_thread, fail_loudly)
    saving.note(painted_with(1), DEFAULT_CLASSES)
    saving.note_model("classes", slow)
    saving.tick(0)
    writing.wait()
    saving.note_model("classes", lambda path: order.append("close"))
    threading.Timer(0.05, go_on.set).start()
    saving.flush()
    threads[0].join()
    assert order == ["job", "close"]


def test_a_disk_that_refuses_is_told_once_and_asked_again_later(home):
    told = []
    (home / "kept").write_text("in the way")
    saving, painted = Autosave(run_now, told.append), painted_with(1)
    saving.note(painted, DEFAULT_CLASSES)
    saving.tick(0)
    saving.tick(RETRY_SECONDS)
    assert len(told) == 1
    assert "cannot be kept" in told[0].sentence and "\n" not in told[0].sentence
    (home / "kept").unlink()
    saving.tick(RETRY_SECONDS * 1.5)
    assert find_kept("nuclei") is None
    saving.tick(RETRY_SECONDS * 2)
    assert value_kept() == 1


def test_a_model_that_cannot_be_written_does_not_hold_up_strokes():
    told = []

    def refuse(path):
        raise OSError("no room for a model")

    saving = Autosave(run_now, told.append)
    saving.note_model("classes", refuse)
    saving.note(painted_with(1), DEFAULT_CLASSES)
    saving.note(painted_with(2, key="cells"), DEFAULT_CLASSES)
    saving.tick(0)
    assert (value_kept("nuclei"), value_kept("cells")) == (1, 2)
    assert [failure.sentence for failure in told] == ["no room for a model"]


def test_an_image_that_is_given_other_data_changes_nothing_that_is_kept():
    saving, painted = Autosave(run_now, fail_loudly), painted_with(1)
    saving.note(painted, DEFAULT_CLASSES)
    painted.choice = Choice(annotation_shape=(3, 9, 9))
    saving.seal(painted)
    saving.flush()
    assert find_kept("nuclei").shape == (3, 4, 5) and value_kept() == 1


def test_a_forgotten_model_is_removed_and_written_no_more():
    start = Later()
    saving = Autosave(start, fail_loudly)
    saving.note(painted_with(1), DEFAULT_CLASSES)
    saving.note_model("classes", lambda path: path.write_text("model"))
    saving.tick(0)
    saving.forget_model("classes")
    start.run()  # it had begun before
    saving.note(painted_with(2, key="cells"), DEFAULT_CLASSES)
    saving.flush()
    assert find_kept("nuclei").model is None and find_kept("cells").model is None
    saving.note_model("classes", lambda path: path.write_text("another"))
    saving.flush()
    assert find_kept("nuclei").model.read_text() == "another"


def test_the_model_is_written_once_for_all_images():
    calls = []
    saving = Autosave(run_now, fail_loudly)
    saving.note_model("classes", calls.append)
    for key in "abc":
        saving.note(painted_with(1, key=key), DEFAULT_CLASSES)
    saving.flush()
    assert len(calls) == 1


def test_an_annotation_whose_layer_has_gone_is_kept_and_found_again():
    saving, painted = Autosave(run_now, fail_loudly), painted_with(1)
    saving.note(painted, DEFAULT_CLASSES)
    saving.tick(0)
    assert saving.find("nuclei") is None  # it is on the screen
    painted.data[0, 0] = 2
    saving.note(painted, DEFAULT_CLASSES)
    saving.seal(painted)
    saving.flush()
    assert dict(saving.find("nuclei").cells())[0,][0, 0][0, 0] == 2


def test_a_new_annotation_of_the_same_image_does_not_overwrite_the_old_one():
    saving = Autosave(run_now, fail_loudly)
    saving.note(painted_with(1), DEFAULT_CLASSES)
    saving.note(painted_with(2), DEFAULT_CLASSES)
    saving.flush()
    assert value_kept() == 2
    assert dict(saving.find("nuclei").cells())[0,][0, 0][0, 0] == 1
