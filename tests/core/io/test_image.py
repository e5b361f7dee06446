from math import prod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_unet.core.io.image import Image, make_image, override

DTYPES = ("u1", ">u2", "<i4", ">f4", "?", "<f8")


@st.composite
def images(draw: st.DrawFn) -> Image:
    axes = "".join(draw(st.permutations("YX" + draw(st.sampled_from(["", "Z", "C", "T", "ZC", "TZC"])))))
    shape = tuple(draw(st.integers(1, 5)) for _ in axes)
    data = np.arange(prod(shape)).reshape(shape).astype(draw(st.sampled_from(DTYPES)))
    data.flags.writeable = False
    return make_image(data, axes, {}, "pixel", (), "drawn")


@given(images(), st.data())
def test_a_region_is_read_in_zyx_order_and_native_bytes_whatever_the_axes(image: Image, data: st.DataObject):
    t = data.draw(st.integers(0, image.n_timepoints - 1))
    bounds = [sorted(data.draw(st.tuples(*[st.integers(0, size)] * 2))) for size in image.spatial_shape]
    region = tuple(slice(start, stop) for start, stop in bounds)

    read = image.read(region, t=t)

    dimensions = [a for a in "TC" + image.spatial_axes if a in image.axes]
    whole = np.einsum(f"{image.axes}->{''.join(dimensions)}", image.data)
    whole = whole[t] if "T" in image.axes else whole
    whole = whole if "C" in image.axes else whole[np.newaxis]
    np.testing.assert_array_equal(read, whole[(slice(None), *region)])
    assert read.dtype.isnative and read.dtype == image.dtype
    assert read.flags.writeable and read.flags.c_contiguous and not np.shares_memory(read, image.data)


@pytest.mark.parametrize("region", [(slice(0, 5), slice(0, 4)), (slice(-1, 2), slice(0, 4)), (slice(0, 2),)])
def test_a_region_outside_the_image_is_refused(region: tuple[slice, ...]):
    image = make_image(np.zeros((4, 4)), "YX", {}, "pixel", (), "cells")
    with pytest.raises(ValueError, match="cells"):
        image.read(region)


def test_channels_are_selected_in_the_given_order_and_keep_their_names():
    data = np.arange(12).reshape(2, 2, 3)
    image = override(make_image(data, "YXC", {}, "pixel", ("a", "b", "c"), "cells"), channels=[2, 0])
    assert image.channels == ("c", "a")
    np.testing.assert_array_equal(image.read(), data[..., [2, 0]].transpose(2, 0, 1))


def test_a_channel_that_does_not_exist_is_refused():
    image = make_image(np.zeros((3, 4, 4)), "CYX", {}, "pixel", (), "cells")
    with pytest.raises(ValueError, match="no channel 3; it has 3, choose among 0 to 2"):
        override(image, channels=[0, 3])
    with pytest.raises(ValueError, match="no channel 1"):
        override(make_image(np.zeros((4, 4)), "YX", {}, "pixel", (), "cells"), channels=[1])


def test_axes_that_do_not_fit_the_shape_are_refused():
    for axes in ("YX", "ZZYX", "QYX", "ZCY"):
        with pytest.raises(ValueError, match="axes"):
            make_image(np.zeros((3, 4, 4)), axes, {}, "pixel", (), "cells")


@pytest.mark.parametrize("spacing", [(1.0,), (1, 1, 1), (0.0, 1.0), (float("nan"), 1.0), (-1, 1)])
def test_a_spacing_that_does_not_fit_the_spatial_axes_is_refused(spacing: tuple[float, ...]):
    image = make_image(np.zeros((3, 4, 4)), "CYX", {}, "pixel", (), "cells")
    with pytest.raises(ValueError, match="spacing"):
        override(image, spacing=spacing)


def test_only_the_wanted_time_point_and_run_of_channels_are_touched():
    class Recorder:
        shape, dtype = (9, 8, 4, 4), np.dtype("u1")

        def __getitem__(self, region):
            self.region = region
            return np.zeros(
                [len(range(*p.indices(n))) for p, n in zip(region, self.shape, strict=True)], "u1"
            )

    recorder = Recorder()
    image = override(make_image(recorder, "TCYX", {}, "pixel", (), "cells"), channels=[6, 5])
    assert image.read((slice(1, 2), slice(0, 3)), t=7).shape == (2, 1, 3)
    assert recorder.region == (slice(7, 8), slice(5, 7), slice(1, 2), slice(0, 3))
