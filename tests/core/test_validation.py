"""Validation: what is held out is never trained on, and how the network does there."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import maximum_filter

from napari_unet.core.targets import UNLABELLED, Target
from napari_unet.core.validation import GAP, ValidationScore, score, split_validation


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
    if "flatters" in split.how:
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


def test_whole_slices_are_held_out_where_there_are_enough():
    split = split_validation([stripes((20, 20)) for _ in range(9)], 0.3, 0)
    assert split.how == "3 of 9 slices are held out"
    assert not {id(t) for t in split.training} & {id(t) for t in split.validation}


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
    assert split.training == split.validation and "the score flatters" in split.how


def test_nothing_is_held_out_when_nothing_is_to_be():
    targets = [stripes((20, 20), f"image {i}") for i in range(10)]
    split = split_validation(targets, 0.0, 0)
    assert split.training == split.validation == tuple(targets)


def test_the_same_seed_holds_out_the_same():
    targets = [stripes((512, 512))]
    splits = [split_validation(targets, 0.2, seed) for seed in (3, 3, 4)]
    maps = [split.training[0].classes.tobytes() for split in splits]
    assert maps[0] == maps[1] != maps[2]


def predicting(classes, n_classes):
    return lambda image: np.moveaxis(np.eye(n_classes, dtype=np.float32)[classes], -1, 0)


def test_scores_by_hand():
    truth = [[0, 0, 1, UNLABELLED], [1, 1, 0, 0]]
    found = score([target(truth)], predicting(np.array([[0, 1, 1, 2], [1, 0, 0, 0]]), 3), 3)
    # class 0: 3 of 4 true and 4 found; class 1: 2 of 3 and 3; the 2 is not labelled
    assert found.dice == pytest.approx((2 * 3 / 8, 2 * 2 / 6, None))
    assert found.iou == pytest.approx((3 / 5, 2 / 4, None))
    assert found.pixel_accuracy == pytest.approx(5 / 7)
    assert found.mean_dice == pytest.approx((3 / 4 + 2 / 3) / 2)


def test_nothing_to_score_is_no_score_rather_than_an_error():
    found = score([], predicting(np.zeros((1, 1), int), 2), 2)
    assert found == ValidationScore((None, None), (None, None), 0.0) and found.mean_dice == 0


def test_holding_out_nothing_is_not_blamed_on_the_annotation():
    classes = np.zeros((256, 256), np.uint8)
    classes[::2] = 1
    target = Target(np.zeros((1, 256, 256), np.float32), classes, np.zeros((256, 256), np.float32))
    assert split_validation([target], 0.0, seed=0).how == "nothing is held out: the score flatters"
