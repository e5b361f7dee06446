from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image as Pillow

from napari_unet.core.io import open_image, open_labels, read_labels

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 255, (20, 30), dtype=np.uint8)
RGBA = RNG.integers(0, 255, (20, 30, 4), dtype=np.uint8)


def test_grey_pictures_are_one_channel(tmp_path: Path):
    for name, pixels in {"8": GREY, "16": GREY.astype(np.uint16) * 200, "1": GREY > 99}.items():
        Pillow.fromarray(pixels).save(tmp_path / f"{name}.png")
        image = open_image(tmp_path / f"{name}.png")
        assert (image.axes, image.dtype) == ("YX", pixels.dtype)
        np.testing.assert_array_equal(image.read((slice(3, 9), slice(0, 30)))[0], pixels[3:9])


def test_alpha_is_dropped(tmp_path: Path):
    Pillow.fromarray(RGBA).save(tmp_path / "a.png")
    np.testing.assert_array_equal(open_image(tmp_path / "a.png").read(), RGBA[..., :3].transpose(2, 0, 1))
    Pillow.fromarray(GREY).convert("LA").save(tmp_path / "la.png")
    np.testing.assert_array_equal(open_image(tmp_path / "la.png").read()[0], GREY)


@pytest.mark.parametrize("n_samples", [2, 3, 4])
def test_sixteen_bit_colours_keep_their_depth(tmp_path: Path, n_samples: int):
    pixels = RNG.integers(0, 65535, (20, 30, n_samples), dtype=np.uint16)
    (tmp_path / "deep.png").write_bytes(imagecodecs.png_encode(pixels))
    image = open_image(tmp_path / "deep.png")
    kept = pixels[..., :1] if n_samples == 2 else pixels[..., :3]
    np.testing.assert_array_equal(image.read(), kept.transpose(2, 0, 1))


def test_a_palette_is_colours_in_an_image_and_indices_in_labels(tmp_path: Path):
    indices = GREY % 3
    picture = Pillow.fromarray(indices)
    picture.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    picture.save(tmp_path / "p.png")
    image = open_image(tmp_path / "p.png").read()
    assert image.shape == (3, 20, 30)
    np.testing.assert_array_equal(image[0] == 255, indices == 1)
    np.testing.assert_array_equal(read_labels(open_labels(tmp_path / "p.png")), indices)


def test_a_grey_palette_stays_one_channel(tmp_path: Path):
    picture = Pillow.fromarray(GREY)
    picture.putpalette([255 - value // 3 for value in range(768)])
    picture.save(tmp_path / "lut.png")
    np.testing.assert_array_equal(open_image(tmp_path / "lut.png").read()[0], 255 - GREY)


def test_jpeg_is_read(tmp_path: Path):
    Pillow.fromarray(np.full((16, 16, 3), 77, np.uint8)).save(tmp_path / "j.jpg")
    assert open_image(tmp_path / "j.jpg").read().tolist() == np.full((3, 16, 16), 77).tolist()


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_large_picture_is_read_and_a_huge_one_should_be_a_tiff(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
):
    path = tmp_path / f"large{suffix}"
    Pillow.fromarray(GREY).save(path)
    monkeypatch.setattr(Pillow, "MAX_IMAGE_PIXELS", 400)  # of 600: Pillow warns from 400 on
    assert open_image(path).read().shape == (1, 20, 30)
    monkeypatch.setattr(Pillow, "MAX_IMAGE_PIXELS", 200)  # and refuses from twice as many on
    with pytest.raises(ValueError, match=rf"^large\{suffix} has too many pixels .*; save it as TIFF$"):
        open_image(path)


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_cut_off_picture_is_one_clear_sentence(tmp_path: Path, suffix: str):
    path = tmp_path / f"cut{suffix}"
    Pillow.fromarray(RGBA[..., :3]).save(path)
    content = path.read_bytes()
    for kept in (0, 10, len(content) // 2):
        path.write_bytes(content[:kept])
        with pytest.raises(ValueError, match=rf"^cut\{suffix} cannot be read .*; copy the file again"):
            open_image(path).read()
