"""Augmentation: what stays exact, what moves together, what repeats."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from napari_unet.core.augment import (
    MANY_IMAGES,
    ONE_STACK,
    Augmentation,
    augment,
    change_intensity,
    sampling_grid,
)

STILL = Augmentation(flip=False)
MOVES = Augmentation(rotation=180, scale=0.35, elastic=2.0)
patch_shapes = st.one_of(st.tuples(*[st.integers(1, 20)] * 2), st.tuples(*[st.integers(1, 8)] * 3))


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def windows(n, patch_shape, augmentation, seed=0):
    """Random pixels (n, 1, *window)."""
    return torch.rand(n, 1, *augmentation.window_shape(patch_shape), generator=seeded(seed))


@given(patch_shapes)
def test_without_any_change_the_patch_comes_back_as_it_was(shape):
    images = windows(2, shape, STILL)
    changed, targets = augment(images, images, shape, STILL, seeded())
    assert torch.equal(targets, images)
    torch.testing.assert_close(changed, images, atol=1e-4, rtol=0)


def test_no_intensity_change_is_exactly_none():
    images = windows(2, (8, 8), STILL)
    assert torch.equal(change_intensity(images, STILL, seeded()), images)


@given(shape=patch_shapes, extra=st.integers(0, 3))
def test_the_patch_is_the_middle_of_a_larger_window(shape, extra):
    images = torch.rand(1, 1, *[size + 2 * extra for size in shape], generator=seeded())
    _, targets = augment(images, images, shape, STILL, seeded())
    middle = tuple(slice(extra, extra + size) for size in shape)
    assert torch.equal(targets, images[(..., *middle)])


@given(shape=patch_shapes, seed=st.integers(0, 20))
def test_flips_and_quarter_turns_only_move_pixels(shape, seed):
    images = windows(3, shape, Augmentation())
    changed, targets = augment(images, images, shape, Augmentation(), seeded(seed))
    assert torch.equal(targets.flatten(1).sort().values, images.flatten(1).sort().values)
    torch.testing.assert_close(changed, targets, atol=1e-4, rtol=0)


def test_all_eight_orientations_of_a_square_are_drawn():
    square = torch.arange(9.0).reshape(1, 1, 3, 3).expand(200, 1, 3, 3)
    _, targets = augment(square, square, (3, 3), Augmentation(), seeded())
    turned = [torch.rot90(square[0, 0], k) for k in range(4)]
    expected = {tuple(t.flatten().tolist()) for one in turned for t in (one, one.T)}
    assert {tuple(t.flatten().tolist()) for t in targets[:, 0]} == expected


def test_a_patch_that_is_not_square_is_flipped_but_not_turned():
    patch = torch.arange(6.0).reshape(1, 1, 2, 3).expand(100, 1, 2, 3)
    _, targets = augment(patch, patch, (2, 3), Augmentation(), seeded())
    assert len({tuple(t.flatten().tolist()) for t in targets[:, 0]}) == 4


@given(shape=patch_shapes, seed=st.integers(0, 20))
def test_image_and_target_move_together(shape, seed):
    """A ramp through both: linear and nearest differ by what half a pixel is worth."""
    window = MOVES.window_shape(shape)
    ramp = sum(torch.meshgrid(*[torch.arange(float(size)) for size in window], indexing="ij"))
    ramps = ramp.expand(2, 1, *window)
    changed, targets = augment(ramps, ramps, shape, MOVES, seeded(seed))
    assert (changed - targets).abs().max() <= 0.5 * len(shape) + 1e-2


@given(shape=patch_shapes, seed=st.integers(0, 20))
def test_the_target_never_mixes_values(shape, seed):
    classes = torch.tensor([0.0, 1.0, 255.0])
    images = windows(2, shape, MANY_IMAGES)
    labels = classes[(images * 3).long()]
    _, targets = augment(images, labels, shape, MANY_IMAGES, seeded(seed))
    assert set(targets.unique().tolist()) <= set(labels.unique().tolist())


@given(shape=patch_shapes, seed=st.integers(0, 20))
def test_the_window_holds_all_that_a_changed_patch_can_reach(shape, seed):
    moves = Augmentation(rotation=180, scale=0.35)
    ones = torch.ones(4, 1, *moves.window_shape(shape))
    grid = sampling_grid(len(ones), ones.shape[2:], shape, moves, seeded(seed))
    assert grid.abs().max() <= 1


@pytest.mark.parametrize("augmentation", [STILL, Augmentation(), ONE_STACK, MANY_IMAGES])
@given(shape=patch_shapes)
def test_a_window_is_larger_by_an_even_number(augmentation, shape):
    extra = [window - size for window, size in zip(augmentation.window_shape(shape), shape, strict=True)]
    assert all(each >= 0 and each % 2 == 0 for each in extra)


@pytest.mark.parametrize("shape", [(16, 12), (4, 12, 12)])
def test_the_same_seed_gives_the_same_batch_and_another_one_another(shape):
    images = windows(2, shape, MANY_IMAGES)
    first, again, other = (augment(images, images, shape, MANY_IMAGES, seeded(s))[0] for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("shape", [(16, 12), (4, 12, 12), (1, 9, 9), (9, 1)])
def test_every_change_together_stays_finite_and_keeps_channels_apart(shape):
    images = torch.rand(3, 2, *MANY_IMAGES.window_shape(shape), generator=seeded())
    changed, targets = augment(images, images, shape, MANY_IMAGES, seeded())
    assert changed.shape == targets.shape == (3, 2, *shape)
    assert torch.isfinite(changed).all()


def test_a_constant_patch_stays_constant_but_for_noise():
    images = torch.full((4, 1, 8, 8), 0.3)
    quiet = Augmentation(brightness=0.1, contrast=0.1, gamma=0.3, blur=0.5)
    changed = change_intensity(images, quiet, seeded())
    assert torch.isfinite(changed).all()
    assert (changed.amax((1, 2, 3)) - changed.amin((1, 2, 3))).max() < 1e-4


@pytest.mark.parametrize(
    ("name", "value"),
    [("brightness", 0.2), ("contrast", 0.2), ("gamma", 0.3), ("noise", 0.2), ("blur", 0.5)],
)
def test_each_intensity_change_changes_each_patch_in_its_own_way(name, value):
    image = torch.rand(1, 1, 8, 8, generator=seeded()).expand(4, 1, 8, 8)
    changed = change_intensity(image, Augmentation(flip=False, **{name: value}), seeded(3))
    differences = (changed - image).flatten(1).abs().sum(1)
    assert (differences > 0).all() and len(differences.unique()) == 4
    assert (changed - image).abs().mean() < 1


def test_nothing_is_displaced_along_a_rigid_axis_and_no_room_is_kept_for_it():
    elastic = Augmentation(flip=False, elastic=2.0, rigid=(0,))
    window = elastic.window_shape((6, 20, 20))
    assert window[0] == 6 and window[1] > 20
    grid = sampling_grid(2, window, (6, 20, 20), elastic, seeded())  # 2, *patch, (x, y, z)
    planes = torch.arange(-5.0, 6, 2)[:, None, None] / 6
    torch.testing.assert_close(grid[..., 2], planes.expand(2, 6, 20, 20))
    assert grid[..., :2].std(dim=1).min() > 0  # planes still bend, each in its own way


def test_elastic_moves_smoothly():
    """Neighbours are moved alike: on a ramp their difference stays near its slope."""
    elastic = Augmentation(flip=False, elastic=2.0)
    window = elastic.window_shape((64, 64))
    ramp = torch.arange(float(window[1])).expand(1, 1, *window)
    changed, _ = augment(ramp, ramp, (64, 64), elastic, seeded())
    slope = changed[0, 0].diff(dim=1)
    assert slope.std() > 0.01
    assert (slope > 0.3).all() and (slope < 1.7).all()


@given(st.floats(0.1, 0.5))
def test_nothing_is_scaled_along_a_rigid_axis(scale):
    """Slices that are far apart would be mixed, and those in between made up."""
    changes = Augmentation(flip=False, scale=scale, rigid=(0,))
    shape = (5, 12, 12)
    window = changes.window_shape(shape)
    assert window[0] == 5 and window[1] > 12
    numbers = torch.arange(5.0).reshape(1, 1, 5, 1, 1).expand(3, 1, *window)
    changed, _ = augment(numbers, numbers, shape, changes, seeded())
    torch.testing.assert_close(changed, numbers[..., :12, :12], atol=1e-4, rtol=0)


def test_gamma_bends_each_channel_over_its_own_range():
    """A second channel that is a hundred times as bright must not keep the first one from being changed."""
    dim = torch.rand(1, 1, 16, 16, generator=seeded())
    gamma = Augmentation(flip=False, gamma=0.5)
    alone = change_intensity(dim, gamma, seeded())
    beside = change_intensity(torch.cat([dim, 100 * dim], 1), gamma, seeded())
    torch.testing.assert_close(beside[:, :1], alone)
    torch.testing.assert_close(beside[:, 1:], 100 * alone, rtol=1e-4, atol=1e-3)
