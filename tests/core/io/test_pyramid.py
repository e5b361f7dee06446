from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_unet.core.io.layout import Layout
from napari_unet.core.io.pyramid import Level, mean, pieces, pyramid, sources, strided


def _layout(shape: tuple[int, ...], axes: str, spacing: tuple[float, ...], dtype: str = "u1") -> Layout:
    return Layout(shape, np.dtype(dtype), axes, spacing, "µm", ())


def _centres(level: Level) -> list[np.ndarray]:
    return [
        start + scale * np.arange(size)
        for start, scale, size in zip(level.translation, level.scale, level.shape, strict=True)
    ]


@given(
    st.tuples(st.integers(1, 5), st.integers(1, 2100), st.integers(1, 2100)),
    st.tuples(*[st.floats(0.1, 10)] * 3),
    st.sampled_from(["u1", "f4"]),
)
def test_levels_stop_where_a_plane_is_small_and_stay_where_they_belong(
    shape: tuple[int, int, int], spacing: tuple[float, ...], dtype: str
):
    levels = pyramid(_layout(shape, "ZYX", spacing, dtype), (1, 512, 512))
    assert max(levels[-1].shape[1:]) <= 512 and all(max(level.shape[1:]) > 512 for level in levels[:-1])
    for finer, coarser in pairwise(levels):
        for before, after, factor in zip(_centres(finer), _centres(coarser), coarser.factors, strict=True):
            kept = before[::factor]  # where the pixels lie that a coarse one stands for
            expected = (
                kept
                if dtype == "u1"
                else kept + (factor - 1) * (before[1] - before[0] if factor > 1 else 0) / 2
            )
            np.testing.assert_allclose(after, expected)


def test_planes_are_merged_where_they_are_as_close_as_pixels():
    near, far = (1.3, 1, 1), (3, 1, 1)
    assert [level.shape for level in pyramid(_layout((9, 1200, 1200), "ZYX", near), (1, 512, 512))] == [
        (9, 1200, 1200), (5, 600, 600), (3, 300, 300)
    ]  # fmt: skip
    assert [level.shape[0] for level in pyramid(_layout((9, 4000, 1200), "ZYX", far), (1, 512, 512))] == [
        9,
        9,
        9,
        5,
    ]


def test_time_channels_and_axes_of_one_pixel_are_never_halved():
    levels = pyramid(_layout((4, 3, 1, 1, 3000), "TCZYX", (1, 1, 1), "f4"), (1, 1, 1, 512, 512))
    assert levels[-1].shape == (4, 3, 1, 1, 375)
    assert levels[-1].scale == (1, 1, 1, 1, 8) and levels[-1].translation == (0, 0, 0, 0, 3.5)


@given(
    st.tuples(st.integers(1, 7), st.integers(1, 9), st.integers(1, 9)), st.tuples(*[st.integers(1, 2)] * 3)
)
def test_a_mean_is_that_of_the_pixels_that_are_there(shape: tuple[int, ...], factors: tuple[int, ...]):
    pixels = np.random.default_rng(0).random(shape, dtype=np.float32)
    halved = mean(pixels, factors)
    for place in np.ndindex(halved.shape):
        cell = tuple(slice(at * factor, (at + 1) * factor) for at, factor in zip(place, factors, strict=True))
        assert halved[place] == pytest.approx(pixels[cell].mean(), rel=1e-5)


@pytest.mark.parametrize("dtype", ["u1", "f2", "f4"])
def test_a_mean_keeps_the_type_and_loses_nothing_to_it(dtype: str):
    top = np.full((2, 2), 255 if dtype == "u1" else 60000, dtype)
    assert mean(top, (2, 2)) == top[0, 0] and mean(top, (2, 2)).dtype == dtype


def test_labels_are_only_ever_labels_that_are_there():
    labels = np.array([[1, 9], [9, 9]])
    assert strided(labels, (2, 2)).tolist() == [[1]]


@given(st.tuples(st.integers(1, 9), st.integers(1, 30)), st.tuples(st.integers(1, 4), st.integers(1, 9)))
def test_blocks_and_pieces_cover_each_pixel_once(shape: tuple[int, int], block_shape: tuple[int, int]):
    level = Level(shape, block_shape, (1, 1), (1.0, 1.0), (0.0, 0.0))
    seen = np.zeros(shape, int)
    for index in range(len(level)):
        for piece in pieces(level.block(index), (2, 4)):
            seen[piece] += 1
    assert (seen == 1).all()


@given(st.integers(1, 50), st.integers(1, 9), st.integers(1, 2))
def test_blocks_of_a_level_are_made_of_disjoint_parts_of_the_one_before(size: int, step: int, factor: int):
    level = Level((-(-size // factor),), (step,), (factor,), (1.0,), (0.0,))
    seen = np.zeros(size, int)
    for index in range(len(level)):
        seen[sources(level.block(index), (factor,), (size,))] += 1
    assert (seen == 1).all()
