import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_unet.core.io import describe_format, open_image

PIXELS = np.random.default_rng(0).integers(0, 999, (3, 4, 20, 30)).astype(np.uint16)


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_region_reads_as_saved(tmp_path: Path, data: st.DataObject):
    n_dimensions = data.draw(st.integers(2, 4))
    order = data.draw(st.sampled_from("CF"))
    dtype = data.draw(st.sampled_from(["u1", ">u2", "<i4", ">f4", "?", "<f2"]))
    pixels = np.array(PIXELS[(0,) * (4 - n_dimensions)], order=order).astype(dtype)
    np.save(tmp_path / "drawn.npy", pixels)
    image = open_image(tmp_path / "drawn.npy")
    bounds = [sorted(data.draw(st.tuples(*[st.integers(0, n)] * 2))) for n in image.spatial_shape]
    region = tuple(slice(start, stop) for start, stop in bounds)
    expected = pixels[(..., *region)].reshape(image.n_channels, *(stop - start for start, stop in bounds))
    np.testing.assert_array_equal(image.read(region), expected)
    assert image.dtype == np.dtype(dtype).newbyteorder("=")


def test_axes_follow_from_the_number_of_dimensions_or_are_given(tmp_path: Path):
    np.save(tmp_path / "a.npy", PIXELS)
    assert open_image(tmp_path / "a.npy").axes == "CZYX"
    assert open_image(tmp_path / "a.npy", axes="TZYX", spacing=(3, 1, 1)).n_timepoints == 3
    assert describe_format(tmp_path / "a.npy") == "NumPy"


class Evil:
    def __reduce__(self):
        return (os.mkdir, ("unpickled",))


def test_python_objects_are_never_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    np.save("evil.npy", np.array([[Evil(), Evil()]], dtype=object))
    with pytest.raises(ValueError, match=r"^evil\.npy cannot be read \(.*Python objects"):
        open_image("evil.npy")
    assert not Path("unpickled").exists()


@pytest.mark.parametrize("kept", [0, 5, 60, 200, 0.5, 0.999])
def test_a_cut_off_array_is_one_clear_sentence(tmp_path: Path, kept: float):
    path = tmp_path / "cut.npy"
    np.save(path, PIXELS)
    os.truncate(path, int(kept if kept >= 1 or kept == 0 else path.stat().st_size * kept))
    with pytest.raises(ValueError, match=r"^cut\.npy cannot be read \(.*\); copy the file again"):
        open_image(path)


@pytest.mark.parametrize(
    ("array", "sentence"),
    [
        (np.zeros((0, 20, 30), "u1"), "has no pixels"),
        (np.zeros(7), r"axes '' name 0 dimensions but the shape is \(7,\)"),
        (np.zeros((4, 5), "c8"), "pixels of type complex64 are no numbers"),
        (np.zeros((4, 5), "U3"), "pixels of type <U3 are no numbers"),
    ],
)
def test_what_is_no_image_is_refused(tmp_path: Path, array: np.ndarray, sentence: str):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(ValueError, match=sentence):
        open_image(tmp_path / "a.npy")
