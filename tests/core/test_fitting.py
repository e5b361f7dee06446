"""Rules of objects are fitted to what is held out, or to all, and what is annotated is counted once."""

from types import SimpleNamespace

import numpy as np
import pytest

from napari_unet.core import fitting
from napari_unet.core.draining import drain
from napari_unet.core.fitting import ENOUGH_OBJECTS, Fitted, Fitter, ObjectThresholds, affordable_pixels
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


@pytest.fixture
def predicted(monkeypatch):
    """Regions that were predicted; what is predicted is what the image shows."""
    regions = []

    def predict_part(predictor, image, part):
        regions.append((image, part))
        foreground = 0.02 + 0.96 * image[0][part]
        yield
        return np.stack((1 - foreground, foreground * 0.02, foreground * 0.98)).astype(np.float32)

    monkeypatch.setattr(fitting, "predict_part", predict_part)
    return regions


def fit(validation, targets, before=None, fitter=None, **options):
    fitter = fitter or Fitter()
    return drain(fitter.fit(supply(validation, targets), None, before, **options))


def supply(validation, targets):
    return SimpleNamespace(validation=tuple(validation), targets=tuple(targets), spacing=(1.0, 1.0))


def test_thresholds_are_fitted_to_what_is_held_out_where_that_is_enough(predicted):
    held, trained = squares(), squares(2, 2)
    assert fit([held], [held, trained]).to == "held-out"
    assert len(predicted) == 1 and predicted[0][0] is held.image


@pytest.mark.parametrize(("n_columns", "to"), [(11, "held-out"), (10, "all")])
def test_objects_that_are_cut_do_not_count_as_held_out(predicted, n_columns, to):
    held = squares(3, n_columns, is_cut=True)  # those of the first column are cut
    assert 3 * n_columns >= ENOUGH_OBJECTS
    assert fit([held], [squares(), held]).to == to


def test_of_objects_that_are_held_out_smaller_differences_decide(predicted, monkeypatch):
    chances = []
    real = fitting.fit_windows
    monkeypatch.setattr(fitting, "fit_windows", lambda *given: chances.append(given[-1]) or real(*given))
    fit([squares()], [squares(), squares(2, 2)])
    fit([], [squares()])
    assert 0 < chances[0] < chances[1]


def test_where_nothing_is_held_out_all_is_fitted_to(predicted):
    target = squares()
    assert fit([target], [target]).to == "all"


def test_where_nothing_can_be_judged_thresholds_are_kept_and_sizes_are_those_of_now(predicted):
    whole = np.full((5, 6), 2)
    target = make_target(
        Example(np.ones((1, 5, 6), np.float32), whole, (1.0, 1.0)), TargetOptions("objects", OBJECT_CLASSES)
    )
    before = ObjectRules(0.6, 0.8, 7, (3, 3))
    assert fit([], [target], before) == Fitted(ObjectRules(0.6, 0.8, 7, (5, 6)), "none")
    assert fit([], [target]) == Fitted(ObjectRules(0.5, 0.6, 0, (5, 6)), "none")
    assert fit([], [], before) == Fitted(before, "none")
    assert not predicted


@pytest.mark.parametrize("n_pixels", [300, 2000, 10**9])
def test_no_more_is_predicted_than_the_budget_allows(predicted, n_pixels):
    """Chosen before it is predicted, so that a large annotated plane costs no more than a small one."""
    targets = [squares(30, 30), squares(20, 40), squares()]
    fit([], targets, n_pixels=n_pixels)
    sizes = [np.prod([at.stop - at.start for at in part]) for _, part in predicted]
    assert 0 < sum(sizes) <= min(n_pixels, sum(each.classes.size for each in targets)) * 1.3
    assert all(
        at.start >= 0 and at.stop <= n for i, p in predicted for at, n in zip(p, i.shape[1:], strict=True)
    )


def test_what_is_annotated_is_counted_once(predicted, monkeypatch):
    counted = []
    real = fitting.count_annotated
    monkeypatch.setattr(
        fitting, "count_annotated", lambda each, spacing: counted.append(each) or real(each, spacing)
    )
    held, trained, new = squares(), squares(2, 2), squares(2, 3)
    fitter = Fitter()
    first = fit([held], [held, trained], fitter=fitter)
    assert first == fit([held], [held, trained], first.rules, fitter=fitter, n_pixels=3000)
    assert [id(each) for each in counted] == [id(each.objects) for each in (held, trained)]
    fit([held], [held, new], fitter=fitter)
    assert counted[2] is new.objects and len(counted) == 3


def test_thresholds_of_now_need_no_prediction(predicted):
    known = ObjectThresholds(None, "none").known(supply([], [squares()]))
    assert (known.foreground, known.core, known.min_size, known.reach) == (0.5, 0.6, 9, (6, 6))
    before = ObjectRules(0.6, 0.8, 7, (3, 3))
    assert ObjectThresholds(before, "all").known(supply([], [squares()])) is before
    assert not predicted


def test_a_slow_machine_fits_to_fewer_pixels():
    slow, fast = (affordable_pixels(0.1, rate) for rate in (1e4, 1e7))
    assert 0 < slow < 1000 < fast < fitting.MAX_FIT_PIXELS
    assert affordable_pixels(1e9, 1.0) == fitting.MAX_FIT_PIXELS
