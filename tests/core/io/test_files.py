import re
from pathlib import Path

import pytest

from napari_unet.core.io import find_images, pair_files
from napari_unet.core.io.names import split_member


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


def test_a_link_to_itself_is_found_so_that_opening_it_says_what_is_wrong(tmp_path: Path):
    _touch(tmp_path, "a.tif")
    try:
        (tmp_path / "loop.tif").symlink_to(tmp_path / "loop.tif")
        (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    except OSError:
        pytest.skip("symbolic links cannot be made here")
    assert [path.name for path in find_images(tmp_path)] == ["a.tif", "loop.tif"]
    assert {path.name for path in find_images(f"{tmp_path}/*")} == {"a.tif", "loop.tif"}


def test_links_in_circles_end_a_recursive_glob(tmp_path: Path):
    _touch(tmp_path, "a.tif", "sub/b.tif", "sub/deep/c.tif")
    try:
        for folder in (
            "sub",
            "sub/deep",
        ):  # glob's own ** would go round these 40 times, in every combination
            for name in ("up", "again"):
                (tmp_path / folder / name).symlink_to(tmp_path, target_is_directory=True)
        (tmp_path / "sub/self").symlink_to(tmp_path / "sub/self")
    except OSError:
        pytest.skip("symbolic links cannot be made here")
    for pattern in ("**/*.tif", "**", "**/**/*", "**/deep/../../**/*.tif"):
        assert {path.name for path in find_images(f"{tmp_path}/{pattern}")} == {"a.tif", "b.tif", "c.tif"}
    assert [path.name for path in find_images(f"{tmp_path}/**/deep/*")] == ["c.tif"]
    assert [path.name for path in find_images(f"{tmp_path}/sub/up/*.tif")] == [
        "a.tif"
    ]  # a link that is named


def test_a_recursive_glob_takes_stores_as_a_whole_and_leaves_what_is_hidden_or_unfinished(tmp_path: Path):
    _touch(tmp_path, "x/a.zarr/0/inside.tif", "x/a.zarr/zarr.json", ".hidden/b.tif", "x/c.h5", "x/notes.txt")
    _touch(tmp_path, "d.tif.unfinished/result.tif")
    assert [path.name for path in find_images(f"{tmp_path}/**/*")] == ["a.zarr", "c.h5"]


def test_all_that_can_be_read_is_found(tmp_path: Path):
    names = ["a.czi", "b.h5", "c.hdf5", "d.lsm", "e.npy", "f.JPG", "g.nd2"]
    _touch(tmp_path, *names, "film.gif", "model.safetensors")
    assert [path.name for path in find_images(tmp_path)] == names
    assert [path.name for path in find_images(f"{tmp_path}/*.gif")] == ["film.gif"]  # asked for by its suffix
    assert [path.name for path in find_images(f"{tmp_path}/*")] == names


def test_a_dataset_is_named_after_a_colon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    _touch(tmp_path, "a 1.h5", "b.h5", "c.tif")
    assert find_images(f"{tmp_path}/a 1.h5:/volumes/raw") == [Path(f"{tmp_path}/a 1.h5:/volumes/raw")]
    assert find_images(f"{tmp_path}/*.h5:/raw") == [Path(f"{tmp_path}/{n}.h5:/raw") for n in ("a 1", "b")]
    monkeypatch.chdir(tmp_path)
    assert find_images("b.h5:/raw") == [Path("b.h5:/raw")]
    assert find_images("*.h5") == [Path("a 1.h5"), Path("b.h5")]
    with pytest.raises(FileNotFoundError, match=r"missing\.h5 does not exist"):
        find_images("missing.h5:/raw")


@pytest.mark.parametrize(
    ("text", "file", "member"),
    [
        (r"C:\data\x.h5:/a", r"C:\data\x.h5", "/a"),
        (r"C:\data\x.h5:\a\b", r"C:\data\x.h5", "/a/b"),
        (r"C:\data\x.h5", r"C:\data\x.h5", ""),
        (r"C:\data\x.tif", r"C:\data\x.tif", ""),
        (r"C:x.H5:raw", r"C:x.H5", "raw"),
        ("dir.h5:x/y.hdf5:/a", "dir.h5:x/y.hdf5", "/a"),
    ],
)
def test_a_drive_letter_is_no_dataset(text: str, file: str, member: str):
    assert split_member(text) == (Path(file), member)


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
