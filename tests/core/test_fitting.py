"""Rules of objects are fitted to what is held out, or to all, and what is annotated is counted once."""

from types import SimpleNamespace

import numpy as np
import pytest

from napari_unet.core import fitting
from napari_unet.core.fitting import ENOUGH_OBJECTS, Fitted, Fitter
from napari_unet.core.objects import ObjectRules
from napari_unet.core.targets import OBJECT_CLASSES, Example, TargetOptions, make_target


def squares(n_rows=4, n_columns=10, *, is_cut=False):
    """A target with squares of 6 pixels, of which the border may cut those of the first column."""
    annotation = np.ones((10 * n_rows, 10 * n_columns), int)
    for number in range(n_rows * n_columns):
        y, x = (10 * at + 2 for at in divmod(number, n_columns))
        annotation[y : y + 6, x : x + 6] = number + 2
    annotation = annotation[:, 5 if is_cut else 0 :]
    image = (annotation > 1).astype(np.float32)[None]
    return make_target(Example(image, annotation, (1.0, 1.0)), TargetOptions("objects", OBJECT_CLASSES))


def predict(image):
    foreground = 0.02 + 0.96 * image[0]
    return np.stack((1 - foreground, foreground * 0.02, foreground * 0.98)).astype(np.float32)


def supply(validation, targets):
    return SimpleNamespace(validation=tuple(validation), targets=tuple(targets))


def test_rules_are_fitted_to_what_is_held_out_where_that_is_enough():
    held, trained = squares(), squares(2, 2)
    predicted = []
    fitted = Fitter().fit(
        supply([held], [held, trained]), lambda image: predicted.append(image) or predict(image)
    )
    assert fitted.to == "held-out" and len(predicted) == 1 and predicted[0] is held.image


@pytest.mark.parametrize(("n_columns", "told"), [(11, "held-out"), (10, "all")])
def test_objects_that_are_cut_do_not_count_as_held_out(n_columns, told):
    held = squares(3, n_columns, is_cut=True)  # those of the first column are cut
    assert 3 * n_columns >= ENOUGH_OBJECTS
    assert Fitter().fit(supply([held], [squares(), held]), predict).to == told


def test_of_objects_that_are_held_out_smaller_differences_decide(monkeypatch):
    chances = []
    monkeypatch.setattr(fitting, "fit_counted", lambda *given: chances.append(given[-1]))
    Fitter().fit(supply([squares()], [squares(), squares(2, 2)]), predict)
    Fitter().fit(supply([], [squares()]), predict)
    assert 0 < chances[0] < chances[1]


def test_where_nothing_is_held_out_all_is_fitted_to():
    target = squares()
    assert Fitter().fit(supply([target], [target]), predict).to == "all"


def test_where_nothing_can_be_judged_rules_are_kept_and_sizes_are_those_of_now():
    whole = np.full((5, 6), 2)
    target = make_target(
        Example(np.ones((1, 5, 6), np.float32), whole, (1.0, 1.0)), TargetOptions("objects", OBJECT_CLASSES)
    )
    before = ObjectRules(0.6, 0.8, 7, (3, 3))
    assert Fitter().fit(supply([], [target]), predict, before) == Fitted(
        ObjectRules(0.6, 0.8, 7, (5, 6)), "none"
    )
    assert Fitter().fit(supply([], [target]), predict) == Fitted(ObjectRules(0.5, 0.6, 0, (5, 6)), "none")
    assert Fitter().fit(supply([], []), predict, before) == Fitted(before, "none")


def test_what_is_annotated_is_counted_once(monkeypatch):
    counted = []
    real = fitting.count_annotated
    monkeypatch.setattr(fitting, "count_annotated", lambda each: counted.append(each) or real(each))
    held, trained, new = squares(), squares(2, 2), squares(2, 3)
    fitter = Fitter()
    first = fitter.fit(supply([held], [held, trained]), predict)
    assert first == fitter.fit(supply([held], [held, trained]), predict, first.rules, 0.5)
    assert [id(each) for each in counted] == [id(each.objects) for each in (held, trained)]
    fitter.fit(supply([held], [held, new]), predict)
    assert counted[2] is new.objects and len(counted) == 3
