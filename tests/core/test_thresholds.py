"""Rules are fitted to annotated objects."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_unet.core.draining import drain
from napari_unet.core.matching import score_objects
from napari_unet.core.objects import ObjectRules, find_objects
from napari_unet.core.thresholds import LEARNT_CHANCE, choose_windows, count_annotated, fit_windows, sized


def field(shape=(80, 96), step=16, radius=7.5, bridge=0.6, seed=0):
    """Balls on a grid whose cores run together at a probability of `bridge`, and their annotation."""
    rng = np.random.default_rng(seed)
    core, annotation = np.zeros(shape), np.ones(shape, int)
    centres = np.stack(np.meshgrid(*(np.arange(step // 2, size, step) for size in shape)), -1)
    for number, centre in enumerate(centres.reshape(-1, len(shape)), start=2):
        away = sum((at - c) ** 2 for at, c in zip(np.indices(shape), centre, strict=True)) ** 0.5
        inside = away < radius * rng.uniform(0.8, 1)
        core[inside], annotation[inside] = np.maximum(bridge, 1 - away / radius)[inside], number
    core[tuple([slice(step // 2, 1 - step // 2)] + [slice(step // 2, None, step)] * (len(shape) - 1))] += (
        bridge
    )
    scores = np.rint(255 * np.clip(np.stack(((core > 0) * 0.9, core)), 0, 1)).astype(np.uint8)
    return scores, annotation


def fit_rules(fields, annotations=None, n_pixels=900_000):
    """Rules as a training fits them, sizes from all annotations."""
    judged = [(scores, count_annotated(annotation)) for scores, annotation in fields]
    judged = [(scores, annotated) for scores, annotated in judged if annotated]
    every = [count_annotated(annotation) for annotation in annotations or ()]
    known = sized(every or [annotated for _, annotated in judged])
    return fit_counted(judged, known, n_pixels) or known


def fit_counted(judged, known, n_pixels):
    windows = choose_windows([annotated for _, annotated in judged], n_pixels)
    if not windows:
        return None
    scores = [each[(slice(None), *window.region)] for (each, _), window in zip(judged, windows, strict=True)]
    return drain(fit_windows(scores, windows, known, LEARNT_CHANCE))


def ap(scores, annotation, rules):
    return score_objects(find_objects(scores, rules), np.where(annotation > 1, annotation, 0)).ap[0.5]


@pytest.mark.parametrize("shape", [(80, 96), (48, 48, 48)])
def test_fitted_rules_part_what_runs_together(shape):
    scores, annotation = field(shape)
    fitted = fit_rules([(scores, annotation)])
    assert ap(scores, annotation, ObjectRules()) < 0.5
    assert ap(scores, annotation, fitted) > 0.9
    assert fitted.core > 0.6


def test_equal_fields_give_equal_rules_in_any_order():
    fields = [field(seed=seed) for seed in range(3)]
    assert fit_rules(fields) == fit_rules(fields) == fit_rules(fields[::-1])


def test_what_is_not_annotated_counts_neither_way():
    scores, annotation = field()
    partly = annotation.copy()
    partly[:, 48:] = 0
    others = scores.copy()
    others[:, :, 50:] = np.random.default_rng(0).integers(0, 255, others[:, :, 50:].shape)
    assert fit_rules([(scores, partly)]) == fit_rules([(others, partly)])


def test_objects_that_the_border_cuts_count_neither_way():
    scores, annotation = field()
    cut = (slice(None), slice(0, 88))
    assert (annotation[:, 87] > 1).any()
    others = scores[:, :, :88].copy()
    others[:, np.isin(annotation[cut], np.unique(annotation[:, 87])[1:])] = 0
    assert fit_rules([(scores[:, :, :88], annotation[cut])]) == fit_rules([(others, annotation[cut])])


@pytest.mark.parametrize("values", [[], [0], [1], [0, 1]])
def test_without_objects_the_rules_are_the_usual_ones(values):
    scores, annotation = field()
    fields = [(scores, np.resize(values, annotation.shape))] if values else []
    assert fit_rules(fields) == ObjectRules(0.5, 0.6)


def test_an_object_that_fills_its_field_tells_its_reach_alone():
    scores = np.full((2, 5, 6), 255, np.uint8)
    assert fit_rules([(scores, np.full((5, 6), 2))]) == ObjectRules(0.5, 0.6, reach=(5, 6))


def test_where_no_object_of_the_fields_is_whole_sizes_are_those_of_all_that_is_annotated():
    scores, annotation = field()
    cut = (slice(7, 9), slice(7, 9))
    rules = fit_rules([(scores[(slice(None), *cut)], annotation[cut])], [annotation])
    assert (rules.foreground, rules.core) == (0.5, 0.6)
    assert rules.min_size > 0 and rules == replace(
        fit_rules([(scores, annotation)]), foreground=0.5, core=0.6
    )


def test_the_reach_is_that_of_the_largest_object_of_all_fields():
    small, large = np.ones((2, 30, 40), int)
    small[5:9, 5:9] = 2
    large[5:9, 3:20], large[20:29, 5:9] = 2, 3
    scores = np.zeros((2, 30, 40), np.uint8)
    assert fit_rules([(scores, small), (scores, large)]).reach == (9, 17)


def test_of_objects_that_are_painted_on_single_slices_the_reach_goes_as_far_beyond_these():
    slices = np.zeros((9, 40, 40), int)
    slices[4] = 1
    slices[4, 5:15, 5:18], slices[4, 20:26, 20:26] = 2, 3
    assert sized([count_annotated(slices)]).reach == (13, 10, 13)
    slices[2:7, 30:38, 30:38], slices[1:8:6, 30:38, 30:38] = 4, 1  # one is painted whole
    assert sized([count_annotated(slices)]).reach == (13, 10, 13)
    slices[:, :28, :28] = 0
    assert sized([count_annotated(slices)]).reach == (5, 8, 8)
    flat = np.zeros((30, 40), int)
    flat[5:9, 5:20] = 2
    assert sized([count_annotated(flat)]).reach == (4, 15)


def test_a_stray_pixel_among_many_objects_does_not_set_the_smallest_size():
    scores, annotation = field(shape=(160, 160))
    stray = annotation.copy()
    stray[0, 0], stray[1, 1] = 1, 999
    assert fit_rules([(scores, stray)]).min_size > 20


def test_where_every_rule_is_as_good_the_usual_one_is_taken():
    scores, annotation = field(bridge=0.0)
    scores[:, annotation > 1] = 255
    scores[:, annotation == 1] = 0
    fitted = fit_rules([(scores, annotation)])
    assert (fitted.foreground, fitted.core) == (0.5, 0.6)


def test_the_numbers_of_objects_mean_nothing():
    scores, annotation = field()
    renumbered = np.where(annotation > 1, 2**31 - 7 * annotation.astype(np.int64), annotation)
    assert fit_rules([(scores, renumbered)]) == fit_rules([(scores, annotation)])


def test_of_large_fields_parts_are_compared(monkeypatch):
    compared = []
    monkeypatch.setattr(
        "napari_unet.core.thresholds.find_objects",
        lambda scores, rules: compared.append(scores[0].size) or find_objects(scores, rules),
    )
    fit_rules([field(), field(seed=1)], n_pixels=9000)
    assert 0 < 2 * max(compared) <= 9000 * 1.1


def test_of_a_large_field_whose_middle_is_empty_a_part_with_an_object_is_compared():
    scores, annotation = np.zeros((2, 400, 400), np.uint8), np.ones((400, 400), np.uint16)
    for number, corner in enumerate((10, 370), start=2):
        there = (slice(corner, corner + 20),) * 2
        scores[(slice(None), *there)], annotation[there] = 200, number
    assert fit_briefly(scores, annotation) is not None
    scores[:, 150:300, 150:300], annotation[150:300, 150:300] = 200, 4  # nearer, but too large for a part
    assert fit_briefly(scores, annotation) is not None
    annotation[370:390, 370:400], annotation[10:30, 0:30] = 3, 2  # the border cuts both of the others
    assert fit_briefly(scores, annotation) is None


def fit_briefly(scores, annotation):
    annotated = count_annotated(annotation)
    return fit_counted([(scores, annotated)], sized([annotated]), 9000)


@given(st.integers(0, 20), st.sampled_from([(30, 33), (9, 12, 14)]))
def test_rules_of_chance_are_still_rules(seed, shape):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 256, (2, *shape)).astype(np.uint8)
    annotation = rng.integers(0, 9, shape)
    rules = fit_rules([(scores, annotation)], n_pixels=4000)
    assert rules == replace(
        sized([count_annotated(annotation)]), foreground=rules.foreground, core=rules.core
    )
    assert rules.reach[1:] == shape[1:] and 0.2 <= rules.foreground <= 0.8 and 0.1 <= rules.core <= 0.9


def test_an_object_of_which_few_slices_are_painted_is_as_long_along_thick_slices_as_in_the_plane():
    annotation = np.zeros((9, 40, 40), int)
    annotation[4] = 1
    annotation[4, 10:30, 10:22] = 2
    assert count_annotated(annotation).extents.tolist() == [[20, 20, 12]]
    assert count_annotated(annotation, (4.0, 1.0, 1.0)).extents.tolist() == [[5, 20, 12]]
    assert count_annotated(annotation, (5.0, 2.0, 1.0)).extents.tolist() == [[8, 20, 12]]
