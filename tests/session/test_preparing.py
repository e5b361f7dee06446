"""Images are measured once, in the background; what fails is told and blocks nothing."""

import numpy as np
import pytest
from napari.layers import Image

from napari_unet.core.normalise import Intensity
from napari_unet.session.images import ImageChoice
from napari_unet.session.jobs import Jobs, Listener
from napari_unet.session.preparing import Intensities, load_torch


class Broken:
    """Pixels that cannot be read, as those of a file that has gone."""

    shape, dtype, ndim = (8, 8), np.dtype(np.float32), 2

    def __getitem__(self, key):
        raise OSError("image.tif is gone: put it back")


def choice_of(data):
    layer = Image(np.random.default_rng(0).random((8, 8)).astype(np.float32))
    layer._data = data if data is not None else layer._data
    return ImageChoice((layer,), "YX")


@pytest.fixture
def failures():
    return []


@pytest.fixture
def slow(by_hand):
    by_hand.names = ("measure",)
    return by_hand


@pytest.fixture
def intensities(slow, failures):
    return Intensities(Jobs(slow, Listener(print, print, failures.append)))


def test_an_image_is_measured_once_and_whoever_waits_is_called(intensities, slow):
    choice, called = choice_of(None), []
    for name in "ab":
        intensities.when_known([choice], lambda name=name: called.append(name))
    assert len(slow.running) == 1 and not called
    slow.finish()
    assert called == ["a", "b"] and isinstance(intensities[choice], Intensity)
    intensities.when_known([choice], lambda: called.append("at once"))
    assert called[-1] == "at once" and not slow.running


def test_an_image_wanted_meanwhile_is_measured_next(intensities, slow):
    first, second, called = choice_of(None), choice_of(None), []
    intensities.when_known([first], lambda: called.append("first"))
    intensities.when_known([second, first], lambda: called.append("both"))
    assert len(slow.running) == 1
    slow.finish()
    assert called == ["first", "both"]


@pytest.mark.parametrize("data", [Broken(), np.zeros((8, 8), complex)])
def test_an_image_that_cannot_be_read_is_told_and_blocks_no_other(intensities, slow, failures, data):
    given_up, called = [], []
    intensities.when_known([choice_of(data)], print, lambda: given_up.append(True))
    slow.finish()
    assert given_up == [True] and len(failures) == 1 and ":" in failures[0].sentence
    intensities.when_known([choice_of(None)], lambda: called.append(True))
    slow.finish()
    assert called == [True] and len(failures) == 1


def test_an_error_of_whoever_waited_is_told(intensities, slow, failures):
    def refuse():
        raise ValueError("there is no model yet: train one, or load one")

    called = []
    choice = choice_of(None)
    intensities.when_known([choice], refuse)
    intensities.when_known([choice], lambda: called.append(True))
    slow.finish()
    assert [each.sentence for each in failures] == ["there is no model yet: train one, or load one"]
    assert called == [True]


def test_other_pixels_are_measured_anew_even_where_they_come_while_it_is_measured(intensities, slow):
    choice, called = choice_of(None), []
    (layer,) = choice.layers
    intensities.when_known([choice], lambda: called.append(intensities[choice]))
    layer.data = 100 + layer.data
    slow.finish()
    assert len(called) == 1 and called[0].low[0] > 90
    layer.data = layer.data - 50
    assert choice not in intensities


def test_the_device_is_described():
    *_, words = _drain(load_torch("cpu"))
    assert words.startswith("CPU")


def _drain(work):
    while True:
        try:
            yield next(work)
        except StopIteration as end:
            yield end.value
            return
