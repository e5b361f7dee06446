"""A session without a window, small images, and a start whose jobs the test advances by hand."""

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_unet.session import jobs
from napari_unet.session.jobs import Failure, caught, run_now
from napari_unet.session.session import Session
from napari_unet.session.settings import Settings

SMALL = Settings(width=4, depth=1, patch_size=32, augmentation="none", device="cpu")


class Tried(Session):
    """A session that remembers what it told, and the hands of its user."""

    def __init__(self, viewer, start=run_now):
        super().__init__(viewer, start)
        self.teaching.settings = SMALL
        self.sentences, self.failures, self.updates, self.changes = [], [], [], []
        self.said.connect(self.sentences.append)
        self.failed.connect(lambda failure: self.failures.append(failure.sentence))
        self.updated.connect(self.updates.append)
        self.changed.connect(lambda: self.changes.append(self.state))

    @property
    def trainer(self):
        return self.teaching.trainer

    @property
    def wanted(self):
        """What the training is told."""
        return self.trainer._directions.wanted

    @property
    def look(self):
        """What is predicted."""
        return self.trainer._directions.look

    def paint(self, value, rows, columns, plane=None):
        """Paint a rectangle on the chosen image, as napari's tools do; it is found at the next tick."""
        layer = self.desk.annotate().layer
        height, width = layer.data.shape[-2:]
        places = np.mgrid[slice(*slice(*rows).indices(height)), slice(*slice(*columns).indices(width))]
        places = places.reshape(2, -1)
        plane = self.desk.plane if plane is None else plane
        layer.data_setitem((*(np.full(places.shape[1], at) for at in plane), *places), value)

    def paint_both(self, plane=None):
        """Paint background and foreground where `blobs` has them."""
        self.paint(1, (2, 14), (2, 62), plane)
        self.paint(2, (17, 31), (17, 31), plane)
        self.paint(2, (17, 31), (50, 62), plane)
        self.tick()

    def train_for(self, n_steps=3):
        """Train a little, where jobs end before they return."""
        first = self.trainer.steps if self.trainer else 0

        def look(update):
            self.tick()
            if update.step >= first + n_steps and self.state.phase == "training":
                self.updated.disconnect(look)
                self.stop()

        self.updated.connect(look)
        self.train()
        assert not self.failures, self.failures


class Job:
    """A job that takes a step when told."""

    def __init__(self, work, shown, done, failed):
        self.work, self.shown, self.done, self.failed = caught(work), shown, done, failed
        self.is_over = False

    def step(self):
        try:
            news = next(self.work)
        except StopIteration as end:
            self.is_over = True
            self.failed(end.value) if isinstance(end.value, Failure) else self.done(end.value)
        else:
            self.shown(news)


class ByHand:
    """A start that collects the jobs of these names, to be advanced a step at a time; others run at once."""

    def __init__(self, names=("training", "work")):
        self.names, self.jobs = names, []

    def __call__(self, work, shown, done, failed):
        if work.__name__ in self.names:
            self.jobs.append(Job(work, shown, done, failed))
        else:
            run_now(work, shown, done, failed)

    @property
    def running(self):
        self.jobs = [job for job in self.jobs if not job.is_over]
        return self.jobs

    def step(self, n=1):
        """Take n steps of everything that runs."""
        for _ in range(n):
            for job in tuple(self.running):
                job.step()

    def until(self, condition):
        """Take steps until something has come about."""
        for _ in range(100):
            if condition():
                return
            self.step()
        raise AssertionError("it does not come about")

    def finish(self):
        """Run everything to its end."""
        for _ in range(1000):
            if not self.running:
                return
            self.step()
        raise AssertionError("the jobs do not end")


@pytest.fixture(autouse=True)
def strange_errors(monkeypatch):
    """Errors that no refusal of ours explains; the dock would tell them and live on, a test does not."""
    strange, put_into_words = [], jobs.failure

    def look(error):
        if not isinstance(error, ValueError | TypeError | OSError | MemoryError):
            strange.append(error)
        return put_into_words(error)

    monkeypatch.setattr(jobs, "failure", look)
    yield strange
    assert not strange


@pytest.fixture
def quick(monkeypatch, tmp_path):
    """Every step is told, a mask is shown after the first, strokes are looked for at every tick."""
    monkeypatch.setattr("napari_unet.core.training.UPDATE_SECONDS", 0)
    monkeypatch.setattr("napari_unet.core.training.FIRST_STEPS", 1)
    monkeypatch.setattr("napari_unet.session.session.SYNC_SECONDS", 0)
    monkeypatch.setenv("NAPARI_UNET_HOME", str(tmp_path / "home"))


@pytest.fixture
def settle(monkeypatch):
    """Call it, and a training ends at its next step as if its score had settled."""
    name = "napari_unet.core.schedule.Schedule.is_over"
    return lambda on=True: monkeypatch.setattr(name, lambda self, now: on)


@pytest.fixture
def blobs():
    """Return an image of bright squares on a noisy ground."""

    def make(*shape, seed=0):
        noise = np.random.default_rng(seed).normal(100, 10, shape)
        rows, columns = np.indices(shape[-2:])
        return (noise + 100 * (rows // 16 % 2 & columns // 16 % 2)).astype(np.float32)

    return make


@pytest.fixture
def viewer():
    return ViewerModel()


@pytest.fixture
def new_session(quick):
    """Open a session on a viewer with images."""

    def make(viewer, start=run_now):
        session = Tried(viewer, start)
        session.tick()
        return session

    return make


@pytest.fixture
def session(viewer, blobs, new_session):
    """A session on a small image, whose jobs end before they return."""
    viewer.add_image(blobs(64, 64), name="blobs")
    return new_session(viewer)


@pytest.fixture
def by_hand():
    return ByHand()


@pytest.fixture
def live(viewer, by_hand, blobs, new_session):
    """A session on a painted image; trainings and segmentations go on as the test says."""
    viewer.add_image(blobs(64, 64), name="blobs")
    session = new_session(viewer, by_hand)
    session.paint_both()
    return session
