from dataclasses import replace

import numpy as np
import pytest
from napari.layers import Image

from napari_unet.core.targets import OBJECT_CLASSES, ClassLabel, Example, TargetOptions, make_target
from napari_unet.session.images import ImageChoice
from napari_unet.session.jobs import run_now
from napari_unet.session.latest import Latest
from napari_unet.session.weighing import Wish, weigh

OBJECTS = TargetOptions("objects", OBJECT_CLASSES)
CLASSES = TargetOptions("classes", (ClassLabel(1, 0, "background"), ClassLabel(2, 1, "nucleus")))


def choice_of(shape, axes):
    return ImageChoice((Image(np.zeros(shape, np.uint8)),), axes)


def example(annotation, place):
    annotation = np.asarray(annotation, np.uint16)
    image = np.zeros((1, *annotation.shape), np.float32)
    return Example(image, annotation, (1.0,) * annotation.ndim, "cells", place)


def cells(shape=(16, 24)):
    annotation = np.ones(shape, np.uint16)
    annotation[..., 2:12, 2:10], annotation[..., 2:12, 12:20] = 2, 3
    return annotation


def weights(wish):
    found = []
    run_now(weigh(wish), lambda _: None, found.append, pytest.fail)
    return found[0]


def test_the_weights_are_those_of_training():
    each = example(cells(), (4, 8, 16))
    wish = Wish(choice_of((6, 40, 50), "ZYX"), (4,), (each,), OBJECTS)
    found = weights(wish)
    np.testing.assert_allclose(found[8:24, 16:40], 1 + make_target(each, OBJECTS).separation)
    found[8:24, 16:40] = 0
    assert found.shape == (40, 50) and not found.any()


def test_examples_of_other_planes_are_left_out():
    wish = Wish(choice_of((6, 16, 24), "ZYX"), (3,), (example(cells(), (4, 0, 0)),), OBJECTS)
    assert not weights(wish).any()


def test_unlabelled_pixels_weigh_nothing():
    annotation = cells()
    annotation[:, 23] = 0  # beyond the ring around the objects
    found = weights(Wish(choice_of((16, 24), "YX"), (), (example(annotation, (0, 0)),), OBJECTS))
    assert not found[:, 23].any() and (found[:, :23] >= 1).all()


def test_a_volume_shows_the_plane_of_its_weights():
    annotation = np.zeros((3, 16, 24), np.uint16)
    annotation[1] = cells()
    each = example(annotation, (1, 2, 0, 0))
    wish = Wish(choice_of((2, 1, 6, 16, 24), "TCZYX"), (1, 0, 3), (each,), OBJECTS)
    np.testing.assert_allclose(weights(wish), 1 + make_target(each, OBJECTS).separation[1])
    assert not weights(replace(wish, index=(1, 0, 2))).any()
    assert not weights(replace(wish, index=(0, 0, 3))).any()


def test_rare_classes_weigh_more_where_the_loss_is_balanced():
    annotation = np.ones((4, 10))
    annotation[0] = 2
    choice = choice_of((4, 10), "YX")
    wish = Wish(choice, (), (example(annotation, (0, 0)),), CLASSES)
    assert (weights(wish) == 1).all()
    balanced = weights(replace(wish, balanced=True))
    assert balanced[0, 0] == 2 and balanced[1, 0] == pytest.approx(2 / 3)
    others = (example(np.full((4, 10), 2), (0, 0)),)
    assert weights(replace(wish, balanced=True, others=others))[0, 0] < 1


class Later:
    """A start that runs jobs when told."""

    def __init__(self):
        self.jobs = []

    def __call__(self, *job):
        self.jobs.append(job)

    def run(self):
        run_now(*self.jobs.pop(0))


@pytest.fixture
def asked():
    later, shown, failures = Later(), [], []
    weighing = Latest(later, weigh, lambda wish, _: shown.append(wish), failures.append)
    base = Wish(choice_of((6, 16, 24), "ZYX"), (0,), (example(cells(), (0, 0, 0)),), OBJECTS)
    return weighing, later, shown, failures, [replace(base, index=(z,)) for z in range(6)]


def test_the_newest_wish_wins_and_one_job_runs_at_a_time(asked):
    weighing, later, shown, _, wishes = asked
    for wish in wishes:
        weighing.ask(wish)
    assert len(later.jobs) == 1
    later.run()
    assert not shown and len(later.jobs) == 1
    later.run()
    assert shown == [wishes[-1]] and not later.jobs


def test_an_equal_wish_starts_nothing(asked):
    weighing, later, shown, _, wishes = asked
    weighing.ask(wishes[0])
    later.run()
    weighing.ask(replace(wishes[0]))
    assert shown == [wishes[0]] and not later.jobs


def test_what_is_forgotten_is_not_shown_and_can_be_asked_again(asked):
    weighing, later, shown, _, wishes = asked
    weighing.ask(wishes[0])
    weighing.forget()
    later.run()
    assert not shown and not later.jobs
    weighing.ask(wishes[0])
    later.run()
    assert shown == [wishes[0]]


def test_a_failure_is_told_and_the_next_wish_goes_on(asked):
    weighing, later, shown, failures, wishes = asked
    unknown = replace(wishes[0], options=TargetOptions("classes", CLASSES.classes))  # there is a 3
    weighing.ask(unknown)
    later.run()
    assert "3" in failures[0].sentence
    weighing.ask(unknown)
    weighing.ask(wishes[1])
    later.run()
    assert len(failures) == 1 and shown == [wishes[1]]
