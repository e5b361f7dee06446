"""Batches: image, classes and weights of patches that are cut out, changed and mirrored together."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_unet.core import patches
from napari_unet.core.augment import MANY_IMAGES, Augmentation
from napari_unet.core.batches import BatchSource
from napari_unet.core.targets import UNLABELLED, Target

STILL = Augmentation(flip=False)
CPU = torch.device("cpu")


def target(classes, separation=None):
    """A target whose image holds the class indices themselves."""
    classes = np.asarray(classes, np.uint8)
    if separation is None:
        separation = np.zeros(classes.shape, np.float32)
    return Target(classes[None].astype(np.float32), classes, separation, "here")


def source(targets, n_classes=2, augmentation=STILL, seed=0, **options):
    return BatchSource(targets, n_classes, augmentation, seed, CPU, **options)


@pytest.fixture(autouse=True)
def inside(monkeypatch):
    """Patches that lie inside their example where they fit: what they hold is known."""
    monkeypatch.setattr(patches, "BEYOND", 0.0)


def random_classes(shape, seed=0):
    return np.random.default_rng(seed).choice([0, 1, UNLABELLED], shape)


@pytest.mark.parametrize("shape", [(40, 30), (6, 20, 20)])
def test_image_and_classes_of_a_patch_belong_together(shape):
    patch_shape = tuple(size // 2 for size in shape)
    batch = source([target(random_classes(shape))], augmentation=Augmentation()).draw(
        3, patch_shape, (0,) * len(shape)
    )
    assert batch.images.shape == (3, 1, *patch_shape) and batch.images.dtype == torch.float32
    assert batch.classes.dtype == torch.int64 and batch.weight.dtype == torch.float32
    torch.testing.assert_close(batch.images[:, 0], batch.classes.float(), atol=0.1, rtol=0)


@pytest.mark.parametrize(
    ("shape", "margin"), [((20, 30), (0, 0)), ((24, 24), (4, 4)), ((6, 20, 20), (0, 0, 0))]
)
def test_shares_of_core_belong_to_the_image_and_a_target_without_any_has_none(shape, margin):
    none = target(np.zeros(shape))
    share = np.random.default_rng(1).random(shape, np.float32)
    shared = replace(none, image=share[None], core_share=share)
    batch = source([shared], augmentation=Augmentation()).draw(2, shape, margin)
    inner = tuple(slice(lost, size - lost) for lost, size in zip(margin, shape, strict=True))
    torch.testing.assert_close(batch.images[:, 0][(..., *inner)], batch.core_share, atol=1e-3, rtol=0)
    assert source([none]).draw(1, shape, margin).core_share is None


def test_unlabelled_pixels_weigh_nothing_and_the_others_one_and_their_separation():
    classes = random_classes((20, 20))
    separation = np.random.default_rng(1).random((20, 20), np.float32)
    batch = source([target(classes, separation)]).draw(1, (20, 20), (0, 0))
    expected = np.where(classes == UNLABELLED, 0, 1 + separation)
    np.testing.assert_allclose(batch.weight[0], expected)


def test_rare_classes_weigh_more_where_that_is_wanted():
    classes = np.zeros((10, 10))
    classes[0, :2], classes[9] = 1, UNLABELLED
    batch = source([target(classes)], balanced=True).draw(1, (10, 10), (0, 0))
    sums = [batch.weight[batch.classes == index].sum().item() for index in (0, 1)]
    assert sums[0] == pytest.approx(sums[1]) and sum(sums) == pytest.approx(90)


def test_an_image_smaller_than_the_patch_is_mirrored_with_its_annotation():
    batch = source([target([[0, 1], [1, 1], [0, 0]])]).draw(1, (3, 4), (0, 0))
    assert batch.classes[0].tolist() == [[1, 0, 1, 0], [1, 1, 1, 1], [0, 0, 0, 0]]
    torch.testing.assert_close(batch.images[0, 0], batch.classes[0].float(), atol=1e-4, rtol=0)


@pytest.mark.parametrize("shape", [(1, 30), (30, 1), (1, 1), (1, 8, 8)])
def test_axes_of_one_pixel_work_under_every_change(shape):
    classes = random_classes(shape)
    classes.flat[0] = 0
    batch = source([target(classes)], augmentation=MANY_IMAGES).draw(2, (16,) * len(shape), (0,) * len(shape))
    assert torch.isfinite(batch.images).all() and torch.isfinite(batch.weight).all()


@pytest.mark.parametrize("place", [(0, 0), (39, 5), (20, 20)])
def test_what_a_valid_padding_network_predicts_holds_the_labelled_pixel(place):
    """However near the border: the lost margin is mirrored beyond it."""
    classes = np.full((40, 40), UNLABELLED)
    classes[place] = 1
    drawn = source([target(classes)]).draw(5, (28, 28), (12, 12))
    assert drawn.images.shape[2:] == (28, 28) and drawn.classes.shape[1:] == (4, 4)
    assert (drawn.weight.flatten(1).sum(1) == 1).all()
    inner = drawn.images[:, 0, 12:-12, 12:-12]
    torch.testing.assert_close(inner, drawn.classes.float(), atol=0.1, rtol=0)


def test_a_margin_wider_than_the_image_is_mirrored_again_and_again():
    batch = source([target(np.eye(5))]).draw(1, (30, 30), (14, 14))
    assert batch.images.shape[2:] == (30, 30) and batch.classes.shape[1:] == (2, 2)


def test_the_same_seed_draws_the_same_batches():
    targets = [target(random_classes((40, 40)))]
    first, again, other = (
        source(targets, augmentation=MANY_IMAGES, seed=seed).draw(2, (16, 16), (0, 0)) for seed in (1, 1, 2)
    )
    assert torch.equal(first.images, again.images) and torch.equal(first.classes, again.classes)
    assert not torch.equal(first.images, other.images)


def test_read_only_annotations_and_many_channels_work():
    classes = random_classes((20, 20)).astype(np.uint8)
    image = np.multiply.outer(np.float32([1, 2, 3]), classes)
    separation = np.zeros((20, 20), np.float32)
    for array in (classes, image, separation):
        array.flags.writeable = False
    batch = source([Target(image, classes, separation)]).draw(2, (8, 8), (0, 0))
    torch.testing.assert_close(batch.images[:, 2], 3 * batch.images[:, 0], atol=0.1, rtol=1e-4)


def test_nothing_labelled_is_refused():
    with pytest.raises(ValueError, match="no pixel is labelled"):
        source([target(np.full((4, 4), UNLABELLED))])
