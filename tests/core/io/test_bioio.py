import builtins
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from napari_unet.core.io import count_missing_chunks, describe_format, list_positions, open_image

pytest.importorskip("bioio_imageio", reason="bioio-imageio, a reader of bioio, is not installed")
PIXELS = np.random.default_rng(0).integers(0, 255, (4, 20, 30, 3), dtype=np.uint8)


def _gif(path: Path) -> Path:
    frames = [Pillow.fromarray(frame) for frame in PIXELS]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    return path


def test_a_format_of_bioio_opens_lazily_with_its_axes(tmp_path: Path):
    path = _gif(tmp_path / "Film µ 1.gif")
    image = open_image(path)
    assert (image.axes, image.data.shape, image.dtype) == ("TYXC", (4, 20, 30, 3), np.uint8)
    assert (image.spacing, image.unit, image.name) == ((1.0, 1.0), "pixel", "Film µ 1")
    with Pillow.open(path) as film:
        film.seek(2)
        expected = np.asarray(film.convert("RGB"))
    region = (slice(3, 9), slice(5, 30))
    np.testing.assert_array_equal(image.read(region, t=2), expected[region].transpose(2, 0, 1))
    assert image.source.open().n_timepoints == 4
    assert describe_format(path) == "gif (through bioio_imageio)"


def test_a_grey_picture_is_one_plane(tmp_path: Path):
    Pillow.fromarray(PIXELS[0, ..., 0]).save(tmp_path / "a.bmp")
    image = open_image(tmp_path / "a.bmp", spacing=(0.5, 0.5))
    assert (image.axes, image.spacing, image.n_channels) == ("YX", (0.5, 0.5), 1)
    np.testing.assert_array_equal(image.read()[0], PIXELS[0, ..., 0])
    assert list_positions(tmp_path / "a.bmp") == ("",) and count_missing_chunks(image) == 0
    with pytest.raises(ValueError, match=r"a\.bmp has no position 1: it has 1"):
        open_image(tmp_path / "a.bmp", position=1)


def test_scenes_sizes_units_and_names_of_a_reader_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    class Scenes:
        """What bioio gives for a microscope's file with two scenes."""

        scenes = ("A1", "B2")
        channel_names = ("dna", "actin")

        def __init__(self, path):
            import dask.array
            import xarray

            data = dask.array.from_array(np.arange(2 * 6 * 5).reshape(1, 2, 1, 6, 5), chunks=(1, 1, 1, 6, 5))
            self.arrays = [xarray.DataArray(data * k, dims=list("TCZYX")) for k in (1, 10)]

        def set_scene(self, scene):
            self.xarray_dask_data = self.arrays[scene]

        @property
        def physical_pixel_sizes(self):
            from bioio import PhysicalPixelSizes

            return PhysicalPixelSizes(None, 65.0, 65.0)

        @property
        def dimension_properties(self):
            from bioio_base.types import DimensionProperties, DimensionProperty, ureg

            return DimensionProperties(*[DimensionProperty("space", ureg.nanometer)] * 5)

    import bioio

    monkeypatch.setattr(bioio, "BioImage", Scenes)
    (tmp_path / "run.czi").write_bytes(b"")
    assert list_positions(tmp_path / "run.czi") == ("A1", "B2")
    image = open_image(tmp_path / "run.czi", position=1, channels=("actin",))
    assert (image.axes, image.spacing, image.unit, image.channels) == ("CYX", (65.0, 65.0), "nm", ("actin",))
    np.testing.assert_array_equal(
        image.read((slice(0, 1), slice(0, 5))), 10 * np.arange(30, 35).reshape(1, 1, 5)
    )
    with pytest.raises(ValueError, match=r"run\.czi has no position 2: it has 2 \(A1, B2\)"):
        open_image(tmp_path / "run.czi", position=2)


def test_without_bioio_the_remedy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "run.czi").write_bytes(b"")
    original = builtins.__import__

    def without_bioio(name, *arguments, **options):
        if name.split(".")[0] == "bioio":
            raise ImportError(name)
        return original(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without_bioio)
    with pytest.raises(
        ValueError, match=r"\(\.czi\); give a TIFF.*or pip install 'napari-unet\[bioio\]' and a reader"
    ):
        open_image(tmp_path / "run.czi")


def test_without_a_reader_for_it_the_remedy_is_named(tmp_path: Path):
    (tmp_path / "run.czi").write_bytes(b"nonsense")
    with pytest.raises(
        ValueError, match=r"run\.czi is no image \(\.czi\); .* or install a reader of bioio for it$"
    ):
        open_image(tmp_path / "run.czi")
