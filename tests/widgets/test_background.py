import gc
import threading
import warnings

import pytest
from qtpy.QtCore import QThreadPool

from napari_unet.session.jobs import Failure
from napari_unet.widgets.background import start_in_thread


class Heard:
    def __init__(self):
        self.shown, self.done, self.failed, self.threads = [], [], [], set()

    def start(self, work):
        start_in_thread(work, self.on_shown, self.done.append, self.failed.append)

    def on_shown(self, update):
        self.shown.append(update)
        self.threads.add(threading.current_thread())

    @property
    def ended(self):
        return bool(self.done or self.failed)


@pytest.fixture
def heard(qtbot):
    yield Heard()
    assert QThreadPool.globalInstance().waitForDone(10_000)


def count(n):
    yield from range(n)
    return threading.current_thread()


def until(event, result):
    while not event.wait(0.005):
        yield
    return result


def test_updates_and_the_result_arrive_in_order_in_the_gui_thread(qtbot, heard):
    heard.start(count(5))
    qtbot.waitUntil(lambda: heard.ended)
    assert heard.shown == [0, 1, 2, 3, 4]
    assert heard.threads == {threading.main_thread()}
    assert heard.done != [threading.main_thread()]


@pytest.mark.parametrize("error", [ValueError("w0 is -1: choose 0 or more"), RuntimeError("broken")])
def test_an_error_arrives_as_a_sentence(qtbot, heard, error):
    def work():
        yield 1
        raise error

    heard.start(work())
    qtbot.waitUntil(lambda: heard.ended)
    assert isinstance(heard.failed[0], Failure)
    assert str(error) in heard.failed[0].sentence
    assert "Traceback" in heard.failed[0].details
    assert not heard.done


def test_a_job_lives_without_anybody_holding_it(qtbot, heard):
    heard.start(count(3))
    gc.collect()
    qtbot.waitUntil(lambda: heard.ended)


def test_long_jobs_keep_no_thread_from_a_short_one(qtbot, heard):
    pool, stop, long = QThreadPool.globalInstance(), threading.Event(), Heard()
    before = pool.activeThreadCount()
    for _ in range(pool.maxThreadCount() + 1):
        long.start(until(stop, "long"))
    heard.start(count(1))
    qtbot.waitUntil(lambda: heard.ended)
    assert not long.ended
    stop.set()
    qtbot.waitUntil(lambda: len(long.done) == pool.maxThreadCount() + 1)
    qtbot.waitUntil(lambda: pool.activeThreadCount() == before)


def test_jobs_that_end_in_another_order_leave_the_warnings_filters_alone(qtbot, heard):
    before = warnings.filters[:], warnings.showwarning
    ends = threading.Event(), threading.Event()
    jobs = Heard(), Heard()
    for job, end in zip(jobs, ends, strict=True):
        job.start(until(end, "done"))
    for job, end in zip(jobs, ends, strict=True):
        end.set()
        qtbot.waitUntil(lambda job=job: job.ended)
    assert (warnings.filters[:], warnings.showwarning) == before
