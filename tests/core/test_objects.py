"""Objects from the maps of a network: seeds, growth, holes, what is dropped, numbers."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from napari_unet.core.numbered import connected_objects, fill_holes, number_in_order, numbers_at_sides
from napari_unet.core.objects import ObjectRules, find_objects, find_seeds, grow_seeds, object_scores


@st.composite
def maps(draw):
    """Scores (2, *spatial) as a network gives them: smooth, the core inside the foreground."""
    shape = draw(st.sampled_from([(1,), (1, 1), (20, 31), (32, 9), (7, 11, 13), (1, 16, 16)]))
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    smooth = ndimage.gaussian_filter(rng.random(shape), draw(st.sampled_from([0, 1, 2])))
    spread = (smooth - smooth.min()) / max(float(np.ptp(smooth)), 1e-6)
    foreground = np.clip(spread * draw(st.sampled_from([0.8, 1.3, 3.0])), 0, 1)
    return object_scores(np.stack((1 - foreground, foreground * (1 - spread), foreground * spread)))


def cells(shape, n_cells, radius, seed):
    """Scores of balls that touch, none with its centre in another, and the balls themselves."""
    rng = np.random.default_rng(seed)
    share, truth = np.zeros(shape, np.float32), np.zeros(shape, np.uint32)
    for number in range(1, n_cells + 1):
        centre = [int(rng.integers(radius, size - radius)) for size in shape]
        if truth[tuple(centre)]:
            continue
        box = tuple(slice(at - radius, at + radius) for at in centre)
        away = sum((at - middle) ** 2 for at, middle in zip(np.ogrid[box], centre, strict=True)) ** 0.5
        inside = np.clip(1 - away / (radius * rng.uniform(0.6, 1)), 0, 1)
        closer = inside > share[box]
        share[box][closer], truth[box][closer] = inside[closer], number
    foreground = (share > 0).astype(np.float32)
    return object_scores(np.stack((1 - foreground, foreground - share, share))), truth


rules = st.builds(
    ObjectRules, st.sampled_from([0.3, 0.5, 1.0]), st.sampled_from([0.2, 0.5, 0.9]), st.sampled_from([0, 5])
)


@given(maps(), rules, st.booleans(), st.booleans())
def test_objects_are_numbered_from_one_in_the_order_of_their_first_pixels(scores, rules, fill, keep_border):
    objects = find_objects(scores, rules, fill=fill, keep_border=keep_border)
    numbers, firsts = np.unique(objects, return_index=True)
    firsts = firsts[numbers > 0]
    assert numbers[numbers > 0].tolist() == list(range(1, len(firsts) + 1))
    assert (np.diff(firsts) > 0).all()
    assert objects.shape == scores.shape[1:] and objects.dtype == np.min_scalar_type(len(firsts))


@given(maps(), rules)
def test_growth_keeps_the_seeds_and_never_leaves_the_foreground(scores, rules):
    seeds = find_seeds(scores, rules)
    objects = grow_seeds(seeds, scores, rules)
    foreground = scores[0] >= round(255 * rules.foreground)
    np.testing.assert_array_equal(objects[seeds > 0], seeds[seeds > 0])
    assert not objects[~foreground].any()


@given(maps(), rules)
def test_growth_takes_every_part_of_the_foreground_that_has_a_seed(scores, rules):
    seeds = find_seeds(scores, rules)
    parts = connected_objects(scores[0] >= round(255 * rules.foreground))
    has_seed = np.isin(parts, parts[seeds > 0]) & (parts > 0)
    np.testing.assert_array_equal(grow_seeds(seeds, scores, rules) > 0, has_seed)


@given(maps(), rules)
def test_a_grown_object_is_one_connected_part(scores, rules):
    objects = find_objects(scores, rules)
    for number in range(1, int(objects.max(initial=0)) + 1):
        assert connected_objects(objects == number).max() == 1


@given(maps(), rules, st.integers(0, 99))
def test_growth_does_not_depend_on_the_numbers_of_the_seeds(scores, rules, seed):
    seeds = find_seeds(scores, rules)
    n_seeds = int(seeds.max(initial=0))
    others = np.zeros(n_seeds + 1, np.uint32)
    others[1:] = np.random.default_rng(seed).permutation(n_seeds) * 97 + 2**31
    np.testing.assert_array_equal(
        grow_seeds(others[seeds], scores, rules), others[grow_seeds(seeds, scores, rules)]
    )


@given(maps(), rules)
def test_dropped_objects_are_the_small_ones_and_those_at_the_border(scores, rules):
    everything = find_objects(scores, ObjectRules(rules.foreground, rules.core))
    inner = find_objects(scores, rules, keep_border=False)
    border = np.ones(everything.shape, bool)
    border[(slice(1, -1),) * border.ndim] = False
    for number in range(1, int(everything.max(initial=0)) + 1):
        pixels = everything == number
        dropped = pixels.sum() < rules.min_size or (pixels & border).any()
        assert inner[pixels].any() != dropped


def test_a_speck_of_core_splits_no_object_unless_the_border_cuts_it():
    scores = np.full((2, 9, 20), 255, np.uint8)
    scores[1] = 60
    scores[1, 2:7, 2:8] = scores[1, 4, 14] = scores[1, 4, 19] = 200
    assert find_seeds(scores, ObjectRules(min_size=17)).max() == 3
    assert np.unique(find_seeds(scores, ObjectRules(min_size=18))[4]).tolist() == [0, 1, 2]
    assert find_seeds(scores, ObjectRules(min_size=18))[4, [14, 19]].tolist() == [0, 2]


@given(maps())
def test_two_classes_give_the_connected_parts_of_the_foreground(scores):
    probability = scores[0] / 255
    objects = find_objects(object_scores([1 - probability, probability]), ObjectRules(), fill=False)
    np.testing.assert_array_equal(objects, connected_objects(scores[0] >= 128))


@pytest.mark.parametrize(
    ("shape", "n_cells", "radius", "tile", "halo"),
    [((160, 200), 150, 9, 64, 24), ((40, 48, 56), 90, 7, 24, 16)],
)
def test_tiles_with_a_halo_that_holds_every_object_agree_with_the_whole(shape, n_cells, radius, tile, halo):
    scores, _ = cells(shape, n_cells, radius, seed=1)
    seeds = find_seeds(scores, ObjectRules())
    whole = grow_seeds(seeds, scores, ObjectRules())
    tiled = np.zeros_like(whole)
    for start in product(*(range(0, size, tile) for size in shape)):
        write = tuple(slice(at, at + tile) for at in start)
        read = tuple(slice(max(0, at - halo), at + tile + halo) for at in start)
        crop = tuple(slice(at - part.start, None) for at, part in zip(start, read, strict=True))
        grown = grow_seeds(seeds[read], scores[(slice(None), *read)], ObjectRules())[crop]
        tiled[write] = grown[tuple(slice(0, tile) for _ in start)]
    assert set(np.unique(tiled)) == set(np.unique(whole))
    assert (tiled == whole).mean() >= 0.999


@pytest.mark.parametrize("shape", [(200, 220), (40, 48, 56)])
def test_touching_cells_are_told_apart(shape):
    scores, truth = cells(shape, 60, 8, seed=3)
    objects = find_objects(scores, ObjectRules(core=0.7))
    assert connected_objects(truth > 0).max() < 0.8 * objects.max()
    assert abs(int(objects.max()) - len(np.unique(truth[truth > 0]))) <= 2


@pytest.mark.parametrize("shape", [(0, 5), (1,), (4, 5), (3, 4, 5)])
@pytest.mark.parametrize("fill", [True, False])
def test_nothing_and_everything_are_objects_of_their_own(shape, fill):
    nothing, everything = np.zeros((2, *shape), np.uint8), np.full((2, *shape), 255, np.uint8)
    assert find_objects(nothing, ObjectRules(), fill=fill).tolist() == np.zeros(shape, int).tolist()
    assert find_objects(everything, ObjectRules(), fill=fill).tolist() == np.ones(shape, int).tolist()
    assert not find_objects(everything, ObjectRules(), keep_border=False).any()


@given(st.integers(0, 999), st.sampled_from([(12, 14), (5, 6, 7)]), st.integers(1, 3))
def test_holes_are_what_one_object_encloses_alone(seed, shape, n_objects):
    rng = np.random.default_rng(seed)
    objects = (rng.integers(1, n_objects + 1, shape) * (rng.random(shape) < 0.75)).astype(np.uint16)
    filled = fill_holes(objects)
    parts, n_parts = ndimage.label(objects == 0)
    for part in range(1, n_parts + 1):
        inside = parts == part
        around = ndimage.binary_dilation(inside) & ~inside
        at_border = len(numbers_at_sides(inside.astype(np.uint8))) > 0
        numbers = np.unique(objects[around])
        expected = numbers[0] if len(numbers) == 1 and not at_border else 0
        assert (filled[inside] == expected).all()
    np.testing.assert_array_equal(filled[objects > 0], objects[objects > 0])


def test_holes_that_are_longer_than_wanted_along_an_axis_stay():
    objects = np.full((9, 12), 3, np.uint8)
    objects[1:4, 1:3], objects[5:8, 1:6], objects[2, 7] = 0, 0, 0
    filled = {
        largest: fill_holes(objects, largest)[[1, 5, 2], [1, 1, 7]] > 0
        for largest in [(3, 5), (3, 4), (1, 1)]
    }
    assert {largest: each.tolist() for largest, each in filled.items()} == {
        (3, 5): [True, True, True],
        (3, 4): [True, False, True],
        (1, 1): [False, False, True],
    }
    assert fill_holes(np.zeros((0, 4), np.uint8), (2, 2)).shape == (0, 4)
    assert find_objects(np.full((2, 3, 3), 255, np.uint8), ObjectRules(), largest_hole=(1, 1)).all()


def test_a_thousand_holes_are_filled_at_once():
    objects = np.kron(np.arange(1, 1025).reshape(32, 32), np.ones((5, 5))).astype(np.uint32)
    holes = objects.copy()
    holes[2::5, 2::5] = 0
    np.testing.assert_array_equal(fill_holes(holes), objects)


def test_sides_are_all_sides_of_an_array():
    assert numbers_at_sides(np.uint8([[1, 0, 2], [0, 5, 0], [3, 0, 4]])).tolist() == [1, 2, 3, 4]
    assert numbers_at_sides(np.arange(27).reshape(3, 3, 3)).tolist() == [n for n in range(1, 27) if n != 13]


@given(maps(), rules, st.integers(0, 30))
def test_objects_that_are_too_small_for_a_wish_have_no_influence_on_the_others(scores, rules, min_size):
    every = find_objects(scores, rules, min_size=0)
    wanted = find_objects(scores, rules, min_size=min_size)
    sizes = np.bincount(every.ravel())
    np.testing.assert_array_equal(wanted > 0, (every > 0) & (sizes[every] >= min_size))
    assert len(np.unique(wanted[wanted > 0])) == (sizes[1:] >= max(1, min_size)).sum()


def test_numbers_do_not_outgrow_their_type_when_objects_are_dropped():
    objects = np.arange(300, dtype=np.uint16)
    kept = objects % 2 == 1
    assert number_in_order(objects, kept).dtype == np.uint8
    assert number_in_order(objects, kept)[kept].tolist() == list(range(1, 151))


@pytest.mark.parametrize("n_classes", [1, 4])
def test_other_classes_than_background_rim_and_core_are_refused(n_classes):
    with pytest.raises(ValueError, match="background, rim and core"):
        object_scores(np.zeros((n_classes, 2, 2)))


@pytest.mark.parametrize(
    "values",
    [
        {"foreground": 0.0},
        {"core": 1.1},
        {"core": float("nan")},
        {"min_size": -1},
        {"min_size": 2**32},
        {"reach": (5, 0)},
    ],
)
def test_rules_out_of_range_are_refused(values):
    with pytest.raises(ValueError, match="give"):
        ObjectRules(**values)


def test_parts_that_meet_only_at_a_corner_are_two_objects():
    np.testing.assert_array_equal(connected_objects(np.eye(3, dtype=bool)), np.diag([1, 2, 3]))


def test_objects_connect_across_planes():
    foreground = np.zeros((3, 4, 4), bool)
    foreground[:, 1, 1] = foreground[1, 1, 1:] = True
    assert connected_objects(foreground).max() == 1


@pytest.mark.parametrize(
    ("n_objects", "dtype"), [(0, np.uint8), (255, np.uint8), (256, np.uint16), (70000, np.uint32)]
)
def test_the_type_is_the_smallest_that_holds_every_object(n_objects, dtype):
    objects = connected_objects(np.repeat([[1, 0]], n_objects, axis=0).reshape(1, -1))
    assert objects.dtype == dtype and objects.max(initial=0) == n_objects
