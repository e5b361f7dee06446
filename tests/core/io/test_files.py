import re
from pathlib import Path

import pytest

from napari_unet.core.io import find_images, pair_files


def _touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_a_folder_gives_its_images_sorted_naturally(tmp_path: Path):
    _touch(
        tmp_path,
        "z10.tif",
        "z2.TIFF",
        "z1.png",
        ".hidden.tif",
        "notes.txt",
        "sub/deep.tif",
        "a.zarr/zarr.json",
    )
    assert [path.name for path in find_images(tmp_path)] == ["a.zarr", "z1.png", "z2.TIFF", "z10.tif"]


def test_a_glob_gives_what_it_matches_and_a_file_itself(tmp_path: Path):
    _touch(tmp_path, "a 1.tif", "b.tif", "a2.txt", "ä.ome.zarr/.zgroup", "[x].tif")
    assert [path.name for path in find_images(f"{tmp_path}/a*")] == ["a 1.tif"]
    assert find_images(f"{tmp_path}/[x].tif") == [tmp_path / "[x].tif"]
    assert find_images(tmp_path / "ä.ome.zarr") == [tmp_path / "ä.ome.zarr"]


def test_nothing_found_is_an_error_that_says_so(tmp_path: Path):
    for source in (tmp_path, tmp_path / "*.tif"):
        with pytest.raises(ValueError, match="holds no image"):
            find_images(source)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        find_images(tmp_path / "missing.tif")


def test_a_symlink_loop_is_skipped(tmp_path: Path):
    _touch(tmp_path, "a.tif")
    try:
        (tmp_path / "loop.tif").symlink_to(tmp_path / "loop.tif")
        (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    except OSError:
        pytest.skip("symbolic links cannot be made here")
    assert [path.name for path in find_images(tmp_path)] == ["a.tif"]
    assert {path.name for path in find_images(f"{tmp_path}/*")} == {"a.tif"}


def test_one_file_pairs_with_one_file_whatever_their_names():
    assert pair_files([Path("raw.tif")], [Path("labels.tif")]) == [(Path("raw.tif"), Path("labels.tif"))]


def test_files_pair_by_stem():
    images = [Path("i/a.ome.tif"), Path("i/b.tif")]
    assert pair_files(images, [Path("l/b.png"), Path("l/a.tif")]) == [
        (images[0], Path("l/a.tif")),
        (images[1], Path("l/b.png")),
    ]


def test_unpaired_files_are_listed():
    images, labels = [Path("i/a.tif"), Path("i/b.tif")], [Path("l/a.tif"), Path("l/c.tif")]
    listed = re.escape(f"{images[1]} without labels, {labels[1]} without image")  # Windows writes i\b.tif
    with pytest.raises(ValueError, match=listed):
        pair_files(images, labels)
    with pytest.raises(ValueError, match="and 5 more without labels"):
        pair_files([Path(f"{i}.tif") for i in range(15)], [])


def test_two_files_of_the_same_name_are_refused():
    with pytest.raises(ValueError, match=r"same name: a\.tif, a\.png"):
        pair_files([Path("a.tif"), Path("a.png")], [Path("l/a.tif")])
