"""Images that are slow to read: nothing is read but in jobs, one at a time, and what is newest counts."""

import numpy as np
import pytest

from napari_unet.session.views import Sought


class Slow:
    """Pixels of a file that are not in memory; they may go away."""

    def __init__(self, array):
        self.array, self.shape, self.dtype, self.ndim = array, array.shape, array.dtype, array.ndim
        self.is_gone, self.planes = False, []

    def __getitem__(self, region):
        if self.is_gone:
            raise OSError("image.tif is gone: put it back")
        found = self.array[region]
        if region[-1].stop is not None:  # as we read; napari takes planes whole
            self.planes.append(region[0].start)
        return found


@pytest.fixture
def slow(blobs):
    return Slow(blobs(8, 64, 64))


@pytest.fixture
def lazy(viewer, slow, by_hand, new_session):
    """A session on a slow image, painted on one plane; it is measured already."""
    by_hand.names = ("training", "read", "fetch")
    viewer.add_image(slow, name="slow", contrast_limits=(0, 300))
    session = new_session(viewer, by_hand)
    viewer.dims.set_point(0, 0)
    session.paint_both((1,))
    session.teaching.intensities.when_known([session.state.choice], lambda: None)
    slow.planes.clear()
    return session


@pytest.fixture
def training(lazy, by_hand, slow):
    lazy.train()
    by_hand.until(lambda: lazy.state.phase == "training" and lazy.wanted.view is not None)
    slow.planes.clear()
    return lazy


def predicted(session, z):
    """Tell whether anything is predicted on a plane."""
    name = "slow prediction"
    return name in session.viewer.layers and session.viewer.layers[name].data[z].any()


def places(session):
    return [example.place[0] for example in session.wanted.examples]


def test_a_training_begins_when_all_is_read_in_a_job(lazy, by_hand, slow):
    lazy.train()
    assert lazy.state.phase == "preparing" and not slow.planes and len(by_hand.running) == 1
    lazy.paint(2, (17, 31), (17, 31), (4,))  # while it is read
    lazy.tick()
    by_hand.until(lambda: lazy.state.phase == "training")
    assert places(lazy) == [1, 4] and slow.planes == [1, 4]
    assert lazy.wanted.view is None  # it has not been read yet
    by_hand.until(lambda: lazy.wanted.view is not None)
    assert slow.planes == [1, 4, 0] and not lazy.failures


def test_a_training_that_is_stopped_while_all_is_read_does_not_begin(lazy, by_hand):
    lazy.train()
    lazy.stop()
    by_hand.finish()
    assert lazy.state.phase == "idle" and not lazy.failures
    lazy.train()
    by_hand.until(lambda: lazy.state.phase == "training" and lazy.trainer.steps > 0)


def test_strokes_are_learnt_when_they_are_read_and_do_not_pile_up(training, by_hand, slow):
    for z in (3, 4, 5):
        training.paint(2, (17, 31), (17, 31), (z,))
        training.tick()
    assert len(by_hand.running) == 2 and places(training) == [1] and not slow.planes
    by_hand.until(lambda: places(training) == [1, 3, 4, 5])
    assert slow.planes == [3, 4, 5] and not training.failures
    training.paint(1, (49, 60), (17, 28), (3,))
    training.tick()
    assert len(by_hand.running) == 1 and slow.planes == [3, 4, 5]  # known pixels: learnt at once
    assert {int(v) for v in np.unique(training.wanted.examples[1].annotation)} == {0, 1, 2}


def test_of_the_places_that_are_looked_at_the_newest_is_read(training, by_hand, slow):
    for z in (5, 6, 7):
        training.viewer.dims.set_point(0, z)
        training.tick()
        assert training.wanted.view is None
    assert len(by_hand.running) == 2 and not slow.planes
    by_hand.until(lambda: training.wanted.view is not None)
    assert slow.planes == [5, 7]
    by_hand.until(lambda: predicted(training, 7))
    assert not predicted(training, 5) and not predicted(training, 6)


def test_a_file_that_has_gone_is_one_sentence_and_the_session_works_on(lazy, by_hand, slow):
    slow.is_gone = True
    lazy.train()
    by_hand.finish()
    assert lazy.failures == ["image.tif is gone: put it back"] and lazy.state.phase == "idle"
    slow.is_gone = False
    lazy.train()
    by_hand.until(lambda: lazy.state.phase == "training" and lazy.trainer.steps > 0)


def test_a_file_that_goes_while_training_is_told_and_learnt_once_it_is_back(training, by_hand, slow):
    slow.is_gone = True
    training.paint(2, (17, 31), (17, 31), (3,))
    training.tick()
    by_hand.step(3)
    assert training.failures == ["image.tif is gone: put it back"] and training.state.phase == "training"
    slow.is_gone = False
    training.paint(2, (17, 31), (17, 31), (4,))
    training.tick()
    by_hand.until(lambda: places(training) == [1, 3, 4])


def test_a_view_that_cannot_be_read_is_told_once(training, by_hand, slow, monkeypatch):
    def refuse(self):
        raise OSError("image.tif is gone: put it back")

    with monkeypatch.context() as patch:
        patch.setattr(Sought, "read", refuse)
        training.viewer.dims.set_point(0, 5)
        training.tick()
        for _ in range(3):
            by_hand.step()
            training.tick()
    assert training.failures == ["image.tif is gone: put it back"]
    training.viewer.dims.set_point(0, 6)
    training.tick()
    by_hand.until(lambda: predicted(training, 6))


def test_a_session_that_is_closed_while_all_is_read_shows_nothing_more(lazy, by_hand):
    lazy.train()
    lazy.close()
    by_hand.finish()
    assert "slow prediction" not in lazy.viewer.layers and not lazy.failures
