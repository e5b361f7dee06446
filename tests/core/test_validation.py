"""Validation: what is held out is never trained on, and how the network does there."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import label, maximum_filter

from napari_unet.core.blocks import GAP
from napari_unet.core.holdout_runs import look_alike_within
from napari_unet.core.targets import (
    OBJECT_CLASSES,
    UNLABELLED,
    Example,
    Target,
    TargetOptions,
    make_target,
)
from napari_unet.core.validation import Holdout, split_validation


def target(classes, source="here"):
    """A target whose image numbers its pixels, so that pieces can be found again."""
    classes = np.asarray(classes, np.uint8)
    numbers = np.arange(classes.size, dtype=np.float32).reshape(1, *classes.shape)
    return Target(numbers, classes, np.zeros(classes.shape, np.float32), source)


def stripes(shape=(256, 256), source="here"):
    """Both classes everywhere."""
    return target(np.indices(shape).sum(0) // 4 % 2, source)


@st.composite
def annotated(draw):
    """One to three planes or volumes, labelled everywhere or in some strokes."""
    ndim = draw(st.integers(2, 3))
    shape = tuple(draw(st.integers(1, 220 if ndim == 2 else 60)) for _ in range(ndim))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    share = draw(st.sampled_from([1.0, 0.3, 0.01]))
    planes = rng.integers(0, draw(st.integers(1, 3)), (draw(st.integers(1, 3)), *shape))
    coarse = np.kron(rng.random([1 + size // 16 for size in shape]) < share, np.ones((16,) * ndim, bool))
    inside = coarse[tuple(slice(0, size) for size in shape)]
    return [target(np.where(inside, plane, UNLABELLED)) for plane in planes]


@settings(max_examples=40)
@given(targets=annotated(), fraction=st.floats(0.05, 0.5), seed=st.integers(0, 9))
def test_no_held_out_pixel_nor_its_gap_is_trained_on(targets, fraction, seed):
    split = split_validation(targets, fraction, seed)
    if "optimistic" in split.how:
        assert split.training == split.validation == tuple(targets)
        return
    held = [np.zeros(t.classes.shape, bool) for t in targets]
    for piece in split.validation:
        numbers = piece.image[0].astype(int)[piece.classes != UNLABELLED]
        values = piece.classes[piece.classes != UNLABELLED]
        owners = [i for i, t in enumerate(targets) if (t.classes.flat[numbers] == values).all()]
        assert owners  # held-out pixels keep their class
        if len(owners) == 1:
            held[owners[0]].flat[numbers] = True
    for whole, trained, out in zip(targets, split.training, held, strict=True):
        assert trained.image is whole.image
        kept = trained.classes != UNLABELLED
        assert (trained.classes[kept] == whole.classes[kept]).all()
        assert not (kept & maximum_filter(out, 2 * GAP + 1, mode="constant")).any()


@settings(max_examples=30)
@given(targets=annotated(), fraction=st.floats(0.05, 0.5))
def test_every_class_keeps_most_of_its_pixels_and_is_scored(targets, fraction):
    split = split_validation(targets, fraction, 0)

    def counts(parts):
        return sum(np.bincount(t.classes.ravel(), minlength=256)[:UNLABELLED] for t in parts)

    everything = counts(targets)
    assert (counts(split.training) >= everything / 2).all()
    assert ((counts(split.validation) > 0) == (everything > 0)).all()


def test_whole_images_are_held_out_where_there_are_enough():
    targets = [stripes((20, 20), f"image {i}") for i in range(10)]
    split = split_validation(targets, 0.2, 0)
    assert split.how == "2 of 10 images are held out"
    assert {t.source for t in split.training}.isdisjoint(t.source for t in split.validation)
    assert len(split.training) == 8 and len(split.validation) == 2


def test_all_planes_of_a_held_out_stack_are_held_out():
    targets = [stripes((20, 20), f"stack {i}") for i in range(8) for _ in range(3)]
    split = split_validation(targets, 0.2, 0)
    assert {t.source for t in split.training}.isdisjoint(t.source for t in split.validation)
    assert len(split.validation) == 6


def plane(pixels, z, t=0, classes=None):
    """A plane of a stack with both classes in it, unless others are given."""
    classes = np.indices(pixels.shape).sum(0) // 4 % 2 if classes is None else classes
    image = pixels[None].astype(np.float32)
    return replace(target(classes, "stack"), image=image, index=(t, z))


def noise(*shape, seed=0):
    """Spots of 8 pixels."""
    small = np.random.default_rng(seed).normal(
        size=[size if i == 0 else size // 8 for i, size in enumerate(shape)]
    )
    return small.repeat(8, 1).repeat(8, 2)


def drifting(n, seed=0):
    """Planes each of which is nearly the one before, and unlike those far away."""
    rng = np.random.default_rng(seed)
    planes = [noise(1, 64, 64, seed=seed)[0]]
    for step in range(1, n):
        planes.append(0.9 * planes[-1] + 0.436 * noise(1, 64, 64, seed=1000 * seed + step)[0])
    return [each + rng.normal(0, 0.05, each.shape) for each in planes]


@pytest.mark.parametrize("seed", range(5))
def test_planes_are_held_out_as_one_run_without_those_beside_that_look_alike(seed):
    stack = [plane(pixels, z) for z, pixels in enumerate(drifting(80))]
    split = split_validation(stack, 0.1, seed)
    held = sorted(each.index[1] for each in split.validation)
    trained = {each.index[1] for each in split.training}
    assert held == list(range(held[0], held[0] + 8)) and len(trained) >= 40
    assert not trained & set(range(held[0] - 9, held[-1] + 10))  # 0.9**9 is still alike
    assert split.how.startswith("8 of 80 planes are held out, in one run; ")
    assert split.summary.n_places == 8 and split.summary.planes[0] == ("stack", (0, held[0]))


def test_planes_that_differ_lose_none_beside_the_run():
    stack = [plane(pixels, z) for z, pixels in enumerate(noise(9, 64, 64))]
    split = split_validation(stack, 0.3, 0)
    assert split.how == "3 of 9 planes are held out, in one run"
    assert len(split.training) == 6 and len(split.validation) == 3


def test_time_points_of_few_planes_are_held_out_as_runs_of_all_planes():
    movie = [plane(p, i % 2, i // 2) for i, p in enumerate(noise(24, 64, 64))]
    split = split_validation(movie, 0.25, 0)
    held = sorted({each.index[0] for each in split.validation})
    assert held == list(range(held[0], held[0] + 3)) and len(split.validation) == 6
    assert "6 of 24 time points" in split.how


@pytest.mark.parametrize("n_planes", [3, 12])
def test_of_planes_that_all_look_alike_the_same_places_are_held_out_in_each(n_planes):
    """Who knows the next plane by heart does not score: what is held out is trained on in no plane."""
    pixels = noise(1, 256, 256)[0]
    stack = [plane(pixels, z, classes=np.indices(pixels.shape).sum(0) // 4 % 2) for z in range(n_planes)]
    split = split_validation(stack, 0.2, 0)
    assert split.how == "blocks of the annotated area are held out"
    trained = np.any([each.classes != UNLABELLED for each in split.training], axis=0)
    planes = set()
    for piece in split.validation:
        planes.add(piece.index)
        places = np.argwhere(piece.classes != UNLABELLED)
        numbers = {tuple(at) for at in places}
        assert numbers
    held = ~trained
    assert held.any() and planes == {(0, z) for z in range(n_planes)}
    assert all(((each.classes != UNLABELLED) == trained).all() for each in split.training)


def test_memorising_the_neighbours_does_not_score():
    """Where neighbours are nearly the same, copying the nearest trained plane is hardly more than chance."""
    rng = np.random.default_rng(0)
    maps = np.repeat(rng.random((12, 16, 16)) < 0.5, 10, 0).repeat(8, 1).repeat(8, 2)  # 120 planes
    stack = [plane(each + rng.normal(0, 0.1, each.shape), z, classes=each) for z, each in enumerate(maps)]
    for seed in range(6):
        split = split_validation(stack, 0.1, seed)
        agreement = []
        for held in split.validation:
            nearest = min(split.training, key=lambda each: abs(each.index[1] - held.index[1]))
            agreement.append((nearest.classes == held.classes).mean())
        assert np.mean(agreement) < 0.65  # random planes would be right nearly everywhere


@settings(max_examples=40)
@given(seed=st.integers(0, 999), n=st.integers(4, 40))
def test_no_stroke_is_both_trained_and_scored(seed, n):
    rng = np.random.default_rng(seed)
    canvas = strokes(rng, n)
    split = Holdout().split([placed(canvas, [(0, 260), (0, 230)])], 0.2, seed)
    if "optimistic" in split.how:
        return
    parts = label(canvas != UNLABELLED, np.ones((3, 3)))[0]
    scored, trained = (set(np.unique(parts[labelled(side)])) for side in (split.validation, split.training))
    assert scored and not scored & trained
    assert split.n_places >= len(scored)


def test_an_image_that_alone_has_a_class_is_not_held_out():
    targets = [target(np.zeros((8, 8)), f"image {i}") for i in range(7)] + [target(np.ones((8, 8)), "only")]
    for seed in range(20):
        split = split_validation(targets, 0.2, seed)
        assert "only" in {t.source for t in split.training if (t.classes == 1).any()}


def test_a_few_slices_lose_about_the_wanted_share_in_blocks():
    targets = [stripes((512, 512)) for _ in range(3)]
    split = split_validation(targets, 0.2, 0)
    assert split.how == "blocks of the annotated area are held out"
    total = sum(t.classes.size for t in targets)
    held = sum(np.count_nonzero(t.classes != UNLABELLED) for t in split.validation)
    assert 0.15 < held / total < 0.3


def test_a_block_is_scored_with_unlabelled_context_around_it():
    split = split_validation([stripes((512, 512))], 0.2, 0)
    for piece in split.validation:
        assert (piece.classes == UNLABELLED).any() and piece.image.shape[1:] == piece.classes.shape


def test_one_slice_with_few_strokes_still_works_and_says_so():
    classes = np.full((100, 100), UNLABELLED)
    classes[5, 5:20], classes[60, 5:20] = 0, 1
    split = split_validation([target(classes)], 0.2, 0)
    assert split.training == split.validation and "score is optimistic" in split.how


def test_nothing_is_held_out_when_nothing_is_to_be():
    targets = [stripes((20, 20), f"image {i}") for i in range(10)]
    split = split_validation(targets, 0.0, 0)
    assert split.training == split.validation == tuple(targets)


def test_the_same_seed_holds_out_the_same():
    targets = [stripes((512, 512))]
    splits = [split_validation(targets, 0.2, seed) for seed in (3, 3, 4)]
    maps = [split.training[0].classes.tobytes() for split in splits]
    assert maps[0] == maps[1] != maps[2]


def test_holding_out_nothing_is_not_blamed_on_the_annotation():
    classes = np.zeros((256, 256), np.uint8)
    classes[::2] = 1
    target = Target(np.zeros((1, 256, 256), np.float32), classes, np.zeros((256, 256), np.float32))
    assert (
        split_validation([target], 0.0, seed=0).how
        == "nothing is held out: score is optimistic: measured on training data"
    )


CANVAS = (260, 230)
NUMBERS = np.arange(np.prod(CANVAS), dtype=np.float32).reshape(1, *CANVAS)


def placed(canvas, box, frame=("here", 0)):
    """A region of an annotated canvas, with its place; its image numbers the pixels of the canvas."""
    region = tuple(slice(*part) for part in box)
    classes = canvas[region].astype(np.uint8)
    place = (frame[1], *(part.start for part in region))
    image = NUMBERS[(slice(None), *region)]
    return Target(image, classes, np.zeros(classes.shape, np.float32), frame[0], place)


def around(canvas, margin):
    """The annotated part of a canvas with a margin around it."""
    places = np.nonzero(canvas != UNLABELLED)
    return placed(canvas, [(max(0, p.min() - margin), p.max() + 1 + margin) for p in places])


def strokes(rng, n, n_classes=2):
    """A canvas with bars of every class in turn."""
    canvas = np.full(CANVAS, UNLABELLED)
    for index in range(n):
        y, x = rng.integers(0, CANVAS)
        canvas[y : y + rng.integers(2, 12), x : x + rng.integers(5, 70)] = index % n_classes
    return canvas


def labelled(targets):
    """Where on the canvas something is labelled in one of the targets."""
    found = np.zeros(CANVAS, bool)
    for each in targets:
        found.flat[each.image[0][each.classes != UNLABELLED].astype(int)] = True
    return found


def near(mask):
    return maximum_filter(mask, 2 * GAP + 1, mode="constant")


@settings(max_examples=60)
@given(
    seed=st.integers(0, 999),
    n=st.integers(2, 60),
    cuts=st.lists(st.integers(1, 259), max_size=3),
    overlap=st.integers(0, 40),
)
def test_no_pixel_within_the_gap_is_trained_on_whichever_region_of_the_plane_it_is_in(seed, n, cuts, overlap):
    """Regions of one plane that touch or overlap, in three rounds of more strokes."""
    rng = np.random.default_rng(seed)
    holdout, canvas = Holdout(), np.full(CANVAS, UNLABELLED)
    edges = [0, *sorted(set(cuts)), CANVAS[0]]
    for _ in range(3):
        new = strokes(rng, n)
        canvas = np.where(canvas == UNLABELLED, new, canvas)
        boxes = [((max(0, a - overlap), b), (0, CANVAS[1])) for a, b in pairwise(edges)]
        targets = [placed(canvas, box) for box in boxes]
        split = holdout.split(targets, 0.2, seed)
        if "optimistic" not in split.how:
            assert not (near(labelled(split.validation)) & labelled(split.training)).any()
            assert (labelled(split.validation) <= (canvas != UNLABELLED)).all()


def lost(holdout, canvas):
    """Where nothing is trained on as long as what is held out stays held out."""
    covered, held = np.zeros(CANVAS, bool), np.zeros(CANVAS, bool)
    for block in holdout._held:
        covered[tuple(slice(max(0, start), stop) for start, stop in block.grown)] = True
        held[tuple(slice(*part) for part in block.box)] = True
    parts = label(canvas != UNLABELLED, np.ones((3, 3)))[0]
    return covered | (np.isin(parts, np.unique(parts[held])) & (parts > 0))


@settings(max_examples=80)
@given(seed=st.integers(0, 999), n=st.integers(4, 60), margin=st.integers(0, 64))
def test_what_is_held_out_stays_so_while_the_annotation_grows(seed, n, margin):
    """Unless that takes three quarters of a class from training; the region grows with its annotation."""
    rng = np.random.default_rng(seed)
    holdout, canvas = Holdout(), strokes(rng, n)
    held = np.zeros(CANVAS, bool)
    for _ in range(4):
        trained = canvas[~lost(holdout, canvas)]
        enough = all((trained == index).sum() >= (canvas == index).sum() / 4 for index in range(2))
        split = holdout.split([around(canvas, margin)], 0.2, seed)
        now = np.zeros(CANVAS, bool) if "optimistic" in split.how else labelled(split.validation)
        assert (held <= now).all() or not enough
        assert set(canvas.flat) == set(split.training[0].classes.flat) | {UNLABELLED}
        held, canvas = now, np.where(canvas == UNLABELLED, strokes(rng, n), canvas)


def test_a_stroke_inside_a_held_out_block_is_held_out_too():
    canvas = np.indices(CANVAS).sum(0) // 4 % 2
    canvas[100:140] = UNLABELLED
    holdout = Holdout()
    first = labelled(holdout.split([placed(canvas, [(0, 260), (0, 230)])], 0.2, 0).validation)
    inside = first.copy()
    inside[100:140] = first[99] & first[140]
    filled = np.where(inside & (canvas == UNLABELLED), 1, canvas)
    again = labelled(holdout.split([placed(filled, [(0, 260), (0, 230)])], 0.2, 0).validation)
    assert first.any() and (inside <= again).all()


def test_a_class_that_is_painted_only_where_is_held_out_is_trained_on_all_the_same():
    canvas = np.indices(CANVAS).sum(0) // 4 % 2
    holdout = Holdout()
    before = holdout.split([placed(canvas, [(0, 260), (0, 230)])], 0.2, 0)
    y, x = np.argwhere(labelled(before.validation))[0]
    canvas[y : y + 10, x : x + 10] = 2
    after = holdout.split([placed(canvas, [(0, 260), (0, 230)])], 0.2, 0)
    assert (after.training[0].classes == 2).any()


def test_blocks_annotated_anew_are_held_out_before_those_that_were_trained_on():
    """At first too little is annotated, so that everything is trained on."""
    canvas = np.full(CANVAS, UNLABELLED)
    canvas[5:9, 5:60], canvas[15:19, 5:60] = 0, 1
    for seed in range(8):
        holdout = Holdout()
        first = holdout.split([placed(canvas, [(0, 64), (0, 64)])], 0.2, seed)
        assert "optimistic" in first.how
        more = canvas.copy()
        more[200:204, 160:200], more[210:214, 160:200] = 0, 1
        split = holdout.split([placed(more, [(0, 260), (0, 230)])], 0.2, seed)
        held = labelled(split.validation)
        assert held[200:].any() and not held[:200].any()


def test_regions_of_other_images_are_told_apart_and_planes_of_one_are_split_alike():
    canvas = np.indices(CANVAS).sum(0) // 4 % 2
    targets = [placed(canvas, [(0, 128), (0, 128)], ("here", index)) for index in range(2)]
    targets += [placed(canvas, [(0, 128), (0, 128)], ("there", 0))]
    split = Holdout().split(targets, 0.2, 0)
    whole = [np.count_nonzero(t.classes != UNLABELLED) for t in split.training]
    assert whole[0] == whole[1] != whole[2] and max(whole) == 128 * 128


def test_targets_in_which_nothing_changes_stay_the_same_objects():
    """Whoever draws from them need not look at them again."""
    canvas = np.indices(CANVAS).sum(0) // 4 % 2
    targets = [placed(canvas, [(0, 260), (0, 230)], ("here", index)) for index in range(5)]
    holdout = Holdout()
    before = holdout.split(targets, 0.2, 0).training
    targets[3] = placed(canvas, [(0, 260), (0, 230)], ("here", 3))
    after = holdout.split(targets, 0.2, 0).training
    assert [one is other for one, other in zip(before, after, strict=True)] == [True, True, True, False, True]


def test_a_volume_keeps_what_is_held_out_when_more_planes_are_annotated():
    numbers = np.arange(40 * 96 * 96, dtype=np.float32).reshape(1, 40, 96, 96)
    canvas = np.full((40, 96, 96), UNLABELLED, np.uint8)
    stripes_of_a_plane = np.indices((96, 96)).sum(0) // 4 % 2
    holdout, held = Holdout(), set()
    for planes in ([20], [20, 12], [20, 12, 30]):
        canvas[planes] = stripes_of_a_plane
        start, stop = max(0, min(planes) - 16), max(planes) + 10
        image, classes = numbers[:, start:stop], canvas[start:stop]
        volume = Target(image, classes, np.zeros(classes.shape, np.float32), "v", (0, start, 0, 0))
        split = holdout.split([volume], 0.2, 0)
        now = {int(n) for piece in split.validation for n in piece.image[0][piece.classes != UNLABELLED]}
        assert held <= now and len(now) < (canvas != UNLABELLED).sum() / 2
        held = now
    assert held


def test_nothing_stays_held_out_when_nothing_is_to_be_any_more():
    canvas = np.indices(CANVAS).sum(0) // 4 % 2
    targets = [placed(canvas, [(0, 260), (0, 230)])]
    holdout = Holdout()
    holdout.split(targets, 0.2, 0)
    assert holdout.split(targets, 0.0, 0).training == tuple(targets)


def discs(shape, step, radius):
    """Numbered discs (or balls) of one size on labelled background."""
    annotation = np.ones(shape, np.int64)
    centres = np.stack(np.meshgrid(*(np.arange(step // 2, size, step) for size in shape)), -1)
    for number, centre in enumerate(centres.reshape(-1, len(shape)), start=7):
        away = sum((at - c) ** 2 for at, c in zip(np.indices(shape), centre, strict=True))
        annotation[away < radius**2] = number
    return annotation


def objects_target(annotation, place=()):
    image = np.zeros((1, *annotation.shape), np.float32)
    spacing = (1.0,) * annotation.ndim
    options = TargetOptions("objects", OBJECT_CLASSES)
    return make_target(Example(image, annotation, spacing, "here", place), options)


@pytest.mark.parametrize(
    ("shape", "step", "radius", "place"),
    [((260, 300), 20, 7, ()), ((260, 300), 20, 7, (0, 13, 5)), ((60, 72, 72), 24, 9, ())],
)
def test_no_fragment_of_an_object_that_a_held_out_block_cuts_counts(shape, step, radius, place):
    annotation = discs(shape, step, radius)
    sizes = np.bincount(annotation.ravel())
    split = split_validation([objects_target(annotation, place)], 0.2, 0)
    assert "blocks" in split.how
    n_whole = 0
    for piece in split.validation:
        numbers, counts = np.unique(piece.objects, return_counts=True)
        is_object = numbers > 1
        assert (counts[is_object] == sizes[numbers[is_object]]).all()
        assert (piece.objects[piece.classes == UNLABELLED] == 0).all()
        n_whole += is_object.sum()
    assert n_whole


def test_an_object_of_two_parts_is_whole_only_where_both_are():
    annotation = discs((256, 256), 32, 12)
    annotation[annotation > 7 + 31] -= 32  # the lower half of the discs belongs to the upper one
    pieces = split_validation([objects_target(annotation)], 0.2, 0).validation
    assert pieces and not any((piece.objects > 1).any() for piece in pieces)


@pytest.mark.parametrize("side", [64, 65, 67, 130])
def test_planes_that_have_nothing_in_common_do_not_look_alike_whatever_their_size(side):
    planes = np.random.default_rng(0).normal(-0.8, 0.3, (20, 1, side, side)).astype(np.float32)
    assert look_alike_within(planes, range(20)) == 1
