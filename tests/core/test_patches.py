"""Patches: where they lie, and that every class gets its share."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_unet.core.patches import PatchSampler

UNLABELLED = 255


def seeded(seed=0):
    return np.random.default_rng(seed)


@st.composite
def one_labelled_pixel(draw):
    shape = draw(st.lists(st.integers(1, 40), min_size=2, max_size=3))
    pixel = tuple(draw(st.integers(0, size - 1)) for size in shape)
    patch_shape = [draw(st.integers(1, 48)) for _ in shape]
    classes = np.full(shape, UNLABELLED, np.uint8)
    classes[pixel] = 1
    return classes, pixel, patch_shape, draw(st.integers(0, 99))


@given(one_labelled_pixel())
def test_a_patch_holds_the_labelled_pixel_and_mostly_lies_inside_where_it_fits(case):
    classes, pixel, patch_shape, seed = case
    sampler, n_inside = PatchSampler([classes], 2, seeded(seed)), 0
    for _ in range(20):
        patch, inside = sampler.draw(patch_shape), []
        for start, size, place, extent in zip(patch.start, patch_shape, pixel, classes.shape, strict=True):
            assert start <= place < start + size
            inside.append(0 <= start <= extent - size if size <= extent else start == (extent - size) // 2)
        n_inside += all(inside)
    assert n_inside >= 5


def test_an_object_that_the_border_cuts_does_not_always_lie_at_the_border_of_a_patch():
    classes = np.full((60, 60), UNLABELLED, np.uint8)
    classes[0, 30] = 1
    sampler = PatchSampler([classes], 2, seeded())
    starts = np.array([sampler.draw((20, 20)).start[0] for _ in range(400)])
    assert 0.6 < (starts == 0).mean() < 0.9 and len(set(starts.tolist())) == 20


def test_a_rare_class_gets_its_share():
    classes = np.zeros((200, 200), np.uint8)
    classes[7, 9] = 1
    classes[100, 100] = 2
    sampler = PatchSampler([np.zeros((50, 50), np.uint8), classes], 3, seeded())
    counts = Counter()
    for _ in range(600):
        patch = sampler.draw((5, 5))
        maps = [np.zeros((50, 50), np.uint8), classes][patch.example]
        inside = maps[tuple(slice(max(0, start), start + 5) for start in patch.start)]
        counts[inside.max()] += 1
    assert min(counts.values()) > 150


def test_every_example_of_a_class_is_drawn_from_however_small():
    one, many = np.full((30, 30), UNLABELLED, np.uint8), np.zeros((30, 30), np.uint8)
    one[3, 4] = 0
    sampler = PatchSampler([one, many], 1, seeded())
    drawn = Counter(sampler.draw((8, 8)).example for _ in range(1000))
    assert 15 < drawn[0] < 60, "the square root of 1 and 900 pixels: one in 31"


def test_places_of_a_large_annotation_are_spread_over_it():
    sampler = PatchSampler([np.zeros((300, 300), np.uint8)], 1, seeded())
    starts = np.array([sampler.draw((1, 1)).start for _ in range(400)])
    assert (np.histogram2d(*starts.T, bins=3, range=[(0, 300)] * 2)[0] > 15).all()


def test_the_same_seed_draws_the_same_patches():
    classes = seeded().integers(0, 3, (60, 60)).astype(np.uint8)
    draws = [[PatchSampler([classes], 3, r).draw((9, 9)) for _ in range(5)] for r in (seeded(4), seeded(4))]
    assert draws[0] == draws[1]


def test_nothing_labelled_is_refused():
    with pytest.raises(ValueError, match="no pixel is labelled: annotate"):
        PatchSampler([np.full((4, 4), UNLABELLED, np.uint8)], 2, seeded())


def test_pixels_that_another_sampler_knows_are_not_looked_for_again(monkeypatch):
    looked = []
    real = PatchSampler._pixels
    monkeypatch.setattr(PatchSampler, "_pixels", lambda s, c, i: looked.append((id(c), i)) or real(s, c, i))
    known, new = np.zeros((30, 30), np.uint8), np.ones((30, 30), np.uint8)
    first = PatchSampler([known, new.copy()], 2, seeded())
    looked.clear()
    second = PatchSampler([new, known], 2, seeded(), first)
    assert looked == [(id(new), 0), (id(new), 1)]
    assert {second.draw((4, 4)).example for _ in range(50)} == {0, 1}
    looked.clear()
    PatchSampler([known], 1, seeded(), second)
    assert not looked
